/** LayerNorm (Ba et al., https://arxiv.org/abs/1607.06450): `(x - mean) / sqrt(variance + epsilon) * weight + bias` over the last dimension. */
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor, maxDim } from '../ir/types.ts';
import { type Composite, emit } from './composite.ts';
import { normSharding } from './rms_norm.ts';

export type LayerNormAttributes = { readonly epsilon: number };

export const layerNormComposite: Composite<LayerNormAttributes> = {
  name: 'layer_norm',
  decompose(b, [x, weight, bias], { epsilon }) {
    const { element, shape } = asTensor(x.type);
    const last = shape.length - 1;
    const rows = shape.slice(0, last);
    const rowDims = rows.map((_, i) => i);
    const mean = (value: Value) =>
      b.divide(b.reduce('add', value, 0, [last]), b.full(element, rows, maxDim(shape[last])));
    const spread = (value: Value) => b.broadcast(value, shape, rowDims);
    const centred = b.subtract(x, spread(mean(x)));
    const variance = mean(b.multiply(centred, centred));
    const scale = b.unary('rsqrt', b.add(variance, b.full(element, rows, epsilon)));
    const scaled = b.multiply(b.multiply(centred, spread(scale)), b.broadcast(weight, shape, [last]));
    return [bias === undefined ? scaled : b.add(scaled, b.broadcast(bias, shape, [last]))];
  },
  sharding: (operands) => normSharding(operands),
};

/** `x` [..., N], `weight` and `bias` [N], same element type; the result is as `x`. */
export function layerNorm(b: Builder, x: Value, weight: Value, bias: Value | undefined, epsilon: number): Value {
  return emit(b, layerNormComposite, bias === undefined ? [x, weight] : [x, weight, bias], { epsilon })[0];
}
