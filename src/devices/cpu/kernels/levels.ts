/**
 * What the integer formats are to kernels. A format is a row of this table: how many bits a level has, what value a level
 * stands for, and what it is scaled with:
 *
 *   scale * value(level) - minimum        scale = d * sc where there are sub-scales, minimum = dmin * mn or m
 *
 * each operation rounded to f32, as numerics/quant/ decodes. Packers, products and rows taken are made from a row; none
 * knows a format by its name.
 *
 * A tile of 16 rows is: d [16] of each block; m or dmin f16[16]; sc u8[16] of each sub-block; mn u8[16] of each; then for each 32 k the
 * planes of the levels' bits, low ones first. A plane is vectors of 64 bytes, dwords of 4 consecutive k ("quads") of 16 rows:
 *
 *   8 bits   vector g: quad g, which is k = 4g ..
 *   4 bits   vector g: quad g in the low and quad g + 4 in the high halves of bytes, g < 4
 *   2 bits   vector g: quads 4g .. 4g + 3 at bits 0, 2, 4 and 6, g < 2
 *   1 bit    one vector: quad g at bit g
 */
export interface Levels {
  /** Values of a tile. */
  readonly size: 32 | 256;
  /** Values that have a d, over which `i8` numerics quantize activations, where that is less than a tile. */
  readonly block?: 16;
  /** Bits of the planes. */
  readonly planes: readonly (1 | 2 | 4 | 8)[];
  /** value = level - offset, or table[level]. */
  readonly offset: number;
  readonly table?: readonly number[];
  /** Values of a sub-block; as many as a tile has where there are none. */
  readonly sub: 16 | 32 | 256;
  /** How d lies there: f16, f32, the exponent of 2^(e - 128), or half of a float of 4 exponent and 3 mantissa bits. */
  readonly d: 'f16' | 'f32' | 'e8m0' | 'e4m3';
  readonly scales?: 'u8' | 's8';
  /** m f16 for the tile, or dmin f16 and mn for each sub-block. */
  readonly minima?: 'tile' | 'sub';
}

/** Signs above magnitudes. */
const signed = (magnitudes: readonly number[]) => [...magnitudes, ...magnitudes.map((magnitude) => -magnitude)];

/** Of numerics/quant/: E2M1 doubled, the codebook of IQ4, the magnitudes of IQ2 and IQ3; a number that is none means nothing. */
const fp4 = signed([0, 1, 2, 3, 4, 6, 8, 12]);
const iq4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
const iq2 = signed([8, 25, 43, 0]);
const iq3Large = signed([4, 12, 20, 28, 36, 44, 52, 62]);
const iq3Small = signed([1, 3, 5, 7, 9, 11, 13, 15]);

/**
 * sc is 0 .. 15 (q2_K), 0 .. 63 (q4_K, q5_K), -32 .. 31 (q3_K, iq4_xs), 1 .. 31 (iq2, iq3), -128 .. 127 (q6_K), so sc * value has 13
 * bits and a sign at most: 128 * 32. Sums over a block of 256 stay below 2^12 * 127 * 256 < 2^27, and minima, mn of 6 bits, below
 * 2^6 * 127 * 256 < 2^21, or 2^26 where they are -32 times that.
 */
export const levels = {
  q8_0: { size: 32, planes: [8], offset: 128, sub: 32, d: 'f16' },
  q4_0: { size: 32, planes: [4], offset: 8, sub: 32, d: 'f16' },
  q4_1: { size: 32, planes: [4], offset: 0, sub: 32, d: 'f16', minima: 'tile' },
  q5_0: { size: 32, planes: [4, 1], offset: 16, sub: 32, d: 'f16' },
  q5_1: { size: 32, planes: [4, 1], offset: 0, sub: 32, d: 'f16', minima: 'tile' },
  q2_K: { size: 256, planes: [2], offset: 0, sub: 16, d: 'f16', scales: 'u8', minima: 'sub' },
  q3_K: { size: 256, planes: [2, 1], offset: 4, sub: 16, d: 'f16', scales: 's8' },
  q4_K: { size: 256, planes: [4], offset: 0, sub: 32, d: 'f16', scales: 'u8', minima: 'sub' },
  q5_K: { size: 256, planes: [4, 1], offset: 0, sub: 32, d: 'f16', scales: 'u8', minima: 'sub' },
  q6_K: { size: 256, planes: [4, 2], offset: 32, sub: 16, d: 'f16', scales: 's8' },
  iq4_nl: { size: 32, planes: [4], offset: 0, table: iq4, sub: 32, d: 'f16' },
  iq4_xs: { size: 256, planes: [4], offset: 0, table: iq4, sub: 32, d: 'f16', scales: 's8' },
  mxfp4: { size: 32, planes: [4], offset: 0, table: fp4, sub: 32, d: 'e8m0' },
  nvfp4: { size: 32, block: 16, planes: [4], offset: 0, table: fp4, sub: 16, d: 'e4m3' },
  tq1_0: { size: 256, planes: [2], offset: 1, sub: 256, d: 'f16' },
  tq2_0: { size: 256, planes: [2], offset: 1, sub: 256, d: 'f16' },
  iq2_xxs: { size: 256, planes: [2, 1], offset: 0, table: iq2, sub: 32, d: 'f32', scales: 'u8' },
  iq2_xs: { size: 256, planes: [2, 1], offset: 0, table: iq2, sub: 16, d: 'f32', scales: 'u8' },
  iq2_s: { size: 256, planes: [2, 1], offset: 0, table: iq2, sub: 16, d: 'f32', scales: 'u8' },
  iq3_xxs: { size: 256, planes: [4], offset: 0, table: iq3Large, sub: 32, d: 'f32', scales: 'u8' },
  iq3_s: { size: 256, planes: [4], offset: 0, table: iq3Small, sub: 32, d: 'f16', scales: 'u8' },
} as const satisfies Readonly<Record<string, Levels>>;

export type IntegerFormat = keyof typeof levels;

export function isIntegerFormat(format: string): format is IntegerFormat {
  return format in levels;
}

export function levelsOf(format: IntegerFormat): Levels {
  return levels[format];
}

/** Values of a block. */
export const blockOf = ({ size, block }: Levels): 16 | 32 | 256 => block ?? size;

/** Bytes of d of one row. */
export const dBytes = { f16: 2, f32: 4, e8m0: 1, e4m3: 1 } as const satisfies Readonly<Record<Levels['d'], number>>;

/** Where the parts of a tile are, in bytes. */
export interface Layout {
  readonly bytes: number;
  /** Of each block. */
  readonly d: readonly number[];
  readonly minimum: number;
  /** sc of the first sub-block, and mn; 16 bytes each. */
  readonly scales: number;
  readonly minima: number;
  /** The planes of the first 32 k. */
  readonly planes: readonly number[];
  /** From the planes of 32 k to those of the next. */
  readonly step: number;
}

export function layoutOf(format: Levels): Layout {
  const { size, planes, sub, d, scales, minima } = format;
  const blocks = size / blockOf(format);
  const subs = size / sub;
  const step = 64 * planes.reduce((sum, bits) => sum + bits, 0);
  const minimum = 16 * dBytes[d] * blocks;
  const scalesAt = minimum + (minima === undefined ? 0 : 32);
  const minimaAt = scalesAt + (scales === undefined ? 0 : 16 * subs);
  const first = minimaAt + (minima === 'sub' ? 16 * subs : 0);
  const bits = (count: number) => planes.slice(0, count).reduce((sum, some) => sum + some, 0);
  return {
    bytes: first + (size / 32) * step,
    d: Array.from({ length: blocks }, (_, block) => 16 * dBytes[d] * block),
    minimum,
    scales: scalesAt,
    minima: minimaAt,
    planes: planes.map((_, plane) => first + 64 * bits(plane)),
    step,
  };
}

/** Where a plane of so many bits has quad g of 32 k: in which vector, and from which bit of each byte on. */
export function quadPlace(bits: 1 | 2 | 4 | 8, g: number): { readonly vector: number; readonly shift: number } {
  switch (bits) {
    case 8:
      return { vector: g, shift: 0 };
    case 4:
      return { vector: g & 3, shift: 4 * (g >> 2) };
    case 2:
      return { vector: g >> 2, shift: 2 * (g & 3) };
    case 1:
      return { vector: 0, shift: g };
    default:
      return bits satisfies never;
  }
}

/** All values that levels stand for. */
export function valuesOfLevels({ planes, offset, table }: Levels): readonly number[] {
  const bits = planes.reduce((sum, some) => sum + some, 0);
  return table ?? Array.from({ length: 2 ** bits }, (_, level) => level - offset);
}

/** Values as unsigned bytes, which VPMADDUBSW and VPDPBUSD multiply: (value << shift) + offset. */
export interface Coding {
  readonly shift: number;
  readonly offset: number;
}

/**
 * What products of integers with AVX2 do with the values of a format, such that their sums are exact. VPMADDUBSW adds two
 * products of u8 and s8 with saturation, so two products must stay within 32767; all later sums are modular, so only final
 * values must fit. Activations are in -127 .. 127.
 *
 *   unsigned  codes times activations. An i16 adds those of `chain` quads, two a quad, and starts at -offset times the sum
 *             of its activations, so that it ends as a sum of 2 * chain values times activations.
 *   signed    |value| times the activation with the sign of the value, and sums of `chain` quads. Where it is the complement of an
 *             activation it may be -128: products may be -32768 as well.
 */
export interface WordSums {
  readonly kind: 'unsigned' | 'signed';
  readonly chain: 1 | 2 | 4 | 8;
}

/**
 * Offsets are what the sums of activations that come with them can make: -8 times (blocks of 32) and -32 times (of 256) what
 * they are. Levels that have an offset keep it.
 */
export function codingOf(format: Levels): Coding {
  const { size, offset, table } = format;
  const magnitude = magnitudeOf(format);
  const shift = size === 32 ? 0 : Math.max(0, Math.floor(Math.log2(32 / magnitude)));
  if (Math.min(...valuesOfLevels(format)) >= 0) return { shift: 0, offset: 0 };
  if (table === undefined) return { shift, offset: offset << shift };
  const offsets = size === 32 ? [8, 16] : [32, 64];
  return { shift, offset: offsets.find((one) => magnitude << shift <= one) ?? 128 };
}

const magnitudeOf = (format: Levels) => Math.max(...valuesOfLevels(format).map(Math.abs));

export function largestCode(format: Levels): number {
  const { shift, offset } = codingOf(format);
  return (Math.max(...valuesOfLevels(format)) << shift) + offset;
}

export function wordSumsOf(format: Levels): WordSums {
  const { shift, offset } = codingOf(format);
  const fits = (quads: number, value: number) => 2 * quads * value * 127 <= 32767;
  const chain = ([8, 4] as const).find((quads) => 4 * quads <= format.sub && fits(quads, magnitudeOf(format) << shift));
  const startsAt = offset <= (format.size === 32 ? 16 : 32);
  if (chain !== undefined && startsAt && fits(1, largestCode(format))) return { kind: 'unsigned', chain };
  return { kind: 'signed', chain: fits(2, magnitudeOf(format)) ? 2 : 1 };
}
