/**
 * Where translated code goes: which arm64 registers stand for those of x86-64, registers for intermediate values, and
 * memory operands.
 *
 * General registers: arguments lie where AAPCS64 has them (rdi, rsi, rdx, rcx, r8, r9 are x0 to x5), rax is x6, and what a System V
 * function keeps lies in registers that AAPCS64 keeps. rsp is sp, which may be a multiple of 8 alone: so memory is
 * addressed through a copy of it until code has aligned it. x9 to x17 are for intermediate values, x18 is the system's.
 *
 * A ymm register is two vector registers. Those that no instruction of the code names are for intermediate values; where there are too few,
 * ymm registers that are seldom named live in memory at x26.
 */
import { IngotError } from '../../../base/errors.ts';
import { Arm64Assembler } from '../asm/arm64/assembler.ts';
import { bitmaskOf, type Mnemonic } from '../asm/arm64/forms.ts';
import {
  type Operand as ArmOperand,
  type ConditionName,
  type General,
  general,
  indexedPlace,
  lsl,
  type Place,
  place,
  type Shape,
  sp,
  v,
  x,
} from '../asm/arm64/operands.ts';
import type { Gp, Label, Mem, Operand, Vec } from '../asm/operands.ts';

/** By id: rax rcx rdx rbx rsp rbp rsi rdi r8 to r15. */
const GENERAL = [6, 3, 2, 19, 31, 20, 1, 0, 4, 5, 7, 8, 21, 22, 23, 24];
const FREE_GENERAL = [16, 17, 15, 14, 13, 12, 11, 10, 9];
export const HOMES = x(26);
/** v8 to v15 have to be given back, so they come last. */
const LOW = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
const HIGH = [24, 25, 26, 27, 28, 29, 30, 31, 8, 9, 10, 11, 12, 13, 14, 15];
export const isKept = (id: number): boolean => id >= 8 && id < 16;

/** There are no registers left for intermediate values. */
export class NoRegister extends Error {}

/** What sort of comparison the condition flags come from, which says what a condition means; `narrow`: of 8 or 16 bits, by 32. */
export type Flags = 'compare' | 'narrow' | 'add' | 'logic';

/** What an instruction set has beyond Advanced SIMD. */
export interface Extensions {
  /** SDOT and UDOT. */
  readonly dotprod: boolean;
  /** SMMLA and USDOT. */
  readonly i8mm: boolean;
  /** BFMLALB and BFMLALT. */
  readonly bf16: boolean;
}

export interface Usage {
  /** Ids of the ymm registers that are named, and of those whose upper half is. */
  readonly named: ReadonlySet<number>;
  readonly wide: ReadonlySet<number>;
  /** Those that live in memory. */
  readonly homed: readonly number[];
}

/** A ymm register at work: where its halves are during this instruction. */
interface Pair {
  low: number;
  high: number;
  written: boolean;
}

export class Context {
  readonly a = new Arm64Assembler();
  readonly extensions: Extensions;
  /** Loads and stores of general registers are acquiring and releasing, as the order of x86-64 is. */
  readonly ordered: boolean;
  readonly usage: Usage;
  flags: Flags | undefined;
  /** sp is a multiple of 16. */
  stackAligned = false;
  /** Values of general registers that are known, by id of x86-64. */
  readonly known = new Map<number, bigint>();
  readonly #labels = new Map<number, Label>();
  readonly #pairs = new Map<number, Pair>();
  #general = 0;
  #vectors: number[] = [];
  readonly #pool: readonly number[];
  /** Vector registers that are written. */
  readonly touched = new Set<number>();

  constructor(extensions: Extensions, ordered: boolean, usage: Usage) {
    this.extensions = extensions;
    this.ordered = ordered;
    this.usage = usage;
    const free: number[] = [];
    for (let id = 0; id < 16; id++) {
      const isThere = usage.named.has(id) && !usage.homed.includes(id);
      if (!isThere) free.push(LOW[id] as number);
      if (!isThere || !usage.wide.has(id)) free.push(HIGH[id] as number);
    }
    this.#pool = [...free.filter((id) => !isKept(id)), ...free.filter(isKept)];
    this.#vectors = [...this.#pool];
  }

  emit(mnemonic: Mnemonic, ...operands: readonly ArmOperand[]): void {
    this.a.emit(mnemonic, ...operands);
  }

  label(label: Label): Label {
    let own = this.#labels.get(label.id);
    if (own === undefined) {
      own = this.a.label(label.name);
      this.#labels.set(label.id, own);
    }
    return own;
  }

  /** Runs the rows of one instruction; what it took is free afterwards, and what lives in memory is put back. */
  instruction(write: () => void): void {
    write();
    for (const [id, pair] of this.#pairs) {
      if (!pair.written) continue;
      const at = 32 * this.usage.homed.indexOf(id);
      this.emit('str', v(pair.low, 'q'), place(HOMES, at));
      this.emit('str', v(pair.high, 'q'), place(HOMES, at + 16));
    }
    this.#pairs.clear();
    this.#general = 0;
    this.#vectors = [...this.#pool];
  }

  // ── general registers ──

  gp({ id, bits, high }: Gp, width: 32 | 64 = bits === 64 ? 64 : 32): General {
    if (high) throw unsupported('ah, bh, ch and dh');
    const own = GENERAL[id] as number;
    return own === 31 ? sp : general(own, width);
  }

  /** A register for an intermediate value. */
  temporary(width: 32 | 64 = 64): General {
    const id = FREE_GENERAL[this.#general++];
    if (id === undefined) throw new Error('an instruction needs more than nine general registers');
    return general(id, width);
  }

  /** The latest register for an intermediate value is needed no more. */
  give(): void {
    this.#general--;
  }

  bind(label: Label): void {
    this.a.bind(label);
  }

  /** A shift by a constant. */
  shift(name: 'lslv' | 'lsrv' | 'asrv', to: General, from: General, amount: number): void {
    const by = amount & (to.bits - 1);
    const last = to.bits - 1;
    if (name === 'lslv') this.emit('ubfm', to, from, (to.bits - by) % to.bits, last - by);
    else this.emit(name === 'lsrv' ? 'ubfm' : 'sbfm', to, from, by, last);
  }

  /** A register that holds a number. */
  number(value: number | bigint, width: 32 | 64 = 64): General {
    const register = this.temporary(width);
    this.load(register, value);
    return register;
  }

  /** By as few instructions as a mask or its 16-bit parts allow. */
  load(to: General, value: number | bigint): void {
    const whole = BigInt.asUintN(to.bits, BigInt(value));
    const parts = Array.from({ length: to.bits / 16 }, (_, i) => Number((whole >> BigInt(16 * i)) & 0xffffn));
    const ones = parts.filter((part) => part === 0xffff).length;
    const zeros = parts.filter((part) => part === 0).length;
    if (Math.max(ones, zeros) < parts.length - 1 && bitmaskOf(whole, to.bits) !== undefined) {
      this.emit('orr', { ...to, sp: false }, general(31, to.bits), whole);
      return;
    }
    const negated = ones > zeros;
    const [fill, first] = negated ? ([0xffff, 'movn'] as const) : ([0, 'movz'] as const);
    let begun = false;
    parts.forEach((part, i) => {
      if (part === fill) return;
      const mnemonic = begun ? 'movk' : first;
      this.emit(mnemonic, to, !begun && negated ? part ^ 0xffff : part, lsl(16 * i));
      begun = true;
    });
    if (!begun) this.emit(first, to, 0);
  }

  move(to: General, from: General): void {
    if (to.id === from.id && to.sp === from.sp && to.bits === 64) return;
    if (to.sp || from.sp) this.emit('add', { ...to, sp: true }, from, 0);
    else this.emit('orr', to, general(31, to.bits), from);
  }

  /** to = from + a constant; changes no flags. */
  addNumber(to: General, from: General, value: number): void {
    const size = Math.abs(value);
    if (size < 4096 || (size < 2 ** 24 && size % 4096 === 0)) {
      this.emit(value < 0 ? 'sub' : 'add', stackable(to), stackable(from), size);
    } else if (size < 2 ** 24) {
      const rest = size % 4096;
      this.emit(value < 0 ? 'sub' : 'add', stackable(to), stackable(from), size - rest);
      this.emit(value < 0 ? 'sub' : 'add', stackable(to), stackable(to), rest);
    } else {
      const plain = from.sp ? this.temporary() : from;
      if (from.sp) this.move(plain, from);
      this.emit('add', to, plain, this.number(value, to.bits));
    }
  }

  // ── memory ──

  /** The base of a memory operand, in a register that memory can be addressed with. */
  #base(base: Gp): General {
    const register = this.gp(base, 64);
    if (!register.sp || this.stackAligned) return register;
    const copy = this.temporary();
    this.move(copy, sp);
    return copy;
  }

  /** Base and displacement of a memory operand. */
  #parts(mem: Mem): { base: General; offset: number } {
    const { base, index, scale, disp, label } = mem;
    if (label !== undefined) {
      const address = this.temporary();
      this.emit('adr', address, this.label(label));
      return { base: address, offset: disp };
    }
    if (index === undefined) {
      if (base === undefined) throw unsupported('absolute addresses');
      return { base: this.#base(base), offset: disp };
    }
    if (index.kind === 'vec') throw unsupported('vectors of addresses here');
    const address = this.temporary();
    const scaled = this.gp(index, 64);
    const shift = lsl(Math.log2(scale));
    if (base === undefined) this.emit('add', address, x(31), scaled, shift);
    else {
      const register = this.gp(base, 64);
      if (register.sp) this.move(address, sp);
      this.emit('add', address, register.sp ? address : register, scaled, shift);
    }
    return { base: address, offset: disp };
  }

  /** How an access of so many bytes names memory, and `parts` further ones behind it. */
  place(mem: Mem, bytes: number, parts = 1): Place {
    const { base, index, scale, disp, label } = mem;
    if (label === undefined && base !== undefined && index?.kind === 'gp' && parts === 1 && disp === 0) {
      const register = this.gp(base, 64);
      if (!register.sp && (scale === bytes || scale === 1)) {
        return indexedPlace(register, this.gp(index, 64), Math.log2(scale));
      }
    }
    const { base: from, offset } = this.#parts(mem);
    const reaches = (at: number) => (at >= 0 && at % bytes === 0 && at < 4096 * bytes) || (at >= -256 && at < 256);
    const last = offset + (parts - 1) * bytes;
    if (reaches(offset) && reaches(last)) return place(from, offset);
    const address = this.temporary();
    this.addNumber(address, from, offset);
    return place(address, 0);
  }

  /** The address of a memory operand in a register. */
  address(mem: Mem): General {
    const { base, offset } = this.#parts(mem);
    if (offset === 0 && !base.sp) return base;
    const address = this.temporary();
    this.addNumber(address, base, offset);
    return address;
  }

  /** A general register from 8 to 64 bits of memory. */
  loadGeneral(to: General, mem: Mem, bits: number, signed = false): void {
    if (this.ordered) {
      const from = place(this.address(mem));
      const names = { 8: 'ldarb', 16: 'ldarh', 32: 'ldar', 64: 'ldar' } as const;
      const name = names[bits as keyof typeof names];
      const narrow = general(to.id, bits === 64 ? 64 : 32);
      this.emit(name, narrow, from);
      if (signed && bits < to.bits) this.emit('sbfm', to, general(to.id, to.bits), 0, bits - 1);
      return;
    }
    const from = this.place(mem, bits / 8);
    const narrow = general(to.id, 32);
    if (bits === 64) this.emit('ldr', to, from);
    else if (!signed) this.emit(bits === 8 ? 'ldrb' : bits === 16 ? 'ldrh' : 'ldr', narrow, from);
    else if (bits === 32 && to.bits === 32) this.emit('ldr', to, from);
    else this.emit(bits === 8 ? 'ldrsb' : bits === 16 ? 'ldrsh' : 'ldrsw', to, from);
  }

  storeGeneral(from: General, mem: Mem, bits: number): void {
    const value = general(from.id, bits === 64 ? 64 : 32);
    if (this.ordered) {
      this.emit(bits === 8 ? 'stlrb' : bits === 16 ? 'stlrh' : 'stlr', value, place(this.address(mem)));
      return;
    }
    this.emit(bits === 8 ? 'strb' : bits === 16 ? 'strh' : 'str', value, this.place(mem, bits / 8));
  }

  // ── vectors ──

  /** A vector register for an intermediate value. */
  vector(): number {
    const id = this.#vectors.shift();
    if (id === undefined) throw new NoRegister('an instruction needs more vector registers than are free');
    this.touched.add(id);
    return id;
  }

  /** Runs a part of an instruction, whose intermediate values are free afterwards. */
  part(write: () => void): void {
    const before = [...this.#vectors];
    const general = this.#general;
    write();
    this.#vectors = before;
    this.#general = general;
  }

  #pair({ id }: Vec, forWrite: boolean): Pair {
    const own: Pair = { low: LOW[id] as number, high: HIGH[id] as number, written: forWrite };
    if (!this.usage.homed.includes(id)) {
      if (forWrite) this.touched.add(own.low).add(own.high);
      return own;
    }
    let pair = this.#pairs.get(id);
    if (pair === undefined) {
      pair = { low: this.vector(), high: this.vector(), written: false };
      const at = 32 * this.usage.homed.indexOf(id);
      this.emit('ldr', v(pair.low, 'q'), place(HOMES, at));
      this.emit('ldr', v(pair.high, 'q'), place(HOMES, at + 16));
      this.#pairs.set(id, pair);
    }
    pair.written ||= forWrite;
    return pair;
  }

  /** Registers of the halves of an operand: one for 128 bits. */
  halves(vec: Vec, forWrite = false): readonly number[] {
    const { low, high } = this.#pair(vec, forWrite);
    return vec.bits === 256 ? [low, high] : [low];
  }

  /** Instructions of 128 bits clear the upper half of their register. */
  clearUpper(vec: Vec): void {
    if (vec.bits !== 128 || !this.usage.wide.has(vec.id)) return;
    this.emit('movi', v(this.#pair(vec, true).high, '16b'), 0);
  }

  /** The halves of a source: a register, or memory that is read into registers for intermediate values. */
  source(operand: Operand | undefined, bits: number): readonly number[] {
    if (typeof operand !== 'object') throw unsupported('an immediate as a vector');
    if (operand.kind === 'vec') return this.halves(operand);
    if (operand.kind !== 'mem') throw unsupported(`${operand.kind} as a vector`);
    if (bits === 256) {
      const ids = [this.vector(), this.vector()] as const;
      const from = this.place(operand, 16, 2);
      const second = { ...from, offset: from.offset + 16 };
      this.emit('ldr', v(ids[0], 'q'), from);
      this.emit('ldr', v(ids[1], 'q'), second);
      return ids;
    }
    const id = this.vector();
    const shapes: Readonly<Record<number, Shape>> = { 8: 'b', 16: 'h', 32: 's', 64: 'd', 128: 'q' };
    this.emit('ldr', v(id, shapes[bits] ?? 'q'), this.place(operand, bits / 8));
    return [id];
  }

  /** A vector of the same 32-bit words. */
  constant(words: readonly number[]): number {
    const id = this.vector();
    const data = Uint32Array.from({ length: 4 }, (_, i) => (words[i % words.length] as number) >>> 0);
    this.emit('ldr', v(id, 'q'), this.a.constant(new Uint8Array(data.buffer), 16));
    return id;
  }

  copy(to: number, from: number): void {
    if (to !== from) this.emit('orr', v(to, '16b'), v(from, '16b'), v(from, '16b'));
  }
}

const stackable = (register: General): General =>
  register.id === 31 && !register.sp ? { ...register, sp: true } : register;

export function unsupported(what: string): IngotError {
  return new IngotError('UnsupportedOp', `arm64 code has nothing for ${what}`, { device: 'cpu' });
}

/** The condition that stands for one of x86-64's after a comparison of a kind. */
export function conditionOf(name: string, flags: Flags | undefined): ConditionName | 'always' | 'never' {
  const integer: Readonly<Record<string, ConditionName>> = {
    ...{ e: 'eq', z: 'eq', ne: 'ne', nz: 'ne', l: 'lt', ge: 'ge', le: 'le', g: 'gt', s: 'mi', ns: 'pl' },
  };
  const unsigned: Readonly<Record<Flags, Readonly<Record<string, ConditionName | 'always' | 'never'>>>> = {
    compare: { b: 'lo', ae: 'hs', be: 'ls', a: 'hi' },
    narrow: { b: 'lo', ae: 'hs', be: 'ls', a: 'hi' },
    add: { b: 'hs', ae: 'lo' },
    logic: { b: 'never', ae: 'always', be: 'eq', a: 'ne' },
  };
  if (flags === undefined) throw unsupported(`the condition ${name} where no comparison is before it`);
  const found = unsigned[flags][name] ?? integer[name];
  const isSign = name === 's' || name === 'ns';
  if (found === undefined || (flags === 'narrow' && isSign)) throw unsupported(`the condition ${name} after ${flags}`);
  return found;
}
