/**
 * Elementwise ops on real numbers. Floats compute in f64 and round once, which is the correctly rounded result for
 * + - * / and square root of every narrower type; integers wrap. Semantics at the edges (division by zero, shifts
 * beyond the width, NaN) follow the StableHLO specification and, where it leaves them open, XLA.
 */
import type { BinaryOp, UnaryOp } from '../../ir/attributes.ts';
import { type ElementType, elementClass, elementTypes } from '../../numerics/element-types.ts';
import { rounder, wrapTo } from '../../numerics/rounding.ts';
import { complexBinary, complexUnary } from './complex.ts';
import { type BigArray, type Kernel, type KernelMaker, type NumberArray, unsupported } from './kernel.ts';

type Unary = (x: number) => number;
type Binary = (x: number, y: number) => number;
type BigUnary = (x: bigint) => bigint;
type BigBinary = (x: bigint, y: bigint) => bigint;

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

const bigUnary: Partial<Record<UnaryOp, BigUnary>> = {
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
const bigBinary: Partial<Record<BinaryOp, BigBinary>> = {
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

// ── loops ──

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

function unaryLoop(element: ElementType, f: Unary): Kernel['run'] {
  const round = storeRounding(element);
  const g: Unary = round === undefined ? f : (x) => round(f(x));
  return ([a], [o]) => {
    const x = a as NumberArray;
    const out = o as NumberArray;
    for (let i = 0; i < out.length; i++) out[i] = g(x[i]);
  };
}

function binaryLoop(element: ElementType, f: Binary): Kernel['run'] {
  const round = storeRounding(element);
  const g: Binary = round === undefined ? f : (x, y) => round(f(x, y));
  return ([a, b], [o]) => {
    const x = a as NumberArray;
    const y = b as NumberArray;
    const out = o as NumberArray;
    for (let i = 0; i < out.length; i++) out[i] = g(x[i], y[i]);
  };
}

/** The f32 ops of which models are made, each a loop that compiles to plain machine arithmetic. */
const f32Loops: Partial<Record<BinaryOp, (x: Float32Array, y: Float32Array, out: Float32Array) => void>> = {
  add: (x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = x[i] + y[i];
  },
  divide: (x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = x[i] / y[i];
  },
  maximum: (x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = Math.max(x[i], y[i]);
  },
  multiply: (x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = x[i] * y[i];
  },
  subtract: (x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = x[i] - y[i];
  },
};

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

export const unary: KernelMaker<UnaryOp> = ({ op, inputs: [{ element }], outputs }) => {
  const { name } = op;
  const kind = elementClass(element);
  const reuse = outputs[0].element === element ? [[0]] : [[]];
  if (kind === 'complex') return { run: complexUnary(op), reuse: [[]] };
  const { bits } = elementTypes[element];
  if (bits === 64 && kind !== 'float') {
    const f = bigUnary[name];
    if (f === undefined) throw unsupported(op, element);
    return {
      run([a], [o]) {
        const x = a as BigArray;
        const out = o as BigArray;
        for (let i = 0; i < out.length; i++) out[i] = f(x[i]);
      },
      reuse,
    };
  }
  const table = kind === 'float' ? floatUnary : kind === 'boolean' ? booleanUnary : integerUnary(bits);
  const f = table[name];
  if (f === undefined) throw unsupported(op, element);
  return { run: unaryLoop(element, f), reuse };
};

export const binary: KernelMaker<BinaryOp> = ({ op, inputs: [{ element }] }) => {
  const { name } = op;
  const reuse = [[0, 1]];
  if (elementClass(element) === 'complex') return { run: complexBinary(op, element), reuse };
  const f32 = element === 'f32' ? f32Loops[name] : undefined;
  if (f32 !== undefined) {
    return { run: ([x, y], [out]) => f32(x as Float32Array, y as Float32Array, out as Float32Array), reuse };
  }
  const f = numberBinary(name, element);
  if (f !== undefined) return { run: binaryLoop(element, f), reuse };
  const big = elementTypes[element].bits === 64 ? bigBinary[name] : undefined;
  if (big === undefined || elementClass(element) === 'float') throw unsupported(op, element);
  return {
    run([a, b], [o]) {
      const x = a as BigArray;
      const y = b as BigArray;
      const out = o as BigArray;
      for (let i = 0; i < out.length; i++) out[i] = big(x[i], y[i]);
    },
    reuse,
  };
};
