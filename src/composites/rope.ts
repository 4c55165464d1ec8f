/**
 * Rotary position embedding (Su et al., https://arxiv.org/abs/2104.09864): each pair of dimensions of a head turns by
 * position * frequency. Angles, cos and sin are f32.
 */
import { IngotError } from '../base/errors.ts';
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor, tensor } from '../ir/types.ts';
import { type Composite, emit } from './composite.ts';
import { type RopeScaling, ropeFrequencies } from './rope_frequencies.ts';

export type { RopeScaling } from './rope_frequencies.ts';

export type RopeAttributes = {
  readonly base: number;
  /** Rotated dimensions of each head, even; those after them pass unchanged. */
  readonly dimensions: number;
  /** Pairs are (2i, 2i + 1), or (i, i + dimensions / 2). */
  readonly layout: 'interleaved' | 'half';
  readonly scaling: RopeScaling;
};

export const ropeComposite: Composite<RopeAttributes> = {
  name: 'rope',
  decompose(b, [x, positions, factors], { base, dimensions, layout, scaling }) {
    const { element, shape } = asTensor(x.type);
    const [tokens, heads, headDim] = shape;
    if (typeof headDim !== 'number' || dimensions % 2 !== 0 || dimensions > headDim) {
      throw new IngotError('InvalidProgram', `rope cannot turn ${dimensions} dimensions of heads of ${headDim}`);
    }
    const pairs = dimensions / 2;
    const { inverse, attentionFactor } = ropeFrequencies(base, dimensions, scaling);
    const plain = b.constant(tensor('f32', [pairs]), inverse);
    const frequencies = factors === undefined ? plain : b.divide(plain, b.convert(factors, 'f32'));
    const angles = b.multiply(
      b.broadcast(b.convert(positions, 'f32'), [tokens, pairs], [0]),
      b.broadcast(frequencies, [tokens, pairs], [1]),
    );
    // The members of pairs lie half a head apart, or side by side in a last dimension of their own.
    const half = layout === 'half';
    const [axis, size] = half ? [2, pairs] : [3, 1];
    const member = half ? [tokens, heads, pairs] : [tokens, heads, pairs, 1];
    const spread = (part: Value) => {
      const scaled = attentionFactor === 1 ? part : b.multiply(part, b.full('f32', [tokens, pairs], attentionFactor));
      return b.broadcast(scaled, member, [0, 2]);
    };
    const cos = spread(b.unary('cosine', angles));
    const sin = spread(b.unary('sine', angles));

    const wide = b.convert(x, 'f32');
    const turned = b.slice(wide, 2, 0, dimensions);
    const paired = half ? turned : b.reshape(turned, [tokens, heads, pairs, 2]);
    const [first, second] = [0, size].map((at) => b.slice(paired, axis, at, at + size));
    const rotated = b.concatenate(
      [
        b.subtract(b.multiply(first, cos), b.multiply(second, sin)),
        b.add(b.multiply(second, cos), b.multiply(first, sin)),
      ],
      axis,
    );
    const head = half ? rotated : b.reshape(rotated, [tokens, heads, dimensions]);
    const whole = dimensions === headDim ? head : b.concatenate([head, b.slice(wide, 2, dimensions, headDim)], 2);
    return [b.convert(whole, element)];
  },
  sharding: ([, , ...factors]) => ({
    factors: [
      { operands: [0, 0, ...factors.map(() => undefined)], results: [0] },
      { operands: [1, undefined, ...factors.map(() => undefined)], results: [1] },
    ],
  }),
};

/**
 * `x` [T, heads, headDim], `positions` i32 [T]; the result is as `x`. `factors` [dimensions / 2] divide the frequencies
 * (GGUF's `rope_freqs.weight`).
 */
export function rope(b: Builder, x: Value, positions: Value, attributes: RopeAttributes, factors?: Value): Value {
  return emit(b, ropeComposite, factors === undefined ? [x, positions] : [x, positions, factors], attributes)[0];
}
