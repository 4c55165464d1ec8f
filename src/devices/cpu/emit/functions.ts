/**
 * Transcendental functions from their power series after a reduction of the argument: one body for every number of lanes.
 * The exponential and what is made of it work in either format; the others in f64, and f32 results are those rounded once. Errors are measured by `test/unit/cpu-emit-math.test.ts`.
 * Reductions as in Muller, "Elementary Functions": exp and log by powers of two, sine and cosine by Cody and Waite.
 */
import type { Mnemonic } from '../asm/tables.ts';
import type { FloatCode } from './float-code.ts';
import type { LaneBits, LaneOperand } from './lane-code.ts';
import { at, q, type Register } from './machine.ts';
import { DIGIT_BITS, twoOverPi } from './two-over-pi.ts';

/** Adding it to a number of magnitude up to 2^51 rounds that to an integer, which the low bits of the sum hold. */
const MAGIC = 1.5 * 2 ** 52;
export const LN2 = [Math.LN2, 2.3190468138462996e-17] as const;
const HALF_PI = [Math.PI / 2, 6.123233995736766e-17, -1.4973849048591698e-33] as const;

const twoOverPiDigits = twoOverPi();
/** Digits that a product needs: 188 bits from the first that matters to 2^-110. */
const TERMS = 8;

const factorials = [1];
for (let i = 1; i < 20; i++) factorials.push((factorials[i - 1] as number) * i);
const overFactorial = (i: number) => 1 / (factorials[i] as number);
const range = (count: number, f: (i: number) => number) => Array.from({ length: count }, (_, i) => f(i));

/** log(1 + f) = 2s + s * (these of z = s^2, times z), s = f / (2 + f), |s| <= 0.172. */
export const LOG_SERIES = range(11, (i) => 2 / (2 * i + 3));
const SINE_SERIES = range(8, (i) => (i % 2 === 0 ? -1 : 1) * overFactorial(2 * i + 3));
const COSINE_SERIES = range(7, (i) => (i % 2 === 0 ? 1 : -1) * overFactorial(2 * i + 4));
/** atan(u) = u + u * (these of u^2, times u^2), |u| <= tan(pi / 8). */
const ATAN_SERIES = range(21, (i) => (i % 2 === 0 ? -1 : 1) / (2 * i + 3));

const op = (f: FloatCode, mnemonic: Mnemonic, ...inputs: readonly (LaneOperand | number)[]) =>
  f.code.op(mnemonic, f.lane, ...inputs);

/** What the exponential needs to know of a format. */
interface Format {
  readonly mantissa: number;
  readonly bias: number;
  /** Adding it to a number rounds that to an integer, which the low bits of the sum hold, with twice the bias added. */
  readonly magic: number;
  readonly ln2: readonly [high: number, low: number];
  /** (e^r - 1 - r) / r^2, |r| <= ln(2) / 2, as a polynomial. */
  readonly exp: readonly number[];
  /** Beyond these e^x is 0 and infinity, and e^x - 1 is -1. */
  readonly zero: number;
  readonly infinity: number;
  readonly minusOne: number;
  readonly min: Mnemonic;
  readonly max: Mnemonic;
  readonly add: Mnemonic;
  readonly sub: Mnemonic;
  readonly shift: Mnemonic;
  readonly shiftRight: Mnemonic;
}
const LN2_F32 = Math.fround(Math.LN2);
const FORMATS: Readonly<Record<LaneBits, Format>> = {
  32: {
    ...{ mantissa: 23, bias: 127, magic: 1.5 * 2 ** 23 + 2 * 127, ln2: [LN2_F32, Math.LN2 - LN2_F32] },
    // The best of its degree: e^r to 4e-9, where the power series of one more is off by 5e-9.
    exp: [0.49999994, 0.16666521, 0.04166839, 0.008368745, 0.0013814541],
    ...{ zero: -104, infinity: 89, minusOne: -30 },
    ...{ min: 'vminps', max: 'vmaxps', add: 'vpaddd', sub: 'vpsubd', shift: 'vpslld', shiftRight: 'vpsrld' },
  },
  64: {
    ...{ mantissa: 52, bias: 1023, magic: MAGIC + 2 * 1023, ln2: LN2, exp: range(12, (i) => overFactorial(i + 2)) },
    ...{ zero: -746, infinity: 710, minusOne: -60 },
    ...{ min: 'vminpd', max: 'vmaxpd', add: 'vpaddq', sub: 'vpsubq', shift: 'vpsllq', shiftRight: 'vpsrlq' },
  },
};

/** An integer in every lane. */
const integer = (f: FloatCode, value: number) => f.word(BigInt(value));

/** Between two numbers; NaN stays. */
function clamp(f: FloatCode, x: Register, low: number, high: number): Register {
  const { min, max } = FORMATS[f.lane];
  // These give their second operand where one is NaN.
  return op(f, max, f.load(low), op(f, min, f.load(high), x));
}

/** 2^k of an integer that the magic number was added to, in the range of normal numbers. */
function powerOfTwo(f: FloatCode, shifted: Register): Register {
  const { add, shift, bias, mantissa } = FORMATS[f.lane];
  return op(f, shift, op(f, add, shifted, integer(f, bias)), mantissa);
}

/** x = k ln 2 + r, k the integer next to x / ln 2. */
interface Reduced {
  /** k with the magic number added. */
  readonly shifted: Register;
  /** e^r - 1. */
  readonly fraction: Register;
}

/** Of x + `rest`, which is less than the last place of x tells. */
function reduceExp(f: FloatCode, x: Register, rest?: Register): Reduced {
  const { magic, ln2, exp } = FORMATS[f.lane];
  const shifted = f.fmaBy(f.load(magic), x, f.number(Math.LOG2E));
  const k = f.sub(shifted, f.number(magic));
  let r = f.fnmaBy(f.fnmaBy(x, k, f.number(ln2[0])), k, f.number(ln2[1]));
  if (rest !== undefined) r = f.add(r, rest);
  const square = f.mul(r, r);
  return { shifted, fraction: f.fma(square, f.pairedPolynomial(r, square, exp), r) };
}

export function exponential(f: FloatCode, x: Register, rest?: Register): Register {
  const { zero, infinity, mantissa, shift, shiftRight, sub } = FORMATS[f.lane];
  const { shifted, fraction } = reduceExp(f, clamp(f, x, zero, infinity), rest);
  // 2^k in two steps, so that results of the least and the greatest exponents come out: half of k + 2 * bias is an exponent.
  const first = op(f, shiftRight, shifted, 1);
  const second = op(f, sub, shifted, first);
  const one = f.add(fraction, f.number(1));
  return f.mul(f.mul(one, op(f, shift, first, mantissa)), op(f, shift, second, mantissa));
}

export function exponentialMinusOne(f: FloatCode, x: Register): Register {
  const { sub, infinity, minusOne, mantissa, bias } = FORMATS[f.lane];
  const { shifted, fraction } = reduceExp(f, clamp(f, x, minusOne, infinity));
  // Half of it first: the power of two beyond the greatest number is no number.
  const scale = powerOfTwo(f, op(f, sub, shifted, integer(f, 2 * bias + 1)));
  const half = f.fma(scale, fraction, f.sub(scale, f.number(0.5)));
  return f.blend(f.compare('LT', f.abs(x), f.number(2 ** -(mantissa + 2))), x, f.add(half, half));
}

interface Scaled {
  readonly k: Register;
  /** m - 1 where x = 2^k m, m between the square roots of 1/2 and 2. */
  readonly fraction: Register;
}

/** Of positive finite numbers. */
export function splitExponent(f: FloatCode, x: Register): Scaled {
  const SQRT_HALF = 0x3fe6a09e667f3bcdn;
  const small = f.compare('LT', x, f.number(2 ** -1022));
  const normal = f.blend(small, f.mul(x, f.number(2 ** 54)), x);
  const shifted = op(f, 'vpaddq', normal, f.word(0x3ff0000000000000n - SQRT_HALF));
  const exponent = op(f, 'vpsrlq', shifted, 52);
  // An integer below 2^52 as a number.
  const biased = f.sub(f.or(exponent, f.word(0x4330000000000000n)), f.number(2 ** 52));
  const k = f.add(f.sub(biased, f.number(1023)), f.keep(small, f.number(-54)));
  const m = op(f, 'vpaddq', f.and(shifted, f.word((1n << 52n) - 1n)), f.word(SQRT_HALF));
  return { k, fraction: f.sub(m, f.number(1)) };
}

/** `result`, but for 0, infinity, and what has no logarithm. */
export function orEdge(f: FloatCode, x: Register, result: Register): Register {
  const edge = f.blend(f.compare('EQ', x, f.number(0)), f.number(Number.NEGATIVE_INFINITY), f.add(x, x));
  const negative = f.compare('LT', x, f.number(0));
  const ordinary = f.both(f.compare('GT', x, f.number(0)), f.compare('LT', x, f.number(Number.POSITIVE_INFINITY)));
  return f.nanWhere(negative, f.blend(ordinary, result, edge));
}

export function logarithm(f: FloatCode, x: Register): Register {
  const { k, fraction } = splitExponent(f, x);
  const s = f.div(fraction, f.add(fraction, f.number(2)));
  const z = f.mul(s, s);
  const series = f.mul(z, f.polynomial(z, LOG_SERIES));
  const halfSquare = f.mul(f.mul(fraction, fraction), f.number(0.5));
  const low = f.fmaBy(f.mul(s, f.add(series, halfSquare)), k, f.number(LN2[1]));
  return orEdge(f, x, f.fmaBy(f.sub(fraction, f.sub(halfSquare, low)), k, f.number(LN2[0])));
}

export function logPlusOne(f: FloatCode, x: Register): Register {
  const u = f.add(x, f.number(1));
  // What the addition lost, exactly.
  const back = f.sub(u, f.number(1));
  const lost = f.add(f.sub(f.load(1), f.sub(u, back)), f.sub(x, back));
  const log = logarithm(f, u);
  const edge = f.either(f.compare('EQ', u, f.number(0)), f.compare('EQ', u, f.number(Number.POSITIVE_INFINITY)));
  const result = f.blend(edge, log, f.add(log, f.div(lost, u)));
  return f.blend(f.compare('LT', f.abs(x), f.number(2 ** -54)), x, result);
}

export function logistic(f: FloatCode, x: Register): Register {
  // The exponential of a negative number cannot overflow.
  const e = exponential(f, f.or(x, f.signBit));
  return f.div(f.blend(f.negative(x), e, f.load(1)), f.add(e, f.number(1)));
}

export function tangentHyperbolic(f: FloatCode, x: Register): Register {
  const magnitude = op(f, FORMATS[f.lane].min, f.load(22), f.abs(x));
  const e = exponentialMinusOne(f, f.add(magnitude, magnitude));
  return f.withSign(f.div(e, f.add(e, f.number(2))), x);
}

export function sineHyperbolic(f: FloatCode, x: Register): Register {
  const magnitude = f.abs(x);
  const e = exponentialMinusOne(f, magnitude);
  const small = f.mul(f.add(e, f.div(e, f.add(e, f.number(1)))), f.number(0.5));
  return f.withSign(f.blend(f.compare('LT', magnitude, f.number(22)), small, halfOfExp(f, magnitude)), x);
}

export function cosineHyperbolic(f: FloatCode, x: Register): Register {
  const magnitude = f.abs(x);
  const e = exponential(f, magnitude);
  const small = f.mul(f.add(e, f.div(f.load(1), e)), f.number(0.5));
  return f.blend(f.compare('LT', magnitude, f.number(22)), small, halfOfExp(f, magnitude));
}

/** e^x / 2 where e^x alone may be too large. */
function halfOfExp(f: FloatCode, x: Register): Register {
  const root = exponential(f, f.mul(x, f.number(0.5)));
  return f.mul(f.mul(root, f.number(0.5)), root);
}

interface Turned {
  readonly sine: Register;
  readonly cosine: Register;
  /** The number of quarter turns, in its low bits. */
  readonly quarter: Register;
}

function turn(f: FloatCode, x: Register): Turned {
  const shifted = f.fmaBy(f.load(MAGIC), x, f.number(2 / Math.PI));
  const n = f.sub(shifted, f.number(MAGIC));
  const high = f.fnmaBy(x, n, f.number(HALF_PI[0]));
  const r = f.fnmaBy(f.fnmaBy(high, n, f.number(HALF_PI[1])), n, f.number(HALF_PI[2]));
  turnLarge(f, x, r, shifted);
  const z = f.mul(r, r);
  const sine = f.fma(f.mul(z, r), f.polynomial(z, SINE_SERIES), r);
  const half = f.mul(z, f.number(0.5));
  const whole = f.sub(f.load(1), half);
  const rest = f.sub(f.sub(f.load(1), whole), half);
  const cosine = f.add(whole, f.fma(f.mul(z, z), f.polynomial(z, COSINE_SERIES), rest));
  return { sine, cosine, quarter: shifted };
}

/**
 * Where |x| >= 2^30: puts the angle within a quarter turn into `r` and the count of quarters into `shifted`. x is multiplied
 * with those digits of 2 / pi that tell something about the result modulo 4, each product exact and reduced by itself.
 */
function turnLarge(f: FloatCode, x: Register, r: Register, shifted: Register): void {
  const m = f.code.machine;
  const large = f.both(f.compare('GE', f.abs(x), f.number(2 ** 30)), f.isFinite(x));
  const end = m.newLabel();
  f.code.jumpIfNone(64, large, end);
  const biased = op(f, 'vpsrlq', f.abs(x), 52);
  const exponent = f.sub(f.or(biased, f.word(0x4330000000000000n)), f.number(2 ** 52 + 1023));
  // Digits before these make multiples of 4 only.
  const ratio = f.round('floor', f.div(f.sub(exponent, f.number(54)), f.number(DIGIT_BITS)));
  const first = clamp(f, ratio, 0, twoOverPiDigits.length - TERMS);
  const index = m.register('vec');
  m.emit('vcvttpd2dq', f.code.view(index, 32), f.code.view(first, 64));
  // 2^(exponent - 24 (first + 1)), by its bits.
  const power = f.fnmaBy(f.sub(exponent, f.number(DIGIT_BITS)), first, f.number(DIGIT_BITS));
  let scale = powerOfTwo(f, f.add(power, f.number(MAGIC)));
  const mantissa = f.or(f.and(x, f.word((1n << 63n) | ((1n << 52n) - 1n))), f.number(1));
  const top = f.and(mantissa, f.word(-(1n << 27n)));
  const bottom = f.sub(mantissa, top);
  const table = m.register('gp');
  m.emit('lea', q(table), { kind: 'address', label: m.constant(twoOverPiDigits), scale: 1, disp: 0, bits: 0 });
  let sum = f.load(0);
  let low = f.load(0);
  for (let i = 0; i < TERMS; i++) {
    const digit = f.code.gather(64, at(table, 8 * i), index, 8);
    for (const part of [top, bottom]) {
      const product = f.mul(f.mul(part, digit), scale);
      const quarter = f.round('even', f.mul(product, f.number(0.25)));
      const next = f.fnmaBy(product, quarter, f.number(4));
      // The sum and, exactly, what its rounding lost.
      const total = f.add(sum, next);
      const back = f.sub(total, sum);
      low = f.add(low, f.add(f.sub(sum, f.sub(total, back)), f.sub(next, back)));
      sum = total;
    }
    scale = f.mul(scale, f.number(2 ** -DIGIT_BITS));
  }
  const count = f.round('even', sum);
  const angle = f.mul(f.add(f.sub(sum, count), low), f.number(HALF_PI[0]));
  const counted = f.add(count, f.number(MAGIC));
  f.code.assignWhere(64, large, r, angle);
  f.code.assignWhere(64, large, shifted, counted);
  m.bind(end);
}

function sineOfTurn(f: FloatCode, { sine, cosine, quarter }: Turned): Register {
  const value = f.blend(f.code.hasBit(64, quarter, 0), cosine, sine);
  return f.xor(value, f.keep(f.code.hasBit(64, quarter, 1), f.signBit));
}

export function sine(f: FloatCode, x: Register): Register {
  const result = sineOfTurn(f, turn(f, x));
  return f.blend(f.compare('LT', f.abs(x), f.number(2 ** -27)), x, result);
}

export function cosine(f: FloatCode, x: Register): Register {
  const turned = turn(f, x);
  return sineOfTurn(f, { ...turned, quarter: op(f, 'vpaddq', turned.quarter, f.word(1n)) });
}

export function tangent(f: FloatCode, x: Register): Register {
  const turned = turn(f, x);
  const odd = f.code.hasBit(64, turned.quarter, 0);
  const top = f.blend(odd, f.negate(turned.cosine), turned.sine);
  const result = f.div(top, f.blend(odd, turned.sine, turned.cosine));
  return f.blend(f.compare('LT', f.abs(x), f.number(2 ** -27)), x, result);
}

/** From the logarithm, then one step of Newton. */
export function cubeRoot(f: FloatCode, x: Register): Register {
  const small = f.compare('LT', f.abs(x), f.number(2 ** -900));
  const magnitude = f.mul(f.abs(x), f.blend(small, f.number(2 ** 162), f.load(1)));
  const guess = exponential(f, f.mul(logarithm(f, magnitude), f.number(1 / 3)));
  const square = f.mul(guess, guess);
  const excess = f.fnma(square, guess, magnitude);
  const scaled = f.add(guess, f.div(excess, f.mul(square, f.number(3))));
  const root = f.mul(scaled, f.blend(small, f.number(2 ** -54), f.load(1)));
  const plain = f.both(f.isFinite(x), f.compare('NE', x, f.number(0)));
  return f.blend(plain, f.withSign(root, x), x);
}

export function arctangent2(f: FloatCode, y: Register, x: Register): Register {
  const [ay, ax] = [f.abs(y), f.abs(x)];
  const steep = f.compare('GT', ay, ax);
  const top = f.blend(steep, ax, ay);
  const bottom = f.blend(steep, ay, ax);
  // 0 / 0 counts as 0 and infinity / infinity as 1.
  const quotient = f.keep(f.compare('NE', top, f.number(0)), f.div(top, bottom));
  const t = f.blend(f.compare('EQ', top, f.number(Number.POSITIVE_INFINITY)), f.number(1), quotient);
  const far = f.compare('GT', t, f.number(Math.SQRT2 - 1));
  const u = f.blend(far, f.div(f.sub(t, f.number(1)), f.add(t, f.number(1))), t);
  const z = f.mul(u, u);
  const near = f.fma(f.mul(z, u), f.polynomial(z, ATAN_SERIES), u);
  let angle = f.add(f.keep(far, f.number(Math.PI / 4)), f.add(near, f.keep(far, f.number(HALF_PI[1] / 2))));
  angle = f.blend(steep, f.add(f.sub(f.load(HALF_PI[0]), angle), f.number(HALF_PI[1])), angle);
  const turned = f.add(f.sub(f.load(Math.PI), angle), f.number(2 * HALF_PI[1]));
  angle = f.blend(f.negative(x), turned, angle);
  return f.nanWhere(f.compare('unordered', x, y), f.withSign(angle, y));
}

export function hypotenuse(f: FloatCode, a: Register, b: Register): Register {
  const [x, y] = [f.abs(a), f.abs(b)];
  const swap = f.compare('GT', y, x);
  const large = f.blend(swap, y, x);
  const ratio = f.div(f.blend(swap, x, y), large);
  const length = f.mul(large, f.sqrt(f.fma(ratio, ratio, f.number(1))));
  const zero = f.compare('EQ', large, f.number(0));
  const nan = f.compare('unordered', x, y);
  const infinite = f.either(
    f.compare('EQ', x, f.number(Number.POSITIVE_INFINITY)),
    f.compare('EQ', y, f.number(Number.POSITIVE_INFINITY)),
  );
  return f.blend(infinite, f.number(Number.POSITIVE_INFINITY), f.nanWhere(nan, f.blend(zero, large, length)));
}

/**
 * The remainder of a division towards zero, exactly: as long as a lane is not below the divisor, the greatest power of two
 * times the divisor that fits is taken off. The divisor is no subnormal.
 */
export function remainder(f: FloatCode, a: Register, b: Register): Register {
  const m = f.code.machine;
  const divisor = f.abs(b);
  const rest = f.abs(a);
  const usable = f.both(f.isFinite(a), f.compare('GT', divisor, f.number(0)));
  const fraction = f.and(divisor, f.word((1n << 52n) - 1n));
  m.into(m.block(true), () => {
    const [again, done] = [m.newLabel(), m.newLabel()];
    m.bind(again);
    const over = f.both(f.compare('GE', rest, divisor), usable);
    f.code.jumpIfNone(64, over, done);
    const aligned = f.or(fraction, f.and(rest, f.word(0x7ff0000000000000n)));
    const halved = f.mul(aligned, f.number(0.5));
    const part = f.blend(f.compare('GT', aligned, rest), halved, aligned);
    m.emit('vsubpd', f.code.view(rest, 64), f.code.view(rest, 64), f.code.view(f.keep(over, part), 64));
    m.emit('jmp', again);
    m.bind(done);
  });
  const invalid = f.either(
    f.compare('unordered', a, b),
    f.either(f.compare('EQ', f.abs(a), f.number(Number.POSITIVE_INFINITY)), f.compare('EQ', b, f.number(0))),
  );
  return f.nanWhere(invalid, f.withSign(rest, a));
}
