/**
 * Integers in lanes: types of up to 32 bits in lanes of 32, extended by their sign; i1 as all ones or zero. What AVX2 has
 * no instruction for is missing here, and a loop that needs it runs one element at a time.
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
    if (type.bits === 64) return this.#wide(op, a, b);
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
        return this.wrap(this.#shift('vpsllvd', a, b, type.bits), type);
      case 'shift_right_logical':
        return this.wrap(this.#shift('vpsrlvd', this.wrap(a, { ...type, signed: false }), b, type.bits), type);
      case 'shift_right_arithmetic':
        return this.wrap(this.#op('vpsravd', this.wrap(a, { ...type, signed: true }), b), type);
      default:
        return undefined;
    }
  }

  #shift(mnemonic: Mnemonic, a: Register, count: Register, bits: number): Register {
    const shifted = this.#op(mnemonic, a, count);
    if (bits === 32) return shifted;
    const most = this.#op('vpminud', count, this.#words(bits));
    return this.#op('vpandn', this.#op('vpcmpeqd', most, this.#words(bits)), shifted);
  }

  #boolean(op: Binary, a: Register, b: Register): Register | undefined {
    switch (op) {
      case 'and':
      case 'multiply':
      case 'minimum':
        return this.#op('vpand', a, b);
      case 'or':
      case 'add':
      case 'maximum':
        return this.#op('vpor', a, b);
      case 'xor':
        return this.#op('vpxor', a, b);
      default:
        return undefined;
    }
  }

  #wide(op: Binary, a: Register, b: Register): Register | undefined {
    switch (op) {
      case 'add':
        return this.#code.op('vpaddq', 64, a, b);
      case 'subtract':
        return this.#code.op('vpsubq', 64, a, b);
      case 'and':
        return this.#code.op('vpand', 64, a, b);
      case 'or':
        return this.#code.op('vpor', 64, a, b);
      case 'xor':
        return this.#code.op('vpxor', 64, a, b);
      default:
        return undefined;
    }
  }

  unary(op: Unary, x: Register, type: IntegerType): Register | undefined {
    if (type.bits === 64) return undefined;
    switch (op) {
      case 'not':
        return this.wrap(this.#op('vpxor', x, this.#words(-1)), type.bits === 1 ? { bits: 32, signed: true } : type);
      case 'negate':
        return type.bits === 1 ? undefined : this.wrap(this.#op('vpsubd', this.#code.zero(), x), type);
      case 'abs':
        return type.signed ? this.wrap(this.#op('vpabsd', x), type) : x;
      case 'sign': {
        if (type.bits === 1) return x;
        if (!type.signed) return this.#op('vpminud', x, this.#words(1));
        return this.#op('vpmaxsd', this.#op('vpminsd', x, this.#words(1)), this.#words(-1));
      }
      default:
        return undefined;
    }
  }

  /** A mask of 32-bit lanes. */
  compare(relation: ComparisonDirection, a: Register, b: Register, type: IntegerType): Register | undefined {
    switch (relation) {
      case 'EQ':
      case 'NE': {
        const equal = this.#equal(a, b, type);
        return relation === 'EQ' ? equal : this.#op('vpxor', equal, this.#words(-1));
      }
      case 'GT':
        return this.#greater(a, b, type);
      case 'LT':
        return this.#greater(b, a, type);
      case 'GE':
        return this.#op('vpxor', this.#greater(b, a, type), this.#words(-1));
      case 'LE':
        return this.#op('vpxor', this.#greater(a, b, type), this.#words(-1));
      default:
        return relation satisfies never;
    }
  }

  #equal(a: Register, b: Register, { bits }: IntegerType): Register {
    if (bits === 64) return this.#code.narrowMask(this.#code.op('vpcmpeqq', 64, a, b));
    return this.#op('vpcmpeqd', a, b);
  }

  #greater(a: Register, b: Register, { bits, signed }: IntegerType): Register {
    if (bits === 64) {
      const flip = this.#code.words(64, 1n << 63n);
      const [x, y] = signed ? [a, b] : [this.#code.op('vpxor', 64, a, flip), this.#code.op('vpxor', 64, b, flip)];
      return this.#code.narrowMask(this.#code.op('vpcmpgtq', 64, x, y));
    }
    // Masks: true is -1, below false.
    if (bits === 1) return this.#op('vpcmpgtd', b, a);
    if (signed || bits < 32) return this.#op('vpcmpgtd', a, b);
    const flip = this.#words(0x8000_0000);
    return this.#op('vpcmpgtd', this.#op('vpxor', a, flip), this.#op('vpxor', b, flip));
  }
}
