/** RMSNorm (Zhang and Sennrich, https://arxiv.org/abs/1910.07467): `x / sqrt(mean(x^2) + epsilon) * weight` over the last dimension. */
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import type { ShardingRule } from '../ir/sharding-rule.ts';
import { asTensor, maxDim } from '../ir/types.ts';
import { type Composite, emit } from './composite.ts';

type RmsNormAttributes = { readonly epsilon: number };

export const rmsNormComposite: Composite<RmsNormAttributes> = {
  name: 'rms_norm',
  decompose(b, [x, weight], { epsilon }) {
    const { element, shape } = asTensor(x.type);
    const last = shape.length - 1;
    const rows = shape.slice(0, last);
    const rowDims = rows.map((_, i) => i);
    const sum = b.reduce('add', b.multiply(x, x), 0, [last]);
    const mean = b.divide(sum, b.full(element, rows, maxDim(shape[last])));
    const scale = b.unary('rsqrt', b.add(mean, b.full(element, rows, epsilon)));
    const normed = b.multiply(x, b.broadcast(scale, shape, rowDims));
    return [b.multiply(normed, b.broadcast(weight, shape, [last]))];
  },
  sharding: (operands) => normSharding(operands),
};

/** Of norms over the last dimension, whose weights have it alone. */
export function normSharding([x, ...weights]: readonly Value[]): ShardingRule {
  const last = asTensor(x.type).shape.length - 1;
  const rows = Array.from({ length: last }, (_, d) => ({
    operands: [d, ...weights.map(() => undefined)],
    results: [d],
  }));
  return { factors: [...rows, { operands: [last, ...weights.map(() => 0)], results: [last], inline: true }] };
}

/** `x` [..., N], `weight` [N], same element type; the result is as `x`. */
export function rmsNorm(b: Builder, x: Value, weight: Value, epsilon: number): Value {
  return emit(b, rmsNormComposite, [x, weight], { epsilon })[0];
}
