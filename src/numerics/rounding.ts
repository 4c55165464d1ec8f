/**
 * Rounding to element types: IEEE 754 round to nearest even for floats (f8 as in "FP8 Formats for Deep Learning",
 * arXiv 2209.05433), two's complement wrap for integers. Values are plain numbers; f16 and smaller also convert to and
 * from their bit patterns here.
 */
import { type ElementType, elementTypes } from './element-types.ts';

type TypeOfClass<C> = { [T in ElementType]: (typeof elementTypes)[T]['class'] extends C ? T : never }[ElementType];
export type FloatType = TypeOfClass<'float'>;
export type IntegerType = TypeOfClass<'boolean' | 'signed' | 'unsigned'>;
export type WideIntegerType = 'i64' | 'ui64';
export type NarrowIntegerType = Exclude<IntegerType, WideIntegerType>;
/** Floats with no typed array of their own. */
export type SmallFloatType = Exclude<FloatType, 'f32' | 'f64'>;

/** [exponent, stored mantissa] bits. */
export const floatLayout: Readonly<Record<FloatType, readonly [number, number]>> = {
  f64: [11, 52],
  f32: [8, 23],
  f16: [5, 10],
  bf16: [8, 7],
  f8E4M3FN: [4, 3],
  f8E5M2: [5, 2],
};

interface SmallFloat {
  /** Stored bits of the significand. */
  readonly mantissa: number;
  readonly bias: number;
  readonly max: number;
  /** What a finite value beyond `max` and an infinity become. */
  readonly overflow: number;
  /** Bits of the canonical NaN; all magnitudes above `infinity` are NaNs too. */
  readonly nan: number;
  /** Bits of +Infinity; of the largest finite value where the type has no infinity. */
  readonly infinity: number;
  readonly signBit: number;
}

const smallFloats: Readonly<Record<SmallFloatType, SmallFloat>> = {
  f16: { mantissa: 10, bias: 15, max: 65504, overflow: Infinity, nan: 0x7e00, infinity: 0x7c00, signBit: 0x8000 },
  bf16: {
    mantissa: 7,
    bias: 127,
    max: (2 - 2 ** -7) * 2 ** 127,
    overflow: Infinity,
    nan: 0x7fc0,
    infinity: 0x7f80,
    signBit: 0x8000,
  },
  f8E4M3FN: { mantissa: 3, bias: 7, max: 448, overflow: NaN, nan: 0x7f, infinity: 0x7e, signBit: 0x80 },
  f8E5M2: { mantissa: 2, bias: 15, max: 57344, overflow: Infinity, nan: 0x7e, infinity: 0x7c, signBit: 0x80 },
};

const f64Cell = new Float64Array(1);
const f64Words = new Int32Array(f64Cell.buffer); // [low, high]: every platform of Node and browsers is little endian
const f32Cell = new Float32Array(1);
const f32Word = new Uint32Array(f32Cell.buffer);

/**
 * Adding and subtracting 1.5 * 2^52 units in the last place of the target leaves the nearest multiple of that unit,
 * ties to even: the FPU does the rounding, subnormals included, in one step from f64.
 */
function roundSmall(value: number, { mantissa, bias, max, overflow }: SmallFloat): number {
  f64Cell[0] = value;
  const high = f64Words[1] as number;
  const exponent = Math.max(((high >>> 20) & 0x7ff) - 1023, 1 - bias);
  if (exponent > bias + 1) return value < 0 ? -overflow : value > 0 ? overflow : NaN;
  f64Words[0] = 0;
  f64Words[1] = ((exponent - mantissa + 52 + 1023) << 20) | 0x80000;
  const magic = f64Cell[0] as number;
  let magnitude = Math.abs(value) + magic - magic;
  if (magnitude > max) magnitude = overflow;
  return high < 0 ? -magnitude : magnitude;
}

const rounders: Readonly<Record<FloatType, (value: number) => number>> = {
  f64: (value) => value,
  f32: Math.fround,
  f16: (value) => roundSmall(value, smallFloats.f16),
  bf16: (value) => roundSmall(value, smallFloats.bf16),
  f8E4M3FN: (value) => roundSmall(value, smallFloats.f8E4M3FN),
  f8E5M2: (value) => roundSmall(value, smallFloats.f8E5M2),
};

/** The rounding function of a type, to be fetched once outside a loop. */
export function rounder(type: FloatType): (value: number) => number {
  return rounders[type];
}

/** The value of `type` nearest to `value`, ties to even; beyond the largest, infinity (f8E4M3FN: NaN). */
export function roundTo(type: FloatType, value: number): number {
  return rounders[type](value);
}

/** Bit pattern of `value` rounded to `type`. Every NaN becomes the canonical one. */
export function toBits(type: SmallFloatType, value: number): number {
  const format = smallFloats[type];
  const rounded = roundSmall(value, format);
  if (Number.isNaN(rounded)) return format.nan;
  // f32 with the exponent moved: exact, since all f16 and f8 subnormals times 2^-112 are f32 values.
  f32Cell[0] = rounded * 2 ** (format.bias - 127);
  const word = f32Word[0] as number;
  const sign = word >>> 31 === 0 ? 0 : format.signBit;
  if (rounded === Infinity || rounded === -Infinity) return sign | format.infinity;
  return sign | ((word & 0x7fffffff) >>> (23 - format.mantissa));
}

/** Value of a bit pattern, exact. */
export function fromBits(type: SmallFloatType, bits: number): number {
  const { mantissa, bias, overflow, infinity, signBit } = smallFloats[type];
  const magnitude = bits & (signBit - 1);
  const negative = (bits & signBit) !== 0;
  if (magnitude > infinity) return NaN;
  if (magnitude === infinity && overflow === Infinity) return negative ? -Infinity : Infinity;
  f32Word[0] = magnitude << (23 - mantissa);
  const value = (f32Cell[0] as number) * 2 ** (127 - bias);
  return negative ? -value : value;
}

/**
 * Wraps into an integer type modulo 2^bits after cutting off a fraction; i1 is 1 for anything but zero. What has no
 * integer value (NaN, infinities) becomes 0. 64-bit types give a bigint, all others a number.
 */
export function wrapTo(type: WideIntegerType, value: number | bigint): bigint;
export function wrapTo(type: NarrowIntegerType, value: number | bigint): number;
export function wrapTo(type: IntegerType, value: number | bigint): number | bigint;
export function wrapTo(type: IntegerType, value: number | bigint): number | bigint {
  if (type === 'i1') return value ? 1 : 0;
  if (type === 'i64' || type === 'ui64') {
    const whole = typeof value === 'bigint' ? value : Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n;
    return type === 'i64' ? BigInt.asIntN(64, whole) : BigInt.asUintN(64, whole);
  }
  const low = typeof value === 'bigint' ? Number(BigInt.asIntN(32, value)) : value | 0;
  const unused = 32 - elementTypes[type].bits;
  return elementTypes[type].class === 'signed' ? (low << unused) >> unused : (low << unused) >>> unused;
}
