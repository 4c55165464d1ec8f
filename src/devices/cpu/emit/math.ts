/**
 * Float functions of the language over lanes of f32 or f64. What is not an instruction or two is computed in f64
 * (functions.ts) and, for f32, rounded once: bits do not depend on the number of lanes.
 */
import type { Binary, Unary } from '../../../compiler/kernel/language.ts';
import { FloatCode } from './float-code.ts';
import * as functions from './functions.ts';
import { LaneCode } from './lane-code.ts';
import { type Register, view } from './machine.ts';
import { power } from './power.ts';

type Body = (f: FloatCode, ...x: Register[]) => Register;

/** The body in f64 lanes: of f32, four at a time. */
function inF64(body: Body): Body {
  return (f, ...x) => {
    if (f.lane === 64) return body(f, ...x);
    const m = f.code.machine;
    const wide = new FloatCode(new LaneCode(m, f.code.lanes === 1 ? 1 : 4), 64);
    const part = (operands: readonly Register[]) => {
      const stretched = operands.map((operand) => {
        const result = m.register('vec');
        m.emit('vcvtps2pd', wide.code.view(result, 64), view(operand, 128));
        return result;
      });
      const result = m.register('vec');
      m.emit('vcvtpd2ps', view(result, 128), wide.code.view(body(wide, ...stretched), 64));
      return result;
    };
    const low = part(x);
    if (f.code.lanes < 8) return low;
    const high = part(
      x.map((operand) => {
        const half = m.register('vec');
        m.emit('vextractf128', view(half, 128), view(operand, 256), 1);
        return half;
      }),
    );
    const result = m.register('vec');
    m.emit('vinsertf128', view(result, 256), view(low, 256), view(high, 128), 1);
    return result;
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
