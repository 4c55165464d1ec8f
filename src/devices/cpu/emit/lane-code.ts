/**
 * Writing vector code without naming registers or widths: every operation makes a new virtual register. A value has
 * `lanes` lanes of 32 or 64 bits; one lane is the low end of an xmm register and runs the same packed instructions, so a
 * scalar and a vector cannot differ in bits.
 */
import type { VecBits } from '../asm/operands.ts';
import type { Mnemonic } from '../asm/tables.ts';
import { type Address, d, type Machine, type MachineOperand, q, type Register, type View, view } from './machine.ts';

export type LaneCount = 1 | 4 | 8;
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

export class LaneCode {
  readonly machine: Machine;
  readonly lanes: LaneCount;

  constructor(machine: Machine, lanes: LaneCount) {
    this.machine = machine;
    this.lanes = lanes;
  }

  bits(lane: LaneBits): VecBits {
    return Math.max(128, this.lanes * lane) as VecBits;
  }

  view(register: Register, lane: LaneBits): View {
    return view(register, this.bits(lane));
  }

  /** A new register with the result of an instruction whose operands are all as wide as its lanes. */
  op(mnemonic: Mnemonic, lane: LaneBits, ...inputs: readonly (LaneOperand | number)[]): Register {
    const result = this.machine.register('vec');
    const operands = inputs.map((input): MachineOperand => {
      if (typeof input !== 'object' || input.kind === 'address') return input;
      return this.view(input, lane);
    });
    this.machine.emit(mnemonic, this.view(result, lane), ...operands);
    return result;
  }

  /** The same, in place of the first operand, which must not be used again. */
  change(mnemonic: Mnemonic, lane: LaneBits, target: Register, ...inputs: readonly (LaneOperand | number)[]): Register {
    const operands = inputs.map((input): MachineOperand => {
      if (typeof input !== 'object' || input.kind === 'address') return input;
      return this.view(input, lane);
    });
    this.machine.emit(mnemonic, this.view(target, lane), ...operands);
    return target;
  }

  copy(x: Register): Register {
    const result = this.machine.register('vec');
    const bits = this.bits(64) > 256 ? 256 : this.bits(64);
    this.machine.emit('vmovaps', view(result, bits), view(x, bits));
    return result;
  }

  /** A constant in every lane, in memory. */
  words(lane: LaneBits, value: number | bigint): Address {
    const count = this.bits(lane) / lane;
    const data =
      lane === 32
        ? new Uint32Array(count).fill(Number(BigInt.asUintN(32, BigInt(value))))
        : new BigUint64Array(count).fill(BigInt.asUintN(64, BigInt(value)));
    return this.#pool(data);
  }

  /** A constant with a number for each lane of 32 bits. */
  list(values: readonly number[]): Address {
    return this.#pool(Int32Array.from(values));
  }

  #pool(data: ArrayBufferView): Address {
    return { kind: 'address', label: this.machine.constant(data), scale: 1, disp: 0, bits: 0 };
  }

  load(lane: LaneBits, from: Address): Register {
    const result = this.machine.register('vec');
    this.machine.emit('vmovups', this.view(result, lane), from);
    return result;
  }

  zero(): Register {
    const result = this.machine.register('vec');
    this.machine.emit('vmovdqu', view(result, 256), this.#pool(new Uint8Array(32)));
    return result;
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

  /** A mask of 32-bit lanes from one of 64-bit lanes. */
  narrowMask(mask: Register): Register {
    if (this.lanes === 1) return mask;
    const high = this.machine.register('vec');
    const result = this.machine.register('vec');
    this.machine.emit('vextracti128', view(high, 128), view(mask, 256), 1);
    this.machine.emit('vshufps', view(result, 128), view(mask, 128), view(high, 128), 0x88);
    return result;
  }

  /** Signed 64-bit lanes from 32-bit ones; masks stay masks. */
  widenSigned(x: Register): Register {
    const result = this.machine.register('vec');
    this.machine.emit('vpmovsxdq', this.view(result, 64), view(x, 128));
    return result;
  }

  /** `mask ? a : b`, the mask in lanes of this width. */
  blend(lane: LaneBits, mask: Register, a: LaneOperand, b: Register): Register {
    return this.op(lane === 32 ? 'vblendvps' : 'vblendvpd', lane, b, a, mask);
  }
}
