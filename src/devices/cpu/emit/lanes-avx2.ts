/** Lanes in AVX2, and one lane anywhere: masks are lanes of all ones or zero. */
import type { Binary } from '../../../compiler/kernel/language.ts';
import type { ComparisonDirection } from '../../../ir/attributes.ts';
import type { Label, VecBits } from '../asm/operands.ts';
import type { Mnemonic } from '../asm/tables.ts';
import {
  constantAt,
  type LaneBits,
  LaneCode,
  type LaneOperand,
  type StoredElement,
  type Strided,
} from './lane-code.ts';
import { type Address, d, q, type Register, sizedAt, view } from './machine.ts';

const SIGN = { 32: 0x8000_0000, 64: 1n << 63n } as const;

const WIDE: Partial<Record<Binary, Mnemonic>> = {
  add: 'vpaddq',
  subtract: 'vpsubq',
  and: 'vpand',
  or: 'vpor',
  xor: 'vpxor',
  shift_left: 'vpsllvq',
  shift_right_logical: 'vpsrlvq',
};

export class Avx2Lanes extends LaneCode {
  protected named(mnemonic: Mnemonic): Mnemonic {
    return mnemonic;
  }

  copy(x: Register): Register {
    const result = this.machine.register('vec');
    const bits = this.lanes === 1 ? 128 : 256;
    this.machine.emit('vmovaps', view(result, bits), view(x, bits));
    return result;
  }

  orAnd(lane: LaneBits, a: Register, b: Register, c: LaneOperand): Register {
    const p = lane === 32 ? 'ps' : 'pd';
    return this.op(`vor${p}`, lane, a, this.op(`vand${p}`, lane, b, c));
  }

  words(lane: LaneBits, value: number | bigint): Address {
    const count = this.bits(lane) / lane;
    const whole = BigInt.asUintN(lane, BigInt(value));
    return constantAt(
      this.machine,
      lane === 32 ? new Uint32Array(count).fill(Number(whole)) : new BigUint64Array(count).fill(whole),
    );
  }

  constant(lane: LaneBits, value: number | bigint): Register {
    return this.load(lane, this.words(lane, value));
  }

  narrow(x: Register): Register {
    if (this.lanes === 1) return x;
    const result = this.machine.register('vec');
    const high = this.upper(64, x, 2);
    this.machine.emit('vshufps', view(result, 128), view(x, 128), view(high, 128), 0x88);
    return result;
  }

  packWords(x: Register, signed = false): Register {
    const result = this.machine.register('vec');
    const high = this.lanes === 8 ? this.upper(32, x, 4) : x;
    this.machine.emit(signed ? 'vpackssdw' : 'vpackusdw', view(result, 128), view(x, 128), view(high, 128));
    return result;
  }

  upper(lane: LaneBits, x: Register, half: number): Register {
    const high = this.machine.register('vec');
    if (half * lane === 128) this.machine.emit('vextractf128', view(high, 128), view(x, 256), 1);
    else this.machine.emit('vpshufd', view(high, 128), view(x, 128), half * lane === 64 ? 0xee : 0x55);
    return high;
  }

  join(low: Register, high: LaneOperand): Register {
    const result = this.machine.register('vec');
    const upper = high.kind === 'address' ? high : view(high, 128);
    this.machine.emit('vinsertf128', view(result, 256), view(low, 256), upper, 1);
    return result;
  }

  quarter(x: Register, index: number): Register {
    return index === 0 ? x : this.upper(32, x, 4);
  }

  wide(op: Binary): Mnemonic | undefined {
    return WIDE[op];
  }
  readonly convertsWide = false;

  compareFloats(lane: LaneBits, predicate: number, a: Register, b: LaneOperand): Register {
    return this.op(lane === 32 ? 'vcmpps' : 'vcmppd', lane, a, b, predicate);
  }

  compareIntegers(relation: ComparisonDirection, lane: LaneBits, signed: boolean, a: Register, b: Register): Register {
    switch (relation) {
      case 'EQ':
        return this.op(lane === 32 ? 'vpcmpeqd' : 'vpcmpeqq', lane, a, b);
      case 'NE':
        return this.not(this.compareIntegers('EQ', lane, signed, a, b));
      case 'GT': {
        const flipped = (x: Register) => (signed ? x : this.op('vpxor', lane, x, this.words(lane, SIGN[lane])));
        return this.op(lane === 32 ? 'vpcmpgtd' : 'vpcmpgtq', lane, flipped(a), flipped(b));
      }
      case 'LT':
        return this.compareIntegers('GT', lane, signed, b, a);
      case 'GE':
        return this.not(this.compareIntegers('GT', lane, signed, b, a));
      case 'LE':
        return this.not(this.compareIntegers('GT', lane, signed, a, b));
      default:
        return relation satisfies never;
    }
  }

  /** blendv looks at the sign alone. */
  negative(_: LaneBits, x: Register): Register {
    return x;
  }

  hasBit(lane: LaneBits, x: Register, bit: number): Register {
    const word = this.words(lane, 1n << BigInt(bit));
    return this.op(lane === 32 ? 'vpcmpeqd' : 'vpcmpeqq', lane, this.op('vpand', lane, x, word), word);
  }

  // Masks of either width: what lies beyond the lanes does no harm.
  #logic(mnemonic: Mnemonic, a: Register, b: Register): Register {
    const result = this.machine.register('vec');
    const bits = this.lanes === 1 ? 128 : 256;
    this.machine.emit(mnemonic, view(result, bits), view(a, bits), view(b, bits));
    return result;
  }
  both(a: Register, b: Register): Register {
    return this.#logic('vandps', a, b);
  }
  either(a: Register, b: Register): Register {
    return this.#logic('vorps', a, b);
  }
  differ(a: Register, b: Register): Register {
    return this.#logic('vxorps', a, b);
  }
  without(a: Register, b: Register): Register {
    return this.#logic('vandnps', b, a);
  }

  maskOf(value: boolean): Register {
    const data = new Int32Array(this.lanes === 1 ? 4 : 8).fill(value ? -1 : 0);
    const result = this.machine.register('vec');
    this.machine.emit('vmovups', view(result, this.lanes === 1 ? 128 : 256), constantAt(this.machine, data));
    return result;
  }

  maskOfBit(lane: LaneBits, bit: Register): Register {
    const mask = this.machine.register('gp');
    this.machine.emit('mov', q(mask), q(bit));
    this.machine.emit('neg', q(mask));
    return this.broadcast(lane, this.fromGeneral(lane, mask));
  }

  firstOf(lane: LaneBits, mask: Register): Register {
    const bits = this.toGeneral(lane, mask);
    if (lane === 64) return bits;
    const result = this.machine.register('gp');
    this.machine.emit('movsxd', q(result), d(bits));
    return result;
  }

  jumpIfNone(lane: LaneBits, mask: Register, to: Label): void {
    const some = this.machine.register('gp');
    this.machine.emit(lane === 32 ? 'vmovmskps' : 'vmovmskpd', d(some), this.view(mask, lane));
    this.machine.emit('test', d(some), d(some));
    this.machine.emit('je', to);
  }

  narrowMask(mask: Register): Register {
    return this.narrow(mask);
  }
  widenMask(mask: Register): Register {
    return this.widen(mask);
  }

  blend(lane: LaneBits, mask: Register, a: LaneOperand, b: Register): Register {
    return this.op(lane === 32 ? 'vblendvps' : 'vblendvpd', lane, b, a, mask);
  }
  keep(lane: LaneBits, mask: Register, a: LaneOperand): Register {
    return this.op(lane === 32 ? 'vandps' : 'vandpd', lane, mask, a);
  }
  onesWhere(lane: LaneBits, mask: Register, x: Register): Register {
    return this.op(lane === 32 ? 'vorps' : 'vorpd', lane, x, mask);
  }
  assignWhere(lane: LaneBits, mask: Register, target: Register, x: Register): void {
    this.change(lane === 32 ? 'vblendvps' : 'vblendvpd', lane, target, target, x, mask);
  }

  fromMemory(mnemonic: Mnemonic, lane: LaneBits, from: Address): Register {
    return this.op(mnemonic, lane, from);
  }

  store(element: StoredElement, to: Address, value: Register, mask?: Register): boolean {
    const m = this.machine;
    const { bytes } = element;
    const lane = bytes === 8 ? 64 : 32;
    if (bytes >= 4) {
      if (mask === undefined) m.emit('vmovups', to, this.view(value, lane));
      else m.emit(lane === 32 ? 'vmaskmovps' : 'vmaskmovpd', to, this.view(mask, lane), this.view(value, lane));
      return true;
    }
    if (mask !== undefined) return false;
    const size = bytes * this.lanes;
    m.emit(size === 16 ? 'vmovdqu' : size === 8 ? 'vmovq' : 'vmovd', to, view(this.#packed(element, value), 128));
    return true;
  }

  stream(element: StoredElement, to: Address, value: Register): void {
    const { bytes } = element;
    const data = bytes >= 4 ? value : this.#packed(element, value);
    this.machine.emit('vmovntdq', to, view(data, (8 * bytes * this.lanes) as VecBits));
  }

  /** The low 8 or 16 bits of lanes, next to each other. */
  #packed({ bytes, signed }: StoredElement, value: Register): Register {
    const words = this.packWords(value, signed);
    if (bytes === 2) return words;
    const result = this.machine.register('vec');
    this.machine.emit(signed ? 'vpacksswb' : 'vpackuswb', view(result, 128), view(words, 128), view(words, 128));
    return result;
  }

  gather(lane: LaneBits, from: Address, index: Register, scale: Address['scale']): Register {
    const mask = this.constant(lane, -1);
    const result = this.zero();
    this.machine.emit(
      lane === 32 ? 'vgatherdps' : 'vgatherdpd',
      this.view(result, lane),
      { ...from, index, indexBits: this.bits(32), scale },
      this.view(mask, lane),
    );
    return result;
  }

  scatter(lane: LaneBits, { from, strideBytes }: Strided, value: Register, mask?: Register): boolean {
    if (mask !== undefined) return false;
    const m = this.machine;
    const perHalf = 128 / lane;
    let half = value;
    for (let i = 0; i < this.lanes; i++) {
      if (i === perHalf) half = this.upper(lane, value, perHalf);
      const to = sizedAt({ ...from, disp: from.disp + i * strideBytes }, lane);
      m.emit(lane === 64 ? 'vpextrq' : 'vpextrd', to, view(half, 128), i % perHalf);
    }
    return true;
  }
}
