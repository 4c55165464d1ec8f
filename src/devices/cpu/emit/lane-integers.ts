/**
 * Integers in lanes: types of up to 32 bits in lanes of 32, extended by their sign; i1 as a mask. What there is no
 * instruction for is missing here, and a loop that needs it runs one element at a time.
 */
import type { Binary, Unary } from '../../../compiler/kernel/language.ts';
import type { ComparisonDirection } from '../../../ir/attributes.ts';
import type { Mnemonic } from '../asm/tables.ts';
import type { LaneCode } from './lane-code.ts';
import type { Register } from './machine.ts';
import type { IntegerType } from './scalar-integers.ts';

export class LaneIntegers {
  readonly #code: LaneCode;

  constructor(code: LaneCode) {
    this.#code = code;
  }

  #op(mnemonic: Mnemonic, ...inputs: Parameters<LaneCode['op']>[2][]): Register {
    return this.#code.op(mnemonic, 32, ...inputs);
  }

  #words(value: number) {
    return this.#code.words(32, value);
  }

  /** The low bits of 32-bit lanes as values of the type. */
  wrap(x: Register, { bits, signed }: IntegerType): Register {
    if (bits >= 32) return x;
    if (!signed) return this.#op('vpand', x, this.#words(2 ** bits - 1));
    return this.#op('vpsrad', this.#op('vpslld', x, 32 - bits), 32 - bits);
  }

  binary(op: Binary, a: Register, b: Register, type: IntegerType): Register | undefined {
    if (type.bits === 1) return this.#boolean(op, a, b);
    if (type.bits === 64) {
      const code = this.#code;
      const mnemonic = code.wide(op, type.signed);
      return mnemonic && code.op(mnemonic, 64, a, b);
    }
    switch (op) {
      case 'add':
        return this.wrap(this.#op('vpaddd', a, b), type);
      case 'subtract':
        return this.wrap(this.#op('vpsubd', a, b), type);
      case 'multiply':
        return this.wrap(this.#op('vpmulld', a, b), type);
      case 'and':
        return this.#op('vpand', a, b);
      case 'or':
        return this.#op('vpor', a, b);
      case 'xor':
        return this.#op('vpxor', a, b);
      case 'maximum':
        return this.#op(type.signed ? 'vpmaxsd' : 'vpmaxud', a, b);
      case 'minimum':
        return this.#op(type.signed ? 'vpminsd' : 'vpminud', a, b);
      // A count of 32 and more, as an unsigned number, gives 0 or the sign by itself.
      case 'shift_left':
        return this.wrap(this.#op('vpsllvd', a, b), type);
      case 'shift_right_logical':
        return this.wrap(this.#op('vpsrlvd', this.wrap(a, { ...type, signed: false }), b), type);
      case 'shift_right_arithmetic':
        return this.wrap(this.#op('vpsravd', this.wrap(a, { ...type, signed: true }), b), type);
      default:
        return undefined;
    }
  }

  #boolean(op: Binary, a: Register, b: Register): Register | undefined {
    switch (op) {
      case 'and':
      case 'multiply':
      case 'minimum':
        return this.#code.both(a, b);
      case 'or':
      case 'add':
      case 'maximum':
        return this.#code.either(a, b);
      case 'xor':
        return this.#code.differ(a, b);
      default:
        return undefined;
    }
  }

  unary(op: Unary, x: Register, type: IntegerType): Register | undefined {
    if (type.bits === 1) return op === 'not' ? this.#code.not(x) : op === 'sign' || op === 'abs' ? x : undefined;
    if (type.bits === 64) return this.#wideUnary(op, x, type);
    switch (op) {
      case 'not':
        return this.wrap(this.#op('vpxor', x, this.#words(-1)), type);
      case 'negate':
        return this.wrap(this.#op('vpsubd', this.#code.zero(), x), type);
      case 'abs':
        return type.signed ? this.wrap(this.#op('vpabsd', x), type) : x;
      case 'sign':
        if (!type.signed) return this.#op('vpminud', x, this.#words(1));
        return this.#op('vpmaxsd', this.#op('vpminsd', x, this.#words(1)), this.#words(-1));
      default:
        return undefined;
    }
  }

  #wideUnary(op: Unary, x: Register, { signed }: IntegerType): Register | undefined {
    const code = this.#code;
    const [max, min] = [code.wide('maximum', signed), code.wide('minimum', signed)];
    switch (op) {
      case 'not':
        return code.op('vpxor', 64, x, code.words(64, -1));
      case 'negate':
        return code.op('vpsubq', 64, code.zero(), x);
      case 'abs':
        return signed ? max && code.op(max, 64, x, code.op('vpsubq', 64, code.zero(), x)) : x;
      case 'sign': {
        if (max === undefined || min === undefined) return undefined;
        const atMostOne = code.op(min, 64, x, code.words(64, 1));
        return signed ? code.op(max, 64, atMostOne, code.words(64, -1)) : atMostOne;
      }
      default:
        return undefined;
    }
  }

  /** A mask of 32-bit lanes. */
  compare(relation: ComparisonDirection, a: Register, b: Register, { bits, signed }: IntegerType): Register {
    const code = this.#code;
    if (bits === 1) return this.#compareMasks(relation, a, b);
    if (bits === 64) return code.narrowMask(code.compareIntegers(relation, 64, signed, a, b));
    // Below 32 bits the sign of a lane tells nothing of an unsigned number.
    return code.compareIntegers(relation, 32, signed || bits < 32, a, b);
  }

  #compareMasks(relation: ComparisonDirection, a: Register, b: Register): Register {
    const code = this.#code;
    switch (relation) {
      case 'EQ':
        return code.not(code.differ(a, b));
      case 'NE':
        return code.differ(a, b);
      case 'GT':
        return code.without(a, b);
      case 'LT':
        return code.without(b, a);
      case 'GE':
        return code.not(code.without(b, a));
      case 'LE':
        return code.not(code.without(a, b));
      default:
        return relation satisfies never;
    }
  }
}
