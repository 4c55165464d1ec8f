/** `quantized_dot` (composites/quantized_dot.ts): the activations made ready, then the product. */
import { type QuantizedDotAttributes, quantizedDotComposite } from '../../../composites/quantized_dot.ts';
import type { OpOf, Value } from '../../../ir/program.ts';
import { asTensor, maxDim, resolveDim } from '../../../ir/types.ts';
import { activationBytes, activationsKernel, activationsOf } from '../kernels/activations.ts';
import { packedBytes, packedFormat } from '../kernels/packing.ts';
import { quantizedDotKernel } from '../kernels/quantized-dot.ts';
import type { Target } from '../target.ts';
import {
  type CompositeBuffer,
  type CompositeKernel,
  type CompositeLaunch,
  dimsOf,
  rowsOf,
} from './composite-kernel.ts';

export const quantizedDotKernels: CompositeKernel = {
  name: quantizedDotComposite.name,
  covers({ attributes, operands }, packed) {
    const { format, operands: names } = attributes.composite_attributes as QuantizedDotAttributes;
    return packed.get(operands[names.indexOf('weight')]) === format;
  },
  launches: dotLaunches,
};

function dotLaunches(op: OpOf<'composite'>, target: Target): readonly CompositeLaunch[] {
  const { format, numerics, operands: names } = op.attributes.composite_attributes as QuantizedDotAttributes;
  const operand = (name: (typeof names)[number]) => op.operands[names.indexOf(name)];
  const [x, weight, bias] = [operand('x'), operand('weight'), operand('bias') as Value | undefined];
  const [N, K] = asTensor(weight.type).shape.map(maxDim);
  const tokens = rowsOf(x);
  const shape = { format, numerics, tokens, N, K, bias: bias !== undefined };
  const dims = dimsOf(tokens);
  const weightBytes = packedBytes(packedFormat(format), [N, K]);
  const activations = activationsOf(packedFormat(format), numerics, target);
  const inputBytes = (T: number) => activationBytes(activations, T, K);
  const dot = (input: CompositeBuffer): CompositeLaunch => ({
    key: `quantized_dot ${JSON.stringify(shape)}`,
    kernel: () => quantizedDotKernel(shape, target),
    buffers: [input, { value: weight }, ...(bias ? [{ value: bias }] : []), { value: op.results[0] }],
    dims,
    scratchBytes: 0,
    cost({ dims: values }) {
      const T = resolveDim(tokens, values);
      const bytes = weightBytes + inputBytes(T) + (bias ? 4 * N : 0) + 4 * T * N;
      return { bytes, operations: 2 * T * N * K, element: numerics };
    },
  });
  if (activations.kind === 'plain') return [dot({ value: x })];
  const prepare: CompositeLaunch = {
    key: `activations ${JSON.stringify([activations, tokens, K])}`,
    kernel: () => activationsKernel(activations, tokens, K),
    buffers: [{ value: x }, { scratch: 0 }],
    dims,
    scratchBytes: inputBytes(maxDim(tokens)),
    prepares: { of: [x], from: 0, to: inputBytes(maxDim(tokens)) },
    // The largest magnitude, a product, a rounding.
    cost({ dims: values }) {
      const T = resolveDim(tokens, values);
      return { bytes: 4 * T * K + inputBytes(T), operations: 3 * T * K, element: 'f32' };
    },
  };
  return [prepare, dot({ scratch: 0 })];
}
