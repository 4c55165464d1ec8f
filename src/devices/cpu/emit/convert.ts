/**
 * Conversions between types: to floats one rounding, float to integer towards zero and saturating with NaN as 0, integer
 * to integer wraps, to i1 "is not zero". One element at a time, and those that there are instructions for in lanes.
 */

import type { ScalarType } from '../../../compiler/kernel/language.ts';
import { elementBytes } from '../../../numerics/element-types.ts';
import type { SmallFloatType } from '../../../numerics/rounding.ts';
import { FloatCode } from './float-code.ts';
import type { LaneCode } from './lane-code.ts';
import { LaneIntegers } from './lane-integers.ts';
import { d, q, type Register, view } from './machine.ts';
import { type IntegerType, integerType, ScalarIntegers } from './scalar-integers.ts';
import { narrow, widen } from './small-floats.ts';

export type FloatName = 'f64' | 'f32' | SmallFloatType;

export function isFloatName(type: ScalarType): type is FloatName {
  return type !== 'index' && integerType(type) === undefined;
}

/** f32 or f64 lanes of a float type's values, for computing. */
export function toCompute(code: LaneCode, type: FloatName, x: Register): Register {
  return type === 'f32' || type === 'f64' ? x : widen(code, type, x);
}
export function fromCompute(code: LaneCode, type: FloatName, x: Register): Register {
  return type === 'f32' || type === 'f64' ? x : narrow(code, type, x);
}
export const computeBits = (type: FloatName) => (type === 'f64' ? 64 : 32);

/** f64 lanes to f32. */
function shrink(code: LaneCode, x: Register): Register {
  const result = code.machine.register('vec');
  code.machine.emit('vcvtpd2ps', code.view(result, 32), code.view(x, 64));
  return result;
}

/** f32 lanes to f64, where they fit. */
function stretch(code: LaneCode, x: Register): Register {
  const result = code.machine.register('vec');
  code.machine.emit('vcvtps2pd', code.view(result, 64), code.view(x, 32));
  return result;
}

/**
 * f64 lanes to f32 lanes that a second rounding, to fewer bits, does not notice: towards zero, and an odd last bit where
 * that was not exact (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
 */
function shrinkOdd(code: LaneCode, x: Register): Register {
  const f = new FloatCode(code, 64);
  const near = shrink(code, x);
  const back = stretch(code, near);
  const exact = code.narrowMask(f.either(f.compare('EQ', back, x), f.compare('unordered', x, x)));
  // One unit towards zero where the magnitude was rounded up.
  const up = code.narrowMask(f.compare('GT', f.abs(back), f.abs(x)));
  const down = code.op('vpaddd', 32, near, code.words(32, -1));
  const odd = code.op('vpor', 32, code.blend(32, up, down, near), code.words(32, 1));
  return code.blend(32, exact, near, odd);
}

function floatToFloat(code: LaneCode, from: FloatName, to: FloatName, x: Register): Register | undefined {
  if (from === to) return x;
  if (from === 'f64') {
    if (to === 'f32') return shrink(code, x);
    return fromCompute(code, to, shrinkOdd(code, x));
  }
  const wide = toCompute(code, from, x);
  if (to !== 'f64') return fromCompute(code, to, wide);
  return code.fits(64) ? stretch(code, wide) : undefined;
}

/** Lanes; undefined where a loop has to go one element at a time. i1 is a mask. */
export function convertLanes(code: LaneCode, from: ScalarType, to: ScalarType, x: Register): Register | undefined {
  if (from === 'index' || to === 'index') return undefined;
  if ((elementBytes(from) === 8 || elementBytes(to) === 8) && !code.fits(64)) return undefined;
  const [source, target] = [integerType(from), integerType(to)];
  if (isFloatName(from)) {
    if (isFloatName(to)) return floatToFloat(code, from, to, x);
    return target && floatToLanes(code, from, target, x);
  }
  if (source === undefined) return undefined;
  const numbers = source.bits === 1 ? code.keep(32, x, code.words(32, 1)) : x;
  if (isFloatName(to)) return lanesToFloat(code, numbers, source, to);
  return target && (source.bits === 1 && target.bits === 1 ? x : lanesToLanes(code, numbers, source, target));
}

function lanesToLanes(code: LaneCode, x: Register, source: IntegerType, target: IntegerType): Register {
  const integers = new LaneIntegers(code);
  if (target.bits === 1) return integers.compare('NE', x, code.zero(), source);
  if (target.bits < 64) return integers.wrap(source.bits === 64 ? code.narrow(x) : x, target);
  return source.bits === 64 ? x : code.widen(x, source.signed);
}

function lanesToFloat(code: LaneCode, x: Register, { bits, signed }: IntegerType, to: FloatName): Register | undefined {
  const m = code.machine;
  const plain = bits < 64 && (signed || bits < 32);
  if (!plain && !code.convertsWide) return undefined;
  if (to === 'f64') {
    if (bits === 64) return code.op(signed ? 'vcvtqq2pd' : 'vcvtuqq2pd', 64, x);
    const result = m.register('vec');
    m.emit(plain ? 'vcvtdq2pd' : 'vcvtudq2pd', code.view(result, 64), code.view(x, 32));
    return result;
  }
  // Up to 16 bits are exact in f32 and 32 in f64, so that a second rounding is the only one.
  if (to !== 'f32' && bits >= 32) {
    if (bits === 64 || !code.fits(64)) return undefined;
    const exact = lanesToFloat(code, x, { bits, signed }, 'f64');
    return exact && floatToFloat(code, 'f64', to, exact);
  }
  if (bits === 64) {
    const result = m.register('vec');
    m.emit(signed ? 'vcvtqq2ps' : 'vcvtuqq2ps', code.view(result, 32), code.view(x, 64));
    return result;
  }
  return fromCompute(code, to, code.op(plain ? 'vcvtdq2ps' : 'vcvtudq2ps', 32, x));
}

function floatToLanes(code: LaneCode, from: FloatName, to: IntegerType, x: Register): Register | undefined {
  const { bits, signed } = to;
  if (from === 'f64' || (bits === 64 && code.convertsWide)) {
    const wide = from === 'f64' ? x : stretch(code, toCompute(code, from, x));
    return f64ToLanes(code, to, wide);
  }
  const f = new FloatCode(code, 32);
  const value = toCompute(code, from, x);
  if (bits === 1) return f.compare('NE', value, f.number(0));
  if (bits === 64) return undefined;
  if (bits === 32 && !signed) {
    // What is too large becomes the greatest number; vmax gives its second operand for NaN.
    return code.convertsWide ? code.op('vcvttps2udq', 32, code.op('vmaxps', 32, value, f.number(0))) : undefined;
  }
  // What does not fit becomes the most negative number; from above it has to be the most positive one.
  const whole = code.op('vcvttps2dq', 32, value);
  const high = f.compare('GE', value, f.number(2 ** 31));
  const saturated = f.keep(f.compare('ordered', value, value), f.blend(high, code.words(32, 0x7fff_ffff), whole));
  if (bits === 32) return saturated;
  const [low, most] = rangeOf(to);
  return code.op('vpmaxsd', 32, code.op('vpminsd', 32, saturated, code.words(32, most)), code.words(32, low));
}

/** From f64 lanes. */
function f64ToLanes(code: LaneCode, to: IntegerType, x: Register): Register | undefined {
  const m = code.machine;
  const { bits, signed } = to;
  const f = new FloatCode(code, 64);
  if (bits === 1) return code.narrowMask(f.compare('NE', x, f.number(0)));
  if (bits === 64) {
    if (!code.convertsWide) return undefined;
    const high = f.compare('GE', x, f.number(2 ** 63));
    if (signed) {
      const whole = f.blend(high, code.words(64, 2n ** 63n - 1n), code.op('vcvttpd2qq', 64, x));
      return f.keep(f.compare('ordered', x, x), whole);
    }
    // From 2^63 on less that, and its bit; from 2^64 on all ones. vmax gives its second operand for NaN.
    const positive = code.op('vmaxpd', 64, x, f.number(0));
    const low = f.sub(positive, f.keep(high, f.number(2 ** 63)));
    const whole = code.op('vpxor', 64, code.op('vcvttpd2qq', 64, low), f.keep(high, f.signBit));
    return code.onesWhere(64, f.compare('GE', x, f.number(2 ** 64)), whole);
  }
  const plain = signed || bits < 32;
  if (!plain && !code.convertsWide) return undefined;
  const [low, most] = rangeOf(to);
  const bounded = code.op('vmaxpd', 64, code.op('vminpd', 64, x, f.number(most)), f.number(low));
  const result = m.register('vec');
  const ordered = f.keep(f.compare('ordered', x, x), bounded);
  m.emit(plain ? 'vcvttpd2dq' : 'vcvttpd2udq', code.view(result, 32), code.view(ordered, 64));
  return result;
}

/** The least and the greatest number of a type. */
const rangeOf = ({ bits, signed }: IntegerType): readonly [number, number] =>
  signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];

/** One element: floats in the first lane, integers in a general register. */
export function convertScalar(code: LaneCode, from: ScalarType, to: ScalarType, x: Register): Register {
  const integers = new ScalarIntegers(code.machine);
  const [source, target] = [integerType(from), integerType(to)];
  if (source !== undefined && target !== undefined) {
    if (target.bits === 1) return integers.compare('NE', x, integers.constant(0), source);
    return integers.wrap(x, target);
  }
  if (isFloatName(from)) {
    if (isFloatName(to)) return floatToFloat(code, from, to, x) as Register;
    const value = toCompute(code, from, x);
    return floatToInteger(code, from === 'f64' ? value : stretch(code, value), target as IntegerType);
  }
  return integerToFloat(code, x, source as IntegerType, to as FloatName);
}

function integerToFloat(code: LaneCode, x: Register, { bits, signed }: IntegerType, to: FloatName): Register {
  const m = code.machine;
  const integers = new ScalarIntegers(m);
  if (to === 'f32' || to === 'f64') {
    const lane = computeBits(to);
    if (signed || bits < 64) return signedOf(code, lane, x);
    // Above 2^63: half of it, the lost bit kept as a sticky one, then twice the result.
    const f = new FloatCode(code, lane);
    const half = integers.copy(x);
    const low = integers.copy(x);
    m.emit('shr', q(half), 1);
    m.emit('and', d(low), 1);
    m.emit('or', q(half), q(low));
    const top = integers.compare('LT', x, integers.constant(0), { bits: 64, signed: true });
    const halved = signedOf(code, lane, half);
    return f.blend(code.maskOfBit(lane, top), f.add(halved, halved), signedOf(code, lane, x));
  }
  // To f64 without a loss: beyond 2^53 the low bits become one sticky bit.
  let exact = x;
  if (bits === 64) {
    const sticky = integers.copy(x);
    m.emit('and', q(sticky), 2047);
    m.emit('add', q(sticky), 2047);
    const joined = integers.copy(x);
    m.emit('or', q(joined), q(sticky));
    m.emit('and', q(joined), -2048);
    const size = integers.copy(x);
    if (signed) {
      m.emit('neg', q(size));
      m.emit('cmovs', q(size), q(x));
    }
    const huge = integers.compare('GE', size, integers.constant(2n ** 53n), { bits: 64, signed: false });
    exact = integers.select(huge, joined, x);
  }
  const wide = integerToFloat(code, exact, { bits, signed }, 'f64');
  return fromCompute(code, to, shrinkOdd(code, wide));
}

function signedOf(code: LaneCode, lane: 32 | 64, x: Register): Register {
  const m = code.machine;
  const zero = code.zero();
  const result = m.register('vec');
  m.emit(lane === 32 ? 'vcvtsi2ss' : 'vcvtsi2sd', view(result, 128), view(zero, 128), q(x));
  return result;
}

/** From one f64. */
function floatToInteger(code: LaneCode, x: Register, { bits, signed }: IntegerType): Register {
  const m = code.machine;
  const integers = new ScalarIntegers(m);
  const f = new FloatCode(code, 64);
  const ordered = code.firstOf(64, f.compare('ordered', x, x));
  const truncate = (value: Register) => {
    const result = m.register('gp');
    m.emit('vcvttsd2si', q(result), view(value, 128));
    return result;
  };
  const finish = (result: Register) => {
    const masked = integers.copy(result);
    m.emit('and', q(masked), q(ordered));
    return masked;
  };
  if (bits === 1) {
    const bit = code.firstOf(64, f.compare('NE', x, f.number(0)));
    m.emit('and', d(bit), 1);
    return bit;
  }
  if (bits < 64) {
    const [low, high] = rangeOf({ bits, signed });
    const bounded = code.op('vmaxpd', 64, code.op('vminpd', 64, x, f.number(high)), f.number(low));
    return finish(truncate(bounded));
  }
  if (signed) {
    const high = code.firstOf(64, f.compare('GE', x, f.number(2 ** 63)));
    const result = truncate(x);
    m.emit('xor', q(result), q(high));
    return finish(result);
  }
  // Below 2^63 as it is, above less 2^63; from 2^64 all ones.
  const positive = code.op('vmaxpd', 64, x, f.number(0));
  const upper = integers.copy(code.firstOf(64, f.compare('GE', positive, f.number(2 ** 63))));
  m.emit('and', d(upper), 1);
  const over = code.firstOf(64, f.compare('GE', positive, f.number(2 ** 64)));
  const small = truncate(positive);
  const large = truncate(f.sub(positive, f.number(2 ** 63)));
  const flip = integers.constant(1n << 63n);
  m.emit('xor', q(large), q(flip));
  const chosen = integers.copy(integers.select(upper, large, small));
  m.emit('or', q(chosen), q(over));
  return finish(chosen);
}
