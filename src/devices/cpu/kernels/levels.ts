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
  readonly scales?: { readonly at: number; readonly signed: boolean };
  readonly minima?: { readonly at: number; readonly dmin: number };
  /** Of values k to k + 3, k a multiple of 4: where their vector of dwords is and at which bit of each byte they begin. */
  quad(k: number): Quad;
}

interface Quad {
  readonly at: number;
  readonly shift: number;
  readonly high?: { readonly at: number; readonly shift: number };
}

/** Vectors of nibbles for each 32 k. */
function nibbles(levels: number, k: number): Quad {
  return { at: levels + 256 * (k >> 5) + 16 * (k & 15), shift: (k & 16) === 0 ? 0 : 4 };
}

export const levels = {
  q8_0: { sub: 32, bits: 8, offset: 128, d: tiles.q8_0.d, quad: (k) => ({ at: tiles.q8_0.levels + 16 * k, shift: 0 }) },
  q4_0: { sub: 32, bits: 4, offset: 8, d: tiles.q4_0.d, quad: (k) => nibbles(tiles.q4_0.levels, k) },
  q4_K: {
    sub: 32,
    bits: 4,
    offset: 0,
    d: tiles.q4_K.d,
    scales: { at: tiles.q4_K.scales, signed: false },
    minima: { at: tiles.q4_K.minima, dmin: tiles.q4_K.dmin },
    quad: (k) => nibbles(tiles.q4_K.levels, k),
  },
  q6_K: {
    sub: 16,
    bits: 4,
    offset: 32,
    d: tiles.q6_K.d,
    scales: { at: tiles.q6_K.scales, signed: true },
    quad: (k) => ({
      ...nibbles(tiles.q6_K.levels, k),
      high: { at: tiles.q6_K.high + 64 * (k >> 4), shift: (k & 12) / 2 },
    }),
  },
} satisfies Partial<Record<PackedFormat, Levels>>;

export type IntegerFormat = keyof typeof levels;

export function isIntegerFormat(format: PackedFormat): format is IntegerFormat {
  return format in levels;
}
