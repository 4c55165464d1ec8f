/**
 * Integers one at a time, in general registers: every type of up to 32 bits is held extended to 64 by its sign, so that
 * one instruction serves all widths and the result is wrapped to its type. i1 is 0 or 1.
 */

import type { Binary, ScalarType, Unary } from '../../../compiler/kernel/language.ts';
import type { ComparisonDirection } from '../../../ir/attributes.ts';
import { elementTypes } from '../../../numerics/element-types.ts';
import type { Mnemonic } from '../asm/tables.ts';
import { d, type Machine, q, RAX, RDX, type Register, view } from './machine.ts';

export interface IntegerType {
  readonly bits: number;
  readonly signed: boolean;
}

/** Undefined for floats. */
export function integerType(type: ScalarType): IntegerType | undefined {
  if (type === 'index') return { bits: 64, signed: true };
  const { class: kind, bits } = elementTypes[type];
  if (kind === 'float') return undefined;
  return { bits, signed: kind === 'signed' };
}

export class ScalarIntegers {
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  copy(x: Register): Register {
    const result = this.#machine.register('gp');
    this.#machine.emit('mov', q(result), q(x));
    return result;
  }

  constant(value: number | bigint): Register {
    const m = this.#machine;
    const result = m.register('gp');
    const bits = BigInt.asIntN(64, BigInt(value));
    if (bits === 0n) m.emit('mov', d(result), 0);
    else if (bits > 0n && bits < 1n << 32n) m.emit('mov', d(result), Number(bits));
    else if (bits >= -(1n << 31n) && bits < 0n) m.emit('mov', q(result), Number(bits));
    else m.emit('movabs', q(result), bits);
    return result;
  }

  #update(mnemonic: Mnemonic, a: Register, b: Register | number): Register {
    const result = this.copy(a);
    this.#machine.emit(mnemonic, q(result), typeof b === 'number' ? b : q(b));
    return result;
  }

  /** The low bits of a register as a value of the type. */
  wrap(x: Register, { bits, signed }: IntegerType): Register {
    const m = this.#machine;
    if (bits === 64) return x;
    const result = m.register('gp');
    if (bits === 32) m.emit(signed ? 'movsxd' : 'mov', signed ? q(result) : d(result), d(x));
    else if (bits === 16) m.emit(signed ? 'movsx' : 'movzx', d2(result, signed), view(x, 16));
    else if (bits === 8) m.emit(signed ? 'movsx' : 'movzx', d2(result, signed), view(x, 8));
    else {
      // i4, ui4, i1
      m.emit('mov', q(result), q(x));
      m.emit('shl', q(result), 64 - bits);
      m.emit(signed ? 'sar' : 'shr', q(result), 64 - bits);
    }
    return result;
  }

  /** 0 or 1. */
  compare(relation: ComparisonDirection, a: Register, b: Register, type: IntegerType): Register {
    const m = this.#machine;
    const result = m.register('gp');
    m.emit('cmp', q(a), q(b));
    m.emit(type.bits === 64 && !type.signed ? UNSIGNED[relation] : SIGNED[relation], view(result, 8));
    const wide = m.register('gp');
    m.emit('movzx', d(wide), view(result, 8));
    return wide;
  }

  /** `condition ? a : b` */
  select(condition: Register, a: Register, b: Register): Register {
    const m = this.#machine;
    const result = this.copy(b);
    m.emit('test', d(condition), d(condition));
    m.emit('cmovne', q(result), q(a));
    return result;
  }

  /** Undefined for an operation that integers do not have. */
  unary(op: Unary, x: Register, type: IntegerType): Register | undefined {
    const m = this.#machine;
    const unsigned64 = type.bits === 64 && !type.signed;
    const bare: IntegerType = { bits: type.bits, signed: false };
    switch (op) {
      case 'not':
        if (type.bits === 1) return this.#update('xor', x, 1);
        return this.wrap(this.#not(x), type);
      case 'negate': {
        const result = this.copy(x);
        m.emit('neg', q(result));
        return this.wrap(result, type);
      }
      case 'abs': {
        if (!type.signed) return x;
        const result = this.copy(x);
        m.emit('neg', q(result));
        m.emit('cmovs', q(result), q(x));
        return this.wrap(result, type);
      }
      case 'sign': {
        const positive = this.compare(unsigned64 ? 'NE' : 'GT', x, this.constant(0), type);
        if (!type.signed) return positive;
        return this.#update('sub', positive, this.compare('LT', x, this.constant(0), type));
      }
      case 'popcnt': {
        const result = m.register('gp');
        m.emit('popcnt', q(result), q(this.wrap(x, bare)));
        return result;
      }
      case 'count_leading_zeros': {
        const result = m.register('gp');
        m.emit('lzcnt', q(result), q(this.wrap(x, bare)));
        if (type.bits < 64) m.emit('sub', q(result), 64 - type.bits);
        return result;
      }
      default:
        return undefined;
    }
  }

  #not(x: Register): Register {
    const result = this.copy(x);
    this.#machine.emit('not', q(result));
    return result;
  }

  /** Undefined for an operation that integers do not have. */
  binary(op: Binary, a: Register, b: Register, type: IntegerType): Register | undefined {
    if (type.bits === 1) return this.#boolean(op, a, b);
    const unsigned64 = type.bits === 64 && !type.signed;
    switch (op) {
      case 'add':
        return this.wrap(this.#update('add', a, b), type);
      case 'subtract':
        return this.wrap(this.#update('sub', a, b), type);
      case 'multiply':
        return this.wrap(this.#update('imul', a, b), type);
      case 'and':
      case 'or':
      case 'xor':
        return this.#update(op, a, b);
      case 'maximum':
        return this.#choose(unsigned64 ? 'cmovb' : 'cmovl', a, b);
      case 'minimum':
        return this.#choose(unsigned64 ? 'cmova' : 'cmovg', a, b);
      case 'divide':
      case 'remainder':
        return this.wrap(this.#divide(op, a, b, type), type);
      case 'shift_left':
        return this.wrap(this.#shift('shlx', a, b, type.bits), type);
      case 'shift_right_logical':
        return this.wrap(this.#shift('shrx', this.wrap(a, { ...type, signed: false }), b, type.bits), type);
      case 'shift_right_arithmetic':
        return this.wrap(this.#shift('sarx', this.wrap(a, { ...type, signed: true }), b, type.bits), type);
      case 'power':
        return this.#power(a, b, type);
      default:
        return undefined;
    }
  }

  #boolean(op: Binary, a: Register, b: Register): Register | undefined {
    switch (op) {
      case 'and':
      case 'multiply':
      case 'minimum':
        return this.#update('and', a, b);
      case 'or':
      case 'add':
      case 'maximum':
        return this.#update('or', a, b);
      case 'xor':
        return this.#update('xor', a, b);
      default:
        return undefined;
    }
  }

  #choose(move: Mnemonic, a: Register, b: Register): Register {
    const result = this.copy(a);
    this.#machine.emit('cmp', q(a), q(b));
    this.#machine.emit(move, q(result), q(b));
    return result;
  }

  /** By zero: all ones, and the dividend as remainder. The one quotient that does not fit wraps. */
  #divide(op: 'divide' | 'remainder', a: Register, b: Register, { bits, signed }: IntegerType): Register {
    const m = this.#machine;
    const result = m.register('gp');
    const [zero, done] = [m.newLabel(), m.newLabel()];
    m.emit('test', q(b), q(b));
    m.emit('je', zero);
    if (signed && bits === 64) {
      const plain = m.newLabel();
      m.emit('cmp', q(b), -1);
      m.emit('jne', plain);
      m.emit('mov', q(result), op === 'divide' ? q(a) : 0);
      if (op === 'divide') m.emit('neg', q(result));
      m.emit('jmp', done);
      m.bind(plain);
    }
    m.emit('mov', q(RAX), q(a));
    if (signed) {
      m.emit('cqo');
      m.emit('idiv', q(b));
    } else {
      m.emit('mov', d(RDX), 0);
      m.emit('div', q(b));
    }
    m.emit('mov', q(result), q(op === 'divide' ? RAX : RDX));
    m.emit('jmp', done);
    m.bind(zero);
    m.emit('mov', q(result), op === 'divide' ? -1 : q(a));
    m.bind(done);
    return result;
  }

  /** Of numbers of type index, which are not negative, by positive ones. */
  divideIndex(op: 'divide' | 'remainder', a: Register, b: Register): Register {
    const m = this.#machine;
    const result = m.register('gp');
    m.emit('mov', q(RAX), q(a));
    m.emit('mov', d(RDX), 0);
    m.emit('div', q(b));
    m.emit('mov', q(result), q(op === 'divide' ? RAX : RDX));
    return result;
  }

  /** Counts that are negative or too large give 0, or the sign. */
  #shift(mnemonic: 'shlx' | 'shrx' | 'sarx', a: Register, count: Register, bits: number): Register {
    const m = this.#machine;
    if (mnemonic === 'sarx') {
      const bounded = this.constant(bits - 1);
      m.emit('cmp', q(count), bits - 1);
      m.emit('cmovb', q(bounded), q(count));
      const result = m.register('gp');
      m.emit('sarx', q(result), q(a), q(bounded));
      return result;
    }
    const result = m.register('gp');
    m.emit(mnemonic, q(result), q(a), q(count));
    const zero = this.constant(0);
    m.emit('cmp', q(count), bits);
    m.emit('cmovae', q(result), q(zero));
    return result;
  }

  /** By squaring; a negative exponent leaves 1, -1 or 0. */
  #power(a: Register, b: Register, type: IntegerType): Register {
    const m = this.#machine;
    const result = this.constant(1);
    const base = this.copy(a);
    const rest = this.copy(b);
    const done = m.newLabel();
    if (type.signed) {
      const positive = m.newLabel();
      m.emit('test', q(rest), q(rest));
      m.emit('jns', positive);
      // 1 / a^|b|: of 1 itself, of -1 the sign by parity, else 0. Only for those two is a + 1 zero or two.
      const zero = this.constant(0);
      const next = this.copy(a);
      m.emit('add', q(next), 1);
      m.emit('and', q(next), -3);
      m.emit('cmovne', q(result), q(zero));
      m.emit('cmovne', q(base), q(zero));
      m.emit('test', d(rest), 1);
      m.emit('cmovne', q(result), q(base));
      m.emit('jmp', done);
      m.bind(positive);
    }
    m.into(m.block(true), () => {
      const again = m.newLabel();
      const skip = m.newLabel();
      m.bind(again);
      m.emit('test', d(rest), 1);
      m.emit('je', skip);
      m.emit('imul', q(result), q(base));
      m.bind(skip);
      m.emit('imul', q(base), q(base));
      m.emit('shr', q(rest), 1);
      m.emit('jne', again);
    });
    m.bind(done);
    return this.wrap(result, type);
  }
}

const d2 = (register: Register, signed: boolean) => (signed ? q(register) : d(register));

const SIGNED = { EQ: 'sete', NE: 'setne', LT: 'setl', LE: 'setle', GT: 'setg', GE: 'setge' } as const;
const UNSIGNED = { EQ: 'sete', NE: 'setne', LT: 'setb', LE: 'setbe', GT: 'seta', GE: 'setae' } as const;
