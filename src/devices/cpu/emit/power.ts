/**
 * Powers of f64: e^(y log x), with a logarithm that has 11 bits more than a number holds. Its largest terms are pairs of
 * numbers, as in Dekker, "A floating-point technique for extending the available precision", 1971.
 */
import type { FloatCode } from './float-code.ts';
import { exponential, LN2, LOG_SERIES, orEdge, splitExponent } from './functions.ts';
import type { Register } from './machine.ts';

/** A number as the sum of two, the second below the last place of the first. */
interface Pair {
  readonly high: Register;
  readonly low: Register;
}

/** Where |a| >= |b|. */
function pairSum(f: FloatCode, a: Register, b: Pair): Pair {
  const high = f.add(a, b.high);
  return { high, low: f.add(f.add(f.sub(a, high), b.high), b.low) };
}

function pairProduct(f: FloatCode, a: Pair, b: Pair): Pair {
  const high = f.mul(a.high, b.high);
  return { high, low: f.fma(a.high, b.low, f.fma(a.low, b.high, f.fms(a.high, b.high, high))) };
}

/** The logarithm of a positive finite number with a relative error of 2^-64: its largest terms are pairs. */
function pairLogarithm(f: FloatCode, x: Register): Pair {
  const { k, fraction } = splitExponent(f, x);
  const divisor = f.add(fraction, f.number(2));
  const lost = f.add(f.sub(f.load(2), divisor), fraction);
  const quotient = f.div(fraction, divisor);
  const left = f.fnma(quotient, lost, f.fnma(quotient, divisor, fraction));
  const s: Pair = { high: quotient, low: f.div(left, divisor) };
  const z = pairProduct(f, s, s);
  const [first, ...others] = LOG_SERIES as [number, ...number[]];
  // The first coefficient, 2/3, is 2^-53 / 3 more than its number.
  const rest: Pair = { high: f.mul(z.high, f.polynomial(z.high, others)), low: f.load(2 ** -53 / 3) };
  const series = pairProduct(f, s, pairProduct(f, z, pairSum(f, f.load(first), rest)));
  const double = f.add(s.high, s.high);
  const fractionLog = pairSum(f, double, { high: series.high, low: f.add(f.add(s.low, s.low), series.low) });
  const scale = f.mul(k, f.number(LN2[0]));
  const scaleLow = f.fmaBy(f.fms(k, f.load(LN2[0]), scale), k, f.number(LN2[1]));
  return pairSum(f, scale, { high: fractionLog.high, low: f.add(fractionLog.low, scaleLow) });
}

function powerOfPositive(f: FloatCode, x: Register, y: Register): Register {
  const log = pairLogarithm(f, x);
  const high = f.mul(y, orEdge(f, x, log.high));
  const low = f.fma(y, log.low, f.fms(y, log.high, high));
  // Beyond this there is nothing, or infinity, and the low part may be no number.
  return exponential(f, high, f.keep(f.compare('LT', f.abs(high), f.number(1000)), low));
}

export function power(f: FloatCode, x: Register, y: Register): Register {
  const result = powerOfPositive(f, f.abs(x), y);
  const whole = f.compare('EQ', f.round('zero', y), y);
  const half = f.mul(y, f.number(0.5));
  const odd = f.both(whole, f.compare('NE', f.round('zero', half), half));
  // The sign of an odd power; NaN for powers of negative numbers that are not whole.
  const signed = f.xor(result, f.keep(odd, f.sign(x)));
  const none = f.code.without(f.compare('LT', x, f.number(0)), whole);
  const finite = f.isFinite(x);
  const edge = f.nanWhere(f.both(none, finite), signed);
  const minusOne = f.both(
    f.compare('EQ', x, f.number(-1)),
    f.compare('EQ', f.abs(y), f.number(Number.POSITIVE_INFINITY)),
  );
  const one = f.either(f.either(f.compare('EQ', x, f.number(1)), f.compare('EQ', y, f.number(0))), minusOne);
  return f.blend(one, f.number(1), edge);
}
