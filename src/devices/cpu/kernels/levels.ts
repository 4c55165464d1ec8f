/**
 * How the values of the integer formats come out of a tile (packing.ts), for kernels that decode them to f32:
 *
 *   scale * (level - offset) - minimum        scale = d * sc and minimum = dmin * mn where a format has sc and mn
 *
 * each operation rounded to f32, as numerics/quant/ decodes.
 */
import { type PackedFormat, tiles } from './packing.ts';

export interface Levels {
  /** Values that share a scale. */
  readonly sub: number;
  /** Bits of a level in its byte; 2 more are elsewhere where `quad` says so. */
  readonly bits: 4 | 8;
  readonly offset: number;
  readonly d: number;
  /** Where sc of value k is, a byte a row. */
  readonly scale?: { readonly signed: boolean; at(k: number): number };
  readonly minimum?: { readonly dmin: number; at(k: number): number };
  /** Of values k to k + 3, k a multiple of 4: where their vector of dwords is and at which bit of each byte they begin. */
  quad(k: number): Quad;
}

interface Quad {
  readonly at: number;
  readonly shift: number;
  readonly high?: { readonly at: number; readonly shift: number };
}

/** Vectors of nibbles, of the first 32 k at `levels`. */
function nibbles(levels: number, step: number, k: number): Quad {
  return { at: levels + step * (k >> 5) + 16 * (k & 15), shift: (k & 16) === 0 ? 0 : 4 };
}

const { q8_0, q4_0, q4_K, q6_K } = tiles;

export const levels = {
  q8_0: { sub: 32, bits: 8, offset: 128, d: q8_0.d, quad: (k) => ({ at: q8_0.levels + 16 * k, shift: 0 }) },
  q4_0: { sub: 32, bits: 4, offset: 8, d: q4_0.d, quad: (k) => nibbles(q4_0.levels, 0, k) },
  q4_K: {
    sub: 32,
    bits: 4,
    offset: 0,
    d: q4_K.d,
    scale: { signed: false, at: (k) => q4_K.scales + 16 * (k >> 5) },
    minimum: { dmin: q4_K.dmin, at: (k) => q4_K.minima + 16 * (k >> 5) },
    quad: (k) => nibbles(q4_K.levels, q4_K.step, k),
  },
  q6_K: {
    sub: 16,
    bits: 4,
    offset: 32,
    d: q6_K.d,
    scale: { signed: true, at: (k) => q6_K.scales + q6_K.step * (k >> 5) + (k & 16) },
    quad: (k) => ({
      ...nibbles(q6_K.levels, q6_K.step, k),
      high: { at: q6_K.high + q6_K.step * (k >> 5) + 4 * (k & 16), shift: (k & 12) / 2 },
    }),
  },
} satisfies Partial<Record<PackedFormat, Levels>>;

export type IntegerFormat = keyof typeof levels;

export function isIntegerFormat(format: PackedFormat): format is IntegerFormat {
  return format in levels;
}
