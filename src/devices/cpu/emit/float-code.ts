/**
 * Float operations over lanes, f32 or f64, with the edges that the language asks for: maximum and minimum with NaN and
 * signed zeros, comparison with NaN, exact rounding functions.
 */
import type { ComparisonDirection } from '../../../ir/attributes.ts';
import { f32Bits, f64Bits, type LaneBits, type LaneCode, type LaneOperand } from './lane-code.ts';
import type { Address, Register } from './machine.ts';

/** Immediates of vcmpps: ordered and quiet but for NE, which is true of NaN. */
const PREDICATES: Readonly<Record<ComparisonDirection | 'ordered' | 'unordered', number>> = {
  EQ: 0x00,
  NE: 0x04,
  LT: 0x11,
  LE: 0x12,
  GE: 0x1d,
  GT: 0x1e,
  ordered: 0x07,
  unordered: 0x03,
};
const ROUNDINGS = { even: 8, floor: 9, ceil: 10, zero: 11 } as const;

export class FloatCode {
  readonly code: LaneCode;
  readonly lane: LaneBits;
  readonly #p: 'ps' | 'pd';

  constructor(code: LaneCode, lane: LaneBits) {
    this.code = code;
    this.lane = lane;
    this.#p = lane === 32 ? 'ps' : 'pd';
  }

  /** A number in every lane, in memory: the last operand of an operation. */
  number(value: number): Address {
    return this.word(this.lane === 32 ? f32Bits(value) : f64Bits(value));
  }
  word(bits: number | bigint): Address {
    return this.code.words(this.lane, bits);
  }
  load(value: number): Register {
    return this.code.constant(this.lane, this.lane === 32 ? f32Bits(value) : f64Bits(value));
  }

  add(a: Register, b: LaneOperand): Register {
    return this.code.op(`vadd${this.#p}`, this.lane, a, b);
  }
  sub(a: Register, b: LaneOperand): Register {
    return this.code.op(`vsub${this.#p}`, this.lane, a, b);
  }
  mul(a: Register, b: LaneOperand): Register {
    return this.code.op(`vmul${this.#p}`, this.lane, a, b);
  }
  div(a: Register, b: LaneOperand): Register {
    return this.code.op(`vdiv${this.#p}`, this.lane, a, b);
  }
  sqrt(a: Register): Register {
    return this.code.op(`vsqrt${this.#p}`, this.lane, a);
  }
  /** a * b + c, rounded once. For the inside of functions only: the language never contracts. */
  fma(a: Register, b: Register, c: LaneOperand): Register {
    return this.code.change(`vfmadd213${this.#p}`, this.lane, this.code.copy(a), b, c);
  }
  /** a * b - c */
  fms(a: Register, b: Register, c: LaneOperand): Register {
    return this.code.change(`vfmsub213${this.#p}`, this.lane, this.code.copy(a), b, c);
  }
  /** c - a * b */
  fnma(a: Register, b: Register, c: LaneOperand): Register {
    return this.code.change(`vfnmadd213${this.#p}`, this.lane, this.code.copy(a), b, c);
  }
  /** sum + a * b, with a factor in memory. */
  fmaBy(sum: Register, a: Register, b: LaneOperand): Register {
    return this.code.change(`vfmadd231${this.#p}`, this.lane, this.code.copy(sum), a, b);
  }
  fnmaBy(sum: Register, a: Register, b: LaneOperand): Register {
    return this.code.change(`vfnmadd231${this.#p}`, this.lane, this.code.copy(sum), a, b);
  }
  /** The sum of coefficients[i] * x^i. */
  polynomial(x: Register, coefficients: readonly number[]): Register {
    const last = coefficients.length - 1;
    const sum = this.load(coefficients[last] as number);
    for (let i = last - 1; i >= 0; i--) {
      this.code.change(`vfmadd213${this.#p}`, this.lane, sum, x, this.number(coefficients[i] as number));
    }
    return sum;
  }

  /** The same with the square of x: two coefficients at a time, which makes the chain half as long. */
  pairedPolynomial(x: Register, square: Register, coefficients: readonly number[]): Register {
    const at = (i: number) => coefficients[i] as number;
    const pair = (i: number) => this.fma(this.load(at(i + 1)), x, this.number(at(i)));
    const last = coefficients.length - 1;
    let i = last % 2 === 0 ? last - 2 : last - 1;
    let sum = last % 2 === 0 ? this.fmaBy(pair(i), square, this.number(at(last))) : pair(i);
    for (i -= 2; i >= 0; i -= 2) sum = this.fma(sum, square, pair(i));
    return sum;
  }

  and(a: Register, b: LaneOperand): Register {
    return this.code.op(`vand${this.#p}`, this.lane, a, b);
  }
  or(a: Register, b: LaneOperand): Register {
    return this.code.op(`vor${this.#p}`, this.lane, a, b);
  }
  xor(a: Register, b: LaneOperand): Register {
    return this.code.op(`vxor${this.#p}`, this.lane, a, b);
  }
  get signBit(): Address {
    return this.word(this.lane === 32 ? 0x8000_0000 : 1n << 63n);
  }
  abs(a: Register): Register {
    return this.and(a, this.word(this.lane === 32 ? 0x7fff_ffff : (1n << 63n) - 1n));
  }
  negate(a: Register): Register {
    return this.xor(a, this.signBit);
  }
  /** Its sign alone. */
  sign(a: Register): Register {
    return this.and(a, this.signBit);
  }
  /** The first, which has none, with the sign of the second. */
  withSign(magnitude: Register, x: Register): Register {
    return this.code.orAnd(this.lane, magnitude, x, this.signBit);
  }
  /** A mask of lanes of this width. */
  compare(relation: keyof typeof PREDICATES, a: Register, b: LaneOperand): Register {
    return this.code.compareFloats(this.lane, PREDICATES[relation], a, b);
  }
  /** A mask of those with a sign. */
  negative(x: Register): Register {
    return this.code.negative(this.lane, x);
  }
  both(a: Register, b: Register): Register {
    return this.code.both(a, b);
  }
  either(a: Register, b: Register): Register {
    return this.code.either(a, b);
  }
  /** `mask ? a : b` */
  blend(mask: Register, a: LaneOperand, b: Register): Register {
    return this.code.blend(this.lane, mask, a, b);
  }
  /** `mask ? a : +0` */
  keep(mask: Register, a: LaneOperand): Register {
    return this.code.keep(this.lane, mask, a);
  }
  /** `mask ? NaN : x` */
  nanWhere(mask: Register, x: Register): Register {
    return this.code.onesWhere(this.lane, mask, x);
  }
  round(direction: keyof typeof ROUNDINGS, a: Register): Register {
    return this.code.op(`vround${this.#p}`, this.lane, a, ROUNDINGS[direction]);
  }

  /** Away from zero at halves. */
  roundAway(x: Register): Register {
    const magnitude = this.abs(x);
    const whole = this.round('zero', magnitude);
    const half = this.compare('GE', this.sub(magnitude, whole), this.number(0.5));
    return this.withSign(this.add(whole, this.keep(half, this.number(1))), x);
  }

  /** -1, 1, or the argument itself where that is a zero or NaN. */
  signum(x: Register): Register {
    const one = this.withSign(this.load(1), x);
    const same = this.either(this.compare('EQ', x, this.number(0)), this.compare('unordered', x, x));
    return this.blend(same, x, one);
  }

  /** vmax gives its second operand for zeros and for NaN: both orders together know which bits to keep. */
  maximum(a: Register, b: Register): Register {
    const one = this.code.op(`vmax${this.#p}`, this.lane, a, b);
    const two = this.code.op(`vmax${this.#p}`, this.lane, b, a);
    return this.nanWhere(this.compare('unordered', a, b), this.and(one, two));
  }
  minimum(a: Register, b: Register): Register {
    const one = this.code.op(`vmin${this.#p}`, this.lane, a, b);
    const two = this.code.op(`vmin${this.#p}`, this.lane, b, a);
    return this.nanWhere(this.compare('unordered', a, b), this.or(one, two));
  }
  /** Where the magnitude is below infinity. */
  isFinite(x: Register): Register {
    return this.compare('LT', this.abs(x), this.number(Number.POSITIVE_INFINITY));
  }
}
