/**
 * Divisors of rotary frequencies that are tensors in GGUF files and settings in Hugging Face's: Llama 3's, and LongRoPE's
 * two sets (Ding et al., https://arxiv.org/abs/2402.13753), one for contexts longer than the original one.
 */
import { memoryBytes } from '../base/bytes.ts';
import type { RopeAttributes } from '../composites/rope.ts';
import { ropeFrequencies } from '../composites/rope_frequencies.ts';
import type { StoredTensor } from '../formats/checkpoint.ts';
import type { TensorRow } from './tensors.ts';

/** Of the pairs that a rotary embedding turns. */
export interface RopeFactors {
  readonly rows: readonly TensorRow[];
  /** The tensor to divide by in a program for contexts of so many tokens; undefined where the files have none. */
  choose(has: (name: string) => boolean, contextLength: number): string | undefined;
}

/** A rotary embedding that Llama 3's divisors may go with: `rope_freqs.weight`. */
export function withLlama3Factors(rope: RopeAttributes): {
  readonly rope: RopeAttributes;
  readonly ropeFactors: RopeFactors;
} {
  const { base, dimensions, scaling } = rope;
  const name = 'rope_freqs.weight';
  const plain = { ...rope, scaling: { kind: 'none' } } as const;
  const divisors = () => {
    const scaled = ropeFrequencies(base, dimensions, scaling).inverse;
    return ropeFrequencies(base, dimensions, plain.scaling).inverse.map((frequency, i) => frequency / scaled[i]);
  };
  const made = scaling.kind === 'llama3' ? vector(name, divisors()) : undefined;
  return {
    rope: made === undefined ? rope : plain,
    ropeFactors: {
      rows: [factorRow(name, dimensions, made)],
      choose: (has) => (has(name) ? name : undefined),
    },
  };
}

/** `factors`: what a folder says; in GGUF files they are tensors. */
export function longFactors(
  dimensions: number,
  originalContextLength: number,
  factors: { readonly short: readonly number[]; readonly long: readonly number[] } | undefined,
): RopeFactors {
  const [short, long] = ['rope_factors_short.weight', 'rope_factors_long.weight'];
  return {
    rows: [
      factorRow(short, dimensions, factors && vector(short, factors.short)),
      factorRow(long, dimensions, factors && vector(long, factors.long)),
    ],
    choose(has, contextLength) {
      const name = contextLength > originalContextLength ? long : short;
      return has(name) ? name : undefined;
    },
  };
}

function factorRow(gguf: string, dimensions: number, made: StoredTensor | undefined): TensorRow {
  return { gguf, shape: [dimensions / 2], optional: true, shared: true, made };
}

function vector(name: string, values: readonly number[]): StoredTensor {
  const bytes = memoryBytes(new Uint8Array(Float32Array.from(values).buffer), name);
  return { name, format: 'f32', shape: [values.length], bytes };
}
