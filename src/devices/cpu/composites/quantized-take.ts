/** `quantized_take` (composites/quantized_take.ts). */
import { type QuantizedTakeAttributes, quantizedTakeComposite } from '../../../composites/quantized_take.ts';
import type { OpOf } from '../../../ir/program.ts';
import { asTensor, maxDim, resolveDim } from '../../../ir/types.ts';
import { packedBytes, packedFormat } from '../kernels/packing.ts';
import { quantizedTakeKernel } from '../kernels/quantized-take.ts';
import { type CompositeKernel, type CompositeLaunch, dimsOf } from './composite-kernel.ts';

export const quantizedTakeKernels: CompositeKernel = {
  name: quantizedTakeComposite.name,
  covers({ attributes, operands }, packed) {
    const { format, operands: names } = attributes.composite_attributes as QuantizedTakeAttributes;
    return packed.get(operands[names.indexOf('weight')]) === format;
  },
  launches: takeLaunches,
};

function takeLaunches(op: OpOf<'composite'>): readonly CompositeLaunch[] {
  const { format, operands: names } = op.attributes.composite_attributes as QuantizedTakeAttributes;
  const [ids, weight] = [op.operands[names.indexOf('ids')], op.operands[names.indexOf('weight')]];
  const [N, K] = asTensor(weight.type).shape.map(maxDim);
  const [tokens = 1, ...more] = asTensor(ids.type).shape;
  const each = more.map(maxDim).reduce((product, size) => product * size, 1);
  const shape = { format, tokens, each, N, K };
  return [
    {
      key: `quantized_take ${JSON.stringify(shape)}`,
      kernel: () => quantizedTakeKernel(shape),
      buffers: [{ value: ids }, { value: weight }, { value: op.results[0] }],
      dims: dimsOf(tokens),
      scratchBytes: 0,
      cost({ dims: values }) {
        const T = each * resolveDim(tokens, values);
        const rowBytes = packedBytes(packedFormat(format), [N, K]) / N;
        return { bytes: T * (4 + rowBytes + 4 * K), operations: T * K, element: 'f32' };
      },
    },
  ];
}
