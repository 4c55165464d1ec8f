/** Float functions of the language over lanes of f32 or f64: one body for every number of lanes. */
import type { Binary, Unary } from '../../../compiler/kernel/language.ts';
import type { FloatCode } from './float-code.ts';
import type { Register } from './machine.ts';

type UnaryCode = (f: FloatCode, x: Register) => Register;
type BinaryCode = (f: FloatCode, a: Register, b: Register) => Register;

const unary: Partial<Record<Unary, UnaryCode>> = {
  abs: (f, x) => f.abs(x),
  ceil: (f, x) => f.round('ceil', x),
  floor: (f, x) => f.round('floor', x),
  negate: (f, x) => f.negate(x),
  round_nearest_afz: (f, x) => f.roundAway(x),
  round_nearest_even: (f, x) => f.round('even', x),
  sign: (f, x) => f.signum(x),
  sqrt: (f, x) => f.sqrt(x),
  truncate: (f, x) => f.round('zero', x),
};

const binary: Partial<Record<Binary, BinaryCode>> = {
  add: (f, a, b) => f.add(a, b),
  divide: (f, a, b) => f.div(a, b),
  maximum: (f, a, b) => f.maximum(a, b),
  minimum: (f, a, b) => f.minimum(a, b),
  multiply: (f, a, b) => f.mul(a, b),
  subtract: (f, a, b) => f.sub(a, b),
};

/** Undefined where there is no code for it. */
export function floatUnary(op: Unary, f: FloatCode, x: Register): Register | undefined {
  return unary[op]?.(f, x);
}
export function floatBinary(op: Binary, f: FloatCode, a: Register, b: Register): Register | undefined {
  return binary[op]?.(f, a, b);
}
