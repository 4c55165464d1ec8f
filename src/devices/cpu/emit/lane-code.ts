/**
 * Writing vector code without naming registers, widths or instruction sets: every operation makes a new virtual register. A
 * value has `lanes` lanes of 32 or 64 bits. What the sets do differently is abstract here: `lanes-avx2.ts` and
 * `lanes-avx512.ts` do it; `vector-sets.ts` chooses. Above all masks, what comparisons give: lanes of all ones or zero in
 * one, mask registers in the other.
 */
import type { Binary } from '../../../compiler/kernel/language.ts';
import type { ComparisonDirection } from '../../../ir/attributes.ts';
import type { Label, VecBits } from '../asm/operands.ts';
import type { Mnemonic } from '../asm/tables.ts';
import { type Address, d, type Machine, type MachineOperand, q, type Register, type View, view } from './machine.ts';

export type LaneCount = 1 | 4 | 8 | 16;
export type LaneBits = 32 | 64;
export type LaneOperand = Register | Address;

const words = new DataView(new ArrayBuffer(8));

/** Bits of a number as f32. */
export function f32Bits(value: number): number {
  words.setFloat32(0, value);
  return words.getUint32(0);
}

/** Bits of a number as f64. */
export function f64Bits(value: number): bigint {
  words.setFloat64(0, value);
  return words.getBigUint64(0);
}

/** Address of data in the constants of the code. */
export function constantAt(machine: Machine, data: ArrayBufferView): Address {
  return { kind: 'address', label: machine.constant(data), scale: 1, disp: 0, bits: 0 };
}

/** What a lane becomes in memory. */
export interface StoredElement {
  readonly bytes: 1 | 2 | 4 | 8;
  readonly signed: boolean;
}

/** Lanes in memory that are apart from each other. */
export interface Strided {
  /** Of the first lane; without an index register. */
  readonly from: Address;
  readonly strideBytes: number;
}

export abstract class LaneCode {
  readonly machine: Machine;
  readonly lanes: LaneCount;
  /** A mask of the lanes whose elements exist, where not all do: memory of others is not touched. */
  readonly active: Register | undefined;

  constructor(machine: Machine, lanes: LaneCount, active?: Register) {
    this.machine = machine;
    this.lanes = lanes;
    this.active = active;
  }

  bits(lane: LaneBits): VecBits {
    return Math.max(128, this.lanes * lane) as VecBits;
  }

  view(register: Register, lane: LaneBits): View {
    return view(register, this.bits(lane));
  }

  /** A register of lanes of 16 bits. */
  halfView(register: Register): View {
    return view(register, Math.max(128, this.lanes * 16) as VecBits);
  }

  /** Whether a register has room for lanes of this width. */
  fits(lane: LaneBits): boolean {
    return this.lanes * lane <= this.machine.vectorBits;
  }

  protected operands(lane: LaneBits, inputs: readonly (LaneOperand | number)[]): MachineOperand[] {
    return inputs.map((input) =>
      typeof input !== 'object' || input.kind === 'address' ? input : this.view(input, lane),
    );
  }

  /** What an instruction of AVX2 is called in the set. */
  protected abstract named(mnemonic: Mnemonic, lane: LaneBits): Mnemonic;

  /** A new register with the result of an instruction whose operands are all as wide as its lanes. */
  op(mnemonic: Mnemonic, lane: LaneBits, ...inputs: readonly (LaneOperand | number)[]): Register {
    const result = this.machine.register('vec');
    return this.change(mnemonic, lane, result, ...inputs);
  }

  /** The same, in place of the first operand, which must not be used again. */
  change(mnemonic: Mnemonic, lane: LaneBits, target: Register, ...inputs: readonly (LaneOperand | number)[]): Register {
    this.machine.emit(this.named(mnemonic, lane), this.view(target, lane), ...this.operands(lane, inputs));
    return target;
  }

  abstract copy(x: Register): Register;

  /** a | (b & c) */
  abstract orAnd(lane: LaneBits, a: Register, b: Register, c: LaneOperand): Register;

  /** A constant in every lane, in memory: the last operand of an operation. */
  abstract words(lane: LaneBits, value: number | bigint): Address;
  /** A constant in every lane. */
  abstract constant(lane: LaneBits, value: number | bigint): Register;

  zero(): Register {
    return this.constant(this.fits(64) ? 64 : 32, 0);
  }

  /** All lanes from memory of their own. */
  load(lane: LaneBits, from: Address): Register {
    return this.op('vmovups', lane, from);
  }

  /** The first lane in all lanes. */
  broadcast(lane: LaneBits, x: Register): Register {
    if (this.lanes === 1) return x;
    const result = this.machine.register('vec');
    this.machine.emit(lane === 32 ? 'vpbroadcastd' : 'vpbroadcastq', this.view(result, lane), view(x, 128));
    return result;
  }

  /** From a general register to the first lane. */
  fromGeneral(lane: LaneBits, x: Register): Register {
    const result = this.machine.register('vec');
    if (lane === 32) this.machine.emit('vmovd', view(result, 128), d(x));
    else this.machine.emit('vmovq', view(result, 128), q(x));
    return result;
  }

  /** The first lane as bits in a general register, zero-extended. */
  toGeneral(lane: LaneBits, x: Register): Register {
    const result = this.machine.register('gp');
    if (lane === 32) this.machine.emit('vmovd', d(result), view(x, 128));
    else this.machine.emit('vmovq', q(result), view(x, 128));
    return result;
  }

  /** Signed or unsigned 64-bit lanes from 32-bit ones. */
  widen(x: Register, signed = true): Register {
    const result = this.machine.register('vec');
    this.machine.emit(signed ? 'vpmovsxdq' : 'vpmovzxdq', this.view(result, 64), this.view(x, 32));
    return result;
  }

  /** The last lane first. */
  reversed(lane: LaneBits, x: Register): Register {
    if (this.bits(lane) === 128) return this.op('vpshufd', lane, x, 0b00_01_10_11);
    const words = lane / 32;
    const last = this.lanes * words - words;
    const order = Int32Array.from({ length: this.lanes * words }, (_, i) => last - i + 2 * (i % words));
    return this.op('vpermd', lane, this.load(lane, constantAt(this.machine, order)), x);
  }

  /** The low halves of 64-bit lanes. */
  abstract narrow(x: Register): Register;

  /** Bits of 32-bit lanes that hold at most 16 (8), next to each other at the low end of a register. */
  abstract packWords(x: Register): Register;

  /** Lanes from `half` on as the first ones, where `half` is half of the lanes that count. */
  abstract upper(lane: LaneBits, x: Register, half: number): Register;
  /** Lanes of 32 bits from twice half as many. */
  abstract join(low: Register, high: LaneOperand): Register;
  /** 128 bits of the lanes of 32 bits, as the low end of a register. */
  abstract quarter(x: Register, index: number): Register;

  /** The instruction for lanes of 64-bit integers, if there is one. */
  abstract wide(op: Binary, signed: boolean): Mnemonic | undefined;
  /** Whether there are conversions of unsigned numbers of 32 and any numbers of 64 bits. */
  abstract readonly convertsWide: boolean;

  // ── masks; those of 32-bit and 64-bit lanes may differ ──

  abstract compareFloats(lane: LaneBits, predicate: number, a: Register, b: LaneOperand): Register;
  abstract compareIntegers(
    relation: ComparisonDirection,
    lane: LaneBits,
    signed: boolean,
    a: Register,
    b: Register,
  ): Register;
  /** Lanes whose highest bit is set. */
  abstract negative(lane: LaneBits, x: Register): Register;
  /** Lanes that have this one bit. */
  abstract hasBit(lane: LaneBits, x: Register, bit: number): Register;

  abstract both(a: Register, b: Register): Register;
  abstract either(a: Register, b: Register): Register;
  abstract differ(a: Register, b: Register): Register;
  /** `a` without `b`. */
  abstract without(a: Register, b: Register): Register;
  not(mask: Register): Register {
    return this.differ(mask, this.maskOf(true));
  }
  /** The same in all lanes of 32 bits. */
  abstract maskOf(value: boolean): Register;
  /** The same in all lanes of 32 bits: 0 or 1 of a general register. */
  abstract maskOfBit(lane: LaneBits, bit: Register): Register;
  /** 0 or -1 in a general register, from the first lane. */
  abstract firstOf(lane: LaneBits, mask: Register): Register;
  abstract jumpIfNone(lane: LaneBits, mask: Register, to: Label): void;
  /** A mask of 32-bit lanes from one of 64-bit lanes, and back. */
  abstract narrowMask(mask: Register): Register;
  abstract widenMask(mask: Register): Register;

  /** `mask ? a : b` */
  abstract blend(lane: LaneBits, mask: Register, a: LaneOperand, b: Register): Register;
  /** `mask ? a : 0` */
  abstract keep(lane: LaneBits, mask: Register, a: LaneOperand): Register;
  /** `mask ? -1 : x`, in a float a NaN. */
  abstract onesWhere(lane: LaneBits, mask: Register, x: Register): Register;
  /** Puts `x` into those lanes of `target`. */
  abstract assignWhere(lane: LaneBits, mask: Register, target: Register, x: Register): void;

  // ── memory ──

  /** Active lanes by a load or an extending load, others 0. */
  abstract fromMemory(mnemonic: Mnemonic, lane: LaneBits, from: Address): Register;
  /** Active lanes of such elements, extended to the lane; with `mask` only where it is set. False: there is no such code. */
  abstract store(element: StoredElement, to: Address, value: Register, mask?: Register): boolean;
  /** All lanes past the caches (`streaming.ts`). They are 16 bytes at least, and the address a multiple of these. */
  abstract stream(element: StoredElement, to: Address, value: Register): void;
  /** Active lanes of 4 or 8 bytes at `from` + index * scale (32-bit lanes), others 0. */
  abstract gather(lane: LaneBits, from: Address, index: Register, scale: Address['scale']): Register;
  /** As `store`, apart from each other, for elements of 4 or 8 bytes. */
  abstract scatter(lane: LaneBits, place: Strided, value: Register, mask?: Register): boolean;

  /** Multiples of a stride, in 32-bit lanes. */
  offsets(strideBytes: number): Register {
    const data = Int32Array.from({ length: Math.max(4, this.lanes) }, (_, i) => i * strideBytes);
    return this.load(32, constantAt(this.machine, data));
  }
}
