/** `sample` (composites/sample.ts). */
import { sampleComposite, sampleInputs } from '../../../composites/sample.ts';
import type { OpOf } from '../../../ir/program.ts';
import { asTensor, maxDim, resolveDim } from '../../../ir/types.ts';
import { type SampleShape, sampleBuffers, sampleKernel, sampleRowBytes } from '../kernels/sample.ts';
import { type CompositeBuffer, type CompositeKernel, type CompositeLaunch, dimsOf } from './composite-kernel.ts';

export const sampleKernels: CompositeKernel = {
  name: sampleComposite.name,
  covers: () => true,
  launches: sampleLaunches,
};

function sampleLaunches({ operands, results }: OpOf<'composite'>): readonly CompositeLaunch[] {
  const names = ['logits', ...sampleInputs];
  const typeOf = (name: string) => asTensor(operands[names.indexOf(name)].type).shape;
  const [rows, vocabulary] = typeOf('logits');
  const shape: SampleShape = {
    ...{ rows, vocabulary: maxDim(vocabulary), sequences: maxDim(typeOf('counts')[0]) },
    biases: maxDim(typeOf('biasRow')[0]),
  };
  const values = new Map([...operands.entries()].map(([i, value]) => [names[i], value]));
  values.set('ids', results[0]).set('logprobs', results[1]);
  return [
    {
      key: `sample ${JSON.stringify(shape)}`,
      kernel: () => sampleKernel(shape),
      buffers: sampleBuffers.map((name): CompositeBuffer => {
        const value = values.get(name);
        return value === undefined ? { scratch: 0 } : { value };
      }),
      dims: dimsOf(rows),
      scratchBytes: maxDim(rows) * sampleRowBytes(shape.vocabulary),
      // Of rows that are not drawn: an exponential and two comparisons an element.
      cost({ dims }) {
        const elements = resolveDim(rows, dims) * shape.vocabulary;
        return { bytes: 4 * elements, operations: 20 * elements, element: 'f32' };
      },
    },
  ];
}
