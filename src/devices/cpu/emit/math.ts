/**
 * Float functions of the language over lanes of f32 or f64. What is not an instruction or two is computed in f64
 * (functions.ts) and, for f32, rounded once: bits do not depend on the number of lanes.
 */
import type { Binary, Unary } from '../../../compiler/kernel/language.ts';
import { FloatCode } from './float-code.ts';
import * as functions from './functions.ts';
import type { LaneCount } from './lane-code.ts';
import type { Register } from './machine.ts';
import { power } from './power.ts';
import { laneCode } from './vector-sets.ts';

type Body = (f: FloatCode, ...x: Register[]) => Register;

/** The body in f64 lanes: of f32, as many at a time as fit. */
function inF64(body: Body): Body {
  return (f, ...x) => {
    if (f.lane === 64) return body(f, ...x);
    const { machine: m, lanes } = f.code;
    const whole = f.code.fits(64);
    const wide = new FloatCode(whole ? f.code : laneCode(m, (lanes / 2) as LaneCount), 64);
    const part = (operands: readonly Register[]) => {
      const stretched = operands.map((operand) => {
        const result = m.register('vec');
        m.emit('vcvtps2pd', wide.code.view(result, 64), wide.code.view(operand, 32));
        return result;
      });
      const result = m.register('vec');
      m.emit('vcvtpd2ps', wide.code.view(result, 32), wide.code.view(body(wide, ...stretched), 64));
      return result;
    };
    if (whole) return part(x);
    const low = part(x);
    const high = part(x.map((operand) => f.code.upper(32, operand, lanes / 2)));
    return f.code.join(low, high);
  };
}

const unary: Partial<Record<Unary, Body>> = {
  abs: (f, x) => f.abs(x),
  cbrt: inF64(functions.cubeRoot),
  ceil: (f, x) => f.round('ceil', x),
  cosh: inF64(functions.cosineHyperbolic),
  cosine: inF64(functions.cosine),
  exponential: functions.exponential,
  exponential_minus_one: functions.exponentialMinusOne,
  floor: (f, x) => f.round('floor', x),
  log: inF64(functions.logarithm),
  log_plus_one: inF64(functions.logPlusOne),
  logistic: functions.logistic,
  negate: (f, x) => f.negate(x),
  round_nearest_afz: (f, x) => f.roundAway(x),
  round_nearest_even: (f, x) => f.round('even', x),
  rsqrt: inF64((f, x) => f.div(f.load(1), f.sqrt(x))),
  sign: (f, x) => f.signum(x),
  sine: inF64(functions.sine),
  sinh: inF64(functions.sineHyperbolic),
  sqrt: (f, x) => f.sqrt(x),
  tan: inF64(functions.tangent),
  tanh: functions.tangentHyperbolic,
  truncate: (f, x) => f.round('zero', x),
};

const binary: Partial<Record<Binary, Body>> = {
  add: (f, a, b) => f.add(a, b),
  atan2: inF64(functions.arctangent2),
  divide: (f, a, b) => f.div(a, b),
  hypot: inF64(functions.hypotenuse),
  maximum: (f, a, b) => f.maximum(a, b),
  minimum: (f, a, b) => f.minimum(a, b),
  multiply: (f, a, b) => f.mul(a, b),
  power: inF64(power),
  remainder: inF64(functions.remainder),
  subtract: (f, a, b) => f.sub(a, b),
};

/** Undefined where there is no code for it. */
export function floatUnary(op: Unary, f: FloatCode, x: Register): Register | undefined {
  return unary[op]?.(f, x);
}
export function floatBinary(op: Binary, f: FloatCode, a: Register, b: Register): Register | undefined {
  return binary[op]?.(f, a, b);
}
