/** `sampled_dot` (composites/sampled_dot.ts): the activations made ready, the product, the rows. */
import type { QuantizedDotAttributes } from '../../../composites/quantized_dot.ts';
import { sampledDotComposite, sampledDotOperands } from '../../../composites/sampled_dot.ts';
import type { OpOf } from '../../../ir/program.ts';
import { asTensor, maxDim, resolveDim } from '../../../ir/types.ts';
import { alignUp } from '../align.ts';
import { packedBytes, packedFormat } from '../kernels/packing.ts';
import { segmentBytes } from '../kernels/sample-segments.ts';
import { type SampledDotShape, sampledDotBuffers, sampledDotKernel } from '../kernels/sampled-dot.ts';
import type { Target } from '../target.ts';
import {
  type CompositeBuffer,
  type CompositeKernel,
  type CompositeLaunch,
  dimsOf,
  rowsOf,
} from './composite-kernel.ts';
import { prepareActivations, quantizedDotKernels } from './quantized-dot.ts';
import { lengthOf, sampleLaunch, samplingInput } from './sample.ts';

export const sampledDotKernels: CompositeKernel = {
  name: sampledDotComposite.name,
  // Its operands begin with those of the product.
  covers: quantizedDotKernels.covers,
  launches: sampledLaunches,
};

function sampledLaunches(
  { operands, attributes, results }: OpOf<'composite'>,
  target: Target,
): readonly CompositeLaunch[] {
  const options = attributes.composite_attributes as QuantizedDotAttributes;
  const { dot, inputs } = sampledDotOperands(operands, options);
  const { format, numerics, operands: names } = options;
  const operand = (name: 'x' | 'weight' | 'bias') => dot[names.indexOf(name)];
  const x = operand('x');
  const tokens = rowsOf(x);
  const rows = maxDim(tokens);
  const [N, K] = asTensor(operand('weight').type).shape.map(maxDim);
  const shape: SampledDotShape = {
    ...{ format, numerics, tokens, N, K, bias: names.includes('bias') },
    biases: lengthOf(inputs, 'biasRow'),
  };
  const { prepare, scratchBytes, input, bytes } = prepareActivations(x, format, numerics, K, target);
  const logits = { scratch: alignUp(scratchBytes, 64) };
  const segments = { scratch: alignUp(logits.scratch + 4 * rows * N, 64) };
  const sample = sampleLaunch({ rows: tokens, vocabulary: N, summed: true }, logits, inputs, results, segments.scratch);
  const product: CompositeLaunch = {
    key: `sampled_dot ${JSON.stringify(shape)}`,
    kernel: () => sampledDotKernel(shape, target),
    buffers: sampledDotBuffers(shape.bias).map((name): CompositeBuffer => {
      switch (name) {
        case 'x':
          return input;
        case 'weight':
        case 'bias':
          return { value: operand(name) };
        case 'logits':
          return logits;
        case 'segments':
          return segments;
        default:
          return { value: samplingInput(inputs, name) };
      }
    }),
    dims: dimsOf(tokens),
    scratchBytes: sample.scratchBytes,
    // As if every row took the greatest.
    cost({ dims }) {
      const T = resolveDim(tokens, dims);
      const all = packedBytes(packedFormat(format), [N, K]) + bytes(T) + T * segmentBytes(N);
      return { bytes: all, operations: 2 * T * N * K, element: numerics };
    },
  };
  return [...prepare, product, sample];
}
