/** `routed_dot` (composites/routed_dot.ts): rows put in the order of their experts, the activations made ready, the products. */
import { type RoutedDotAttributes, routedDotComposite, routedShape } from '../../../composites/routed_dot.ts';
import type { OpOf } from '../../../ir/program.ts';
import { maxDim, resolveDim } from '../../../ir/types.ts';
import { alignUp } from '../align.ts';
import { activationsOf, orderedActivationBytes, orderedActivationsKernel } from '../kernels/activations.ts';
import { expertOrderKernel, mostExperts, orderBytes } from '../kernels/expert-order.ts';
import { packedBytes, packedFormat } from '../kernels/packing.ts';
import { dotLayout } from '../kernels/quantized-dot.ts';
import { routedDotKernel } from '../kernels/routed-dot.ts';
import type { Target } from '../target.ts';
import { type CompositeKernel, type CompositeLaunch, dimsOf } from './composite-kernel.ts';

export const routedDotKernels: CompositeKernel = {
  name: routedDotComposite.name,
  covers({ attributes, operands }, packed) {
    const { format } = attributes.composite_attributes as RoutedDotAttributes;
    return packed.get(operands[1]) === format && routedShape(operands).experts <= mostExperts;
  },
  launches: routedLaunches,
};

function routedLaunches(op: OpOf<'composite'>, target: Target): readonly CompositeLaunch[] {
  const { format, numerics } = op.attributes.composite_attributes as RoutedDotAttributes;
  const [x, weight, ids] = op.operands;
  const { tokens, chosen, experts, N, K, shared } = routedShape(op.operands);
  const { layout } = dotLayout({ format, numerics, N, K }, target);
  const order = { tokens, chosen, experts, chunk: layout.chunk };
  const shape = { format, numerics, tokens, N, K, order };
  const activations = activationsOf(packedFormat(format), numerics, target);
  const inputBytes = (T: number) => orderedActivationBytes(activations, T * chosen, K);
  const inputAt = alignUp(orderBytes(order), 64);
  const dims = dimsOf(tokens);
  const scratchBytes = inputAt + inputBytes(maxDim(tokens));
  const rows = { order, shared };
  return [
    {
      key: `expert_order ${JSON.stringify(order)}`,
      kernel: () => expertOrderKernel(order),
      buffers: [{ value: ids }, { scratch: 0 }],
      dims,
      scratchBytes,
      prepares: { of: [ids], from: 0, to: inputAt },
      cost: ({ dims: values }) => ({ bytes: 8 * chosen * resolveDim(tokens, values), operations: 0, element: 'f32' }),
    },
    {
      key: `ordered_activations ${JSON.stringify([activations, tokens, K, rows])}`,
      kernel: () => orderedActivationsKernel(activations, tokens, K, rows),
      buffers: [{ value: x }, { scratch: 0 }, { scratch: inputAt }],
      dims,
      scratchBytes,
      prepares: { of: [x, ids], from: inputAt, to: scratchBytes },
      cost({ dims: values }) {
        const T = resolveDim(tokens, values);
        const bytes = 4 * K * T * (shared ? 1 : chosen) + inputBytes(T);
        return { bytes, operations: activations.kind === 'plain' ? 0 : 3 * T * chosen * K, element: 'f32' };
      },
    },
    {
      key: `routed_dot ${JSON.stringify(shape)}`,
      kernel: () => routedDotKernel(shape, target),
      buffers: [{ scratch: inputAt }, { value: weight }, { scratch: 0 }, { value: op.results[0] }],
      dims,
      scratchBytes,
      // As if the tokens of a step shared no expert while there are others.
      cost({ dims: values }) {
        const T = resolveDim(tokens, values);
        const read = Math.min(experts, T * chosen) * packedBytes(packedFormat(format), [N, K]);
        const bytes = read + inputBytes(T) + 4 * T * chosen * N;
        return { bytes, operations: 2 * T * chosen * N * K, element: numerics };
      },
    },
  ];
}
