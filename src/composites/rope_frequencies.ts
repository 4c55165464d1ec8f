/**
 * Inverse frequencies of rotary embeddings and the ways to stretch them over longer contexts, in f64 at build time; the
 * formulae are those of `modeling_rope_utils` in Hugging Face transformers. Linear: Chen et al.
 * (https://arxiv.org/abs/2306.15595); YaRN: Peng et al. (https://arxiv.org/abs/2309.00071); llama3: Llama 3.1's; LongRoPE: Ding et al.
 * (https://arxiv.org/abs/2402.13753).
 */

export type RopeScaling =
  | { readonly kind: 'none' }
  | { readonly kind: 'linear'; readonly factor: number }
  | {
      /** NTK-aware: a larger base, for the context that the program is built for. A step-dependent one would break chunking. */
      readonly kind: 'ntk';
      readonly factor: number;
      readonly contextLength: number;
      readonly originalContextLength: number;
    }
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContextLength: number;
    }
  | {
      /** LongRoPE: its divisors of the frequencies are an operand of `rope`. */
      readonly kind: 'longrope';
      readonly attentionFactor: number;
    }
  | {
      readonly kind: 'yarn';
      readonly factor: number;
      readonly originalContextLength: number;
      /** Rotations over the original context above which a dimension is kept (32), below which it is interpolated (1). */
      readonly betaFast?: number;
      readonly betaSlow?: number;
      /** Factor on cos and sin; without it, it follows from `factor`, or from both `mscale` where given. */
      readonly attentionFactor?: number;
      readonly mscale?: number;
      readonly mscaleAllDimensions?: number;
      /** Round the range of the ramp to whole dimensions (true). */
      readonly truncate?: boolean;
    };

export interface RopeFrequencies {
  /** Radians a position, one for each of `dimensions / 2` pairs. */
  readonly inverse: readonly number[];
  /** Factor on cos and sin. */
  readonly attentionFactor: number;
}

/** `dimensions`: rotated dimensions of a head, even. */
export function ropeFrequencies(base: number, dimensions: number, scaling: RopeScaling): RopeFrequencies {
  const plain = (theta: number) => Array.from({ length: dimensions / 2 }, (_, i) => theta ** ((-2 * i) / dimensions));
  switch (scaling.kind) {
    case 'none':
      return { inverse: plain(base), attentionFactor: 1 };
    case 'linear':
      return { inverse: plain(base).map((f) => f / scaling.factor), attentionFactor: 1 };
    case 'ntk': {
      const { factor, contextLength, originalContextLength } = scaling;
      const stretch = (factor * Math.max(contextLength, originalContextLength)) / originalContextLength - (factor - 1);
      return { inverse: plain(base * stretch ** (dimensions / (dimensions - 2))), attentionFactor: 1 };
    }
    case 'llama3': {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContextLength } = scaling;
      const inverse = plain(base).map((f) => {
        // Rotations over the original context; between `low` and `high` of them the two meet smoothly.
        const rotations = (originalContextLength * f) / (2 * Math.PI);
        const keep = Math.min(Math.max((rotations - low) / (high - low), 0), 1);
        return keep * f + (1 - keep) * (f / factor);
      });
      return { inverse, attentionFactor: 1 };
    }
    case 'longrope':
      return { inverse: plain(base), attentionFactor: scaling.attentionFactor };
    case 'yarn': {
      const { factor, originalContextLength, betaFast = 32, betaSlow = 1, truncate = true } = scaling;
      // The dimension that turns `rotations` times over the original context.
      const dimensionOf = (rotations: number) =>
        (dimensions * Math.log(originalContextLength / (rotations * 2 * Math.PI))) / (2 * Math.log(base));
      const [fast, slow] = [dimensionOf(betaFast), dimensionOf(betaSlow)];
      const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
      const end = Math.min(truncate ? Math.ceil(slow) : slow, dimensions - 1);
      const high = end === low ? low + 0.001 : end;
      const inverse = plain(base).map((f, i) => {
        const interpolate = Math.min(Math.max((i - low) / (high - low), 0), 1);
        return (interpolate * f) / factor + (1 - interpolate) * f;
      });
      return { inverse, attentionFactor: yarnAttentionFactor(scaling) };
    }
    default:
      return scaling satisfies never;
  }
}

/** YaRN's factor on cos and sin: as given, else what follows from the other settings. */
export function yarnAttentionFactor({
  factor,
  attentionFactor,
  mscale,
  mscaleAllDimensions,
}: Extract<RopeScaling, { kind: 'yarn' }>): number {
  const scale = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  if (attentionFactor !== undefined) return attentionFactor;
  return mscale && mscaleAllDimensions ? scale(mscale) / scale(mscaleAllDimensions) : scale(1);
}
