/** `draw` (composites/draw.ts). */
import { drawComposite, drawInputs } from '../../../composites/draw.ts';
import type { OpOf } from '../../../ir/program.ts';
import { asTensor, maxDim, resolveDim } from '../../../ir/types.ts';
import { type DrawShape, drawBuffers, drawKernel, drawRowBytes } from '../kernels/draw.ts';
import { type CompositeBuffer, type CompositeKernel, type CompositeLaunch, dimsOf } from './composite-kernel.ts';

export const drawKernels: CompositeKernel = {
  name: drawComposite.name,
  covers: () => true,
  launches: drawLaunches,
};

function drawLaunches({ operands, results }: OpOf<'composite'>): readonly CompositeLaunch[] {
  const [rows, vocabulary] = asTensor(operands[0].type).shape;
  const shape: DrawShape = { rows, vocabulary: maxDim(vocabulary) };
  const names = ['logits', ...drawInputs, 'ids'];
  const values = new Map([...operands, results[0]].map((value, i) => [names[i], value]));
  return [
    {
      key: `draw ${JSON.stringify(shape)}`,
      kernel: () => drawKernel(shape),
      buffers: drawBuffers.map((name): CompositeBuffer => {
        const value = values.get(name);
        return value === undefined ? { scratch: 0 } : { value };
      }),
      dims: dimsOf(rows),
      scratchBytes: maxDim(rows) * drawRowBytes(shape.vocabulary),
      // The greatest is looked for, and exponentials summed.
      cost({ dims }) {
        const elements = resolveDim(rows, dims) * shape.vocabulary;
        return { bytes: 4 * elements, operations: 20 * elements, element: 'f32' };
      },
    },
  ];
}
