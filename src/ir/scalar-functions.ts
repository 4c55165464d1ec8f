/**
 * The ops on real numbers, one scalar at a time. Floats compute in f64 and round once, which is the correctly rounded
 * result for + - * / and square root of every narrower type; integers wrap when stored. Semantics at the edges (division by zero,
 * shifts beyond the width, NaN) follow the StableHLO specification and, where it leaves them open, XLA.
 */
import { type ElementType, elementClass, elementTypes } from '../numerics/element-types.ts';
import { type FloatType, type IntegerType, rounder, wrapTo } from '../numerics/rounding.ts';
import type { BinaryOp, UnaryOp } from './attributes.ts';

export type Unary = (x: number) => number;
export type Binary = (x: number, y: number) => number;
export type BigUnary = (x: bigint) => bigint;
export type BigBinary = (x: bigint, y: bigint) => bigint;

// ── floats ──

const roundEven: Unary = (x) => {
  if (!Number.isFinite(x) || Math.abs(x) >= 2 ** 52) return x;
  const magnitude = Math.abs(x) + 2 ** 52 - 2 ** 52;
  return x < 0 || Object.is(x, -0) ? -magnitude : magnitude;
};

const roundAway: Unary = (x) => {
  const magnitude = Math.abs(x);
  const whole = Math.trunc(magnitude);
  const rounded = magnitude - whole >= 0.5 ? whole + 1 : whole;
  return x < 0 || Object.is(x, -0) ? -rounded : rounded;
};

/** IEEE 754 pow: 1 to anything is 1, and so is -1 to an infinite power; JavaScript says NaN. */
const power: Binary = (x, y) => (x === 1 || (x === -1 && Math.abs(y) === Number.POSITIVE_INFINITY) ? 1 : x ** y);

const floatUnary: Partial<Record<UnaryOp, Unary>> = {
  abs: Math.abs,
  cbrt: Math.cbrt,
  ceil: Math.ceil,
  cosine: Math.cos,
  exponential: Math.exp,
  exponential_minus_one: Math.expm1,
  floor: Math.floor,
  log: Math.log,
  log_plus_one: Math.log1p,
  logistic: (x) => 1 / (1 + Math.exp(-x)),
  negate: (x) => -x,
  round_nearest_afz: roundAway,
  round_nearest_even: roundEven,
  rsqrt: (x) => 1 / Math.sqrt(x),
  sign: Math.sign,
  sine: Math.sin,
  sqrt: Math.sqrt,
  tan: Math.tan,
  tanh: Math.tanh,
};

const floatBinary: Partial<Record<BinaryOp, Binary>> = {
  add: (x, y) => x + y,
  atan2: Math.atan2,
  divide: (x, y) => x / y,
  maximum: Math.max,
  minimum: Math.min,
  multiply: (x, y) => x * y,
  power,
  remainder: (x, y) => x % y,
  subtract: (x, y) => x - y,
};

// ── integers of at most 32 bits, as numbers; storing wraps ──

function integerPower(x: number, y: number): number {
  if (y < 0) return x === 1 ? 1 : x === -1 ? (y % 2 === 0 ? 1 : -1) : 0;
  let result = 1;
  for (let base = x, rest = y; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = Math.imul(result, base);
    base = Math.imul(base, base);
  }
  return result;
}

function popcount(x: number): number {
  let count = 0;
  for (let rest = x >>> 0; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** `bits`: the width; a value is masked to it where its sign bits must not count. */
function integerUnary(bits: number): Partial<Record<UnaryOp, Unary>> {
  const unused = 32 - bits;
  return {
    abs: Math.abs,
    count_leading_zeros: (x) => Math.clz32((x << unused) >>> unused) - unused,
    negate: (x) => -x,
    not: (x) => ~x,
    popcnt: (x) => popcount((x << unused) >>> unused),
    sign: Math.sign,
  };
}

function integerBinary(bits: number): Partial<Record<BinaryOp, Binary>> {
  const unused = 32 - bits;
  const tooFar = (y: number) => y < 0 || y >= bits;
  return {
    add: (x, y) => x + y,
    and: (x, y) => x & y,
    divide: (x, y) => (y === 0 ? -1 : Math.trunc(x / y)),
    maximum: Math.max,
    minimum: Math.min,
    multiply: Math.imul,
    or: (x, y) => x | y,
    power: integerPower,
    remainder: (x, y) => (y === 0 ? x : x % y),
    shift_left: (x, y) => (tooFar(y) ? 0 : x << y),
    shift_right_arithmetic: (x, y) => ((x << unused) >> unused) >> (tooFar(y) ? bits - 1 : y),
    shift_right_logical: (x, y) => (tooFar(y) ? 0 : ((x << unused) >>> unused) >>> y),
    subtract: (x, y) => x - y,
    xor: (x, y) => x ^ y,
  };
}

const booleanUnary: Partial<Record<UnaryOp, Unary>> = { not: (x) => x ^ 1 };
const booleanBinary: Partial<Record<BinaryOp, Binary>> = {
  add: (x, y) => x | y,
  and: (x, y) => x & y,
  maximum: (x, y) => x | y,
  minimum: (x, y) => x & y,
  multiply: (x, y) => x & y,
  or: (x, y) => x | y,
  xor: (x, y) => x ^ y,
};

// ── 64-bit integers; storing wraps ──

function bigPower(x: bigint, y: bigint): bigint {
  if (y < 0n) return x === 1n ? 1n : x === -1n ? (y % 2n === 0n ? 1n : -1n) : 0n;
  let result = 1n;
  for (let base = x, rest = y; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = BigInt.asUintN(64, result * base);
    base = BigInt.asUintN(64, base * base);
  }
  return result;
}

export function bigMaximum(x: bigint, y: bigint): bigint {
  if (x > y) return x;
  return y;
}

export function bigMinimum(x: bigint, y: bigint): bigint {
  if (x < y) return x;
  return y;
}

export const bigUnary: Partial<Record<UnaryOp, BigUnary>> = {
  abs: (x) => (x < 0n ? -x : x),
  count_leading_zeros: (x) => {
    const high = Number(BigInt.asUintN(64, x) >> 32n);
    return BigInt(high !== 0 ? Math.clz32(high) : 32 + Math.clz32(Number(BigInt.asUintN(32, x))));
  },
  negate: (x) => -x,
  not: (x) => ~x,
  popcnt: (x) => BigInt(popcount(Number(BigInt.asUintN(64, x) >> 32n)) + popcount(Number(BigInt.asUintN(32, x)))),
  sign: (x) => (x > 0n ? 1n : x < 0n ? -1n : 0n),
};

const bigTooFar = (y: bigint) => y < 0n || y >= 64n;
export const bigBinary: Partial<Record<BinaryOp, BigBinary>> = {
  add: (x, y) => x + y,
  and: (x, y) => x & y,
  divide: (x, y) => (y === 0n ? -1n : x / y),
  maximum: bigMaximum,
  minimum: bigMinimum,
  multiply: (x, y) => x * y,
  or: (x, y) => x | y,
  power: bigPower,
  remainder: (x, y) => (y === 0n ? x : x % y),
  shift_left: (x, y) => (bigTooFar(y) ? 0n : x << y),
  shift_right_arithmetic: (x, y) => BigInt.asIntN(64, x) >> (bigTooFar(y) ? 63n : y),
  shift_right_logical: (x, y) => (bigTooFar(y) ? 0n : BigInt.asUintN(64, x) >> y),
  subtract: (x, y) => x - y,
  xor: (x, y) => x ^ y,
};

// ── by type ──

/** What must happen to a computed number before it is stored; undefined where storing does it. */
export function storeRounding(element: ElementType): Unary | undefined {
  switch (element) {
    case 'f16':
    case 'bf16':
    case 'f8E4M3FN':
    case 'f8E5M2':
      return rounder(element);
    case 'i4':
    case 'ui4':
      return (x) => wrapTo(element, x);
    default:
      return undefined;
  }
}

/** The scalar function of a unary op on numbers, before rounding; undefined if the type has another representation. */
export function numberUnary(name: UnaryOp, element: ElementType): Unary | undefined {
  switch (elementClass(element)) {
    case 'float':
      return floatUnary[name];
    case 'boolean':
      return booleanUnary[name];
    case 'complex':
      return undefined;
    default:
      return elementTypes[element].bits === 64 ? undefined : integerUnary(elementTypes[element].bits)[name];
  }
}

/** The scalar function of a binary op on numbers, before rounding; undefined if the type has another representation. */
export function numberBinary(name: BinaryOp, element: ElementType): Binary | undefined {
  switch (elementClass(element)) {
    case 'float':
      return floatBinary[name];
    case 'boolean':
      return booleanBinary[name];
    case 'complex':
      return undefined;
    default:
      return elementTypes[element].bits === 64 ? undefined : integerBinary(elementTypes[element].bits)[name];
  }
}

// ── convert ──

/** Integer to float in one rounding: what f64 cannot hold is cut to 53 bits with a sticky lowest bit first. */
function bigToFloat(x: bigint, round: (x: number) => number): number {
  const direct = Number(x);
  if (BigInt(direct) === x) return round(direct);
  const sticky = (x & 2047n) === 0n ? 0n : 1n;
  return round(Number((x >> 11n) | sticky) * 2048);
}

/** To an integer type: towards zero, saturating, NaN is 0. */
function floatToInteger(element: IntegerType): (x: number) => number | bigint {
  if (element === 'i1') return (x) => (x !== 0 ? 1 : 0);
  const { bits } = elementTypes[element];
  const signed = elementClass(element) === 'signed';
  const low = signed ? -(2 ** (bits - 1)) : 0;
  const high = 2 ** (signed ? bits - 1 : bits);
  if (element !== 'i64' && element !== 'ui64') {
    return (x) => (Number.isNaN(x) ? 0 : Math.max(low, Math.min(high - 1, Math.trunc(x))));
  }
  return (x) => {
    if (Number.isNaN(x)) return 0n;
    if (x >= high) return BigInt(high) - 1n;
    return x <= low ? BigInt(low) : BigInt(Math.trunc(x));
  };
}

function isInteger(element: ElementType): element is IntegerType {
  const kind = elementClass(element);
  return kind !== 'float' && kind !== 'complex';
}

function partType(element: ElementType): FloatType {
  if (element === 'complex<f32>') return 'f32';
  return element === 'complex<f64>' ? 'f64' : (element as FloatType);
}

/** One element of `from` as one of `to`. */
export function elementConverter(from: ElementType, to: ElementType): (x: number | bigint) => number | bigint {
  if (isInteger(to)) {
    if (!isInteger(from)) {
      const f = floatToInteger(to);
      return (x) => f(Number(x));
    }
    return to === 'i1' ? (x) => (x ? 1 : 0) : (x) => wrapTo(to, x);
  }
  const round = rounder(partType(to));
  // Of a bigint, Number is nearest even itself.
  if (partType(to) === 'f64') return (x) => Number(x);
  return (x) => (typeof x === 'bigint' ? bigToFloat(x, round) : round(x));
}
