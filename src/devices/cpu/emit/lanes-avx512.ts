/** Lanes in AVX-512 (F, BW, DQ, VL): masks are in registers of their own, constants are broadcast from memory. */
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
import { type Address, d, k, q, type Register, view, where, zeroWhereNot } from './machine.ts';

/** Instructions of AVX2 whose counterparts have other names. Masks count lanes: then the name says their width. */
const NAMES: Partial<Record<Mnemonic, Readonly<Record<LaneBits, Mnemonic>>>> = {
  vpand: { 32: 'vpandd', 64: 'vpandq' },
  vpor: { 32: 'vpord', 64: 'vporq' },
  vpxor: { 32: 'vpxord', 64: 'vpxorq' },
  vmovups: { 32: 'vmovups', 64: 'vmovupd' },
  vmovaps: { 32: 'vmovaps', 64: 'vmovapd' },
  vroundps: { 32: 'vrndscaleps', 64: 'vrndscaleps' },
  vroundpd: { 32: 'vrndscalepd', 64: 'vrndscalepd' },
};

/** Immediates of vpcmpd. */
const RELATIONS: Readonly<Record<ComparisonDirection, number>> = { EQ: 0, LT: 1, LE: 2, NE: 4, GE: 5, GT: 6 };

const WIDE: Partial<Record<Binary, Readonly<Record<'signed' | 'unsigned', Mnemonic>>>> = {
  add: { signed: 'vpaddq', unsigned: 'vpaddq' },
  subtract: { signed: 'vpsubq', unsigned: 'vpsubq' },
  multiply: { signed: 'vpmullq', unsigned: 'vpmullq' },
  maximum: { signed: 'vpmaxsq', unsigned: 'vpmaxuq' },
  minimum: { signed: 'vpminsq', unsigned: 'vpminuq' },
  and: { signed: 'vpandq', unsigned: 'vpandq' },
  or: { signed: 'vporq', unsigned: 'vporq' },
  xor: { signed: 'vpxorq', unsigned: 'vpxorq' },
  shift_left: { signed: 'vpsllvq', unsigned: 'vpsllvq' },
  shift_right_logical: { signed: 'vpsrlvq', unsigned: 'vpsrlvq' },
};

export class Avx512Lanes extends LaneCode {
  protected named(mnemonic: Mnemonic, lane: LaneBits): Mnemonic {
    return NAMES[mnemonic]?.[lane] ?? mnemonic;
  }

  copy(x: Register): Register {
    const result = this.machine.register('vec');
    this.machine.emit('vmovaps', view(result, 512), view(x, 512));
    return result;
  }

  orAnd(lane: LaneBits, a: Register, b: Register, c: LaneOperand): Register {
    return this.change(lane === 32 ? 'vpternlogd' : 'vpternlogq', lane, this.copy(a), b, c, 0xf8);
  }

  #word(lane: LaneBits, value: number | bigint): Address {
    const whole = BigInt.asUintN(lane, BigInt(value));
    return constantAt(this.machine, lane === 32 ? Uint32Array.of(Number(whole)) : BigUint64Array.of(whole));
  }

  words(lane: LaneBits, value: number | bigint): Address {
    return { ...this.#word(lane, value), broadcast: true };
  }

  constant(lane: LaneBits, value: number | bigint): Register {
    return this.op(lane === 32 ? 'vpbroadcastd' : 'vpbroadcastq', lane, this.#word(lane, value));
  }

  narrow(x: Register): Register {
    const result = this.machine.register('vec');
    this.machine.emit('vpmovqd', this.view(result, 32), this.view(x, 64));
    return result;
  }

  packWords(x: Register): Register {
    const result = this.machine.register('vec');
    this.machine.emit('vpmovdw', this.halfView(result), this.view(x, 32));
    return result;
  }

  upper(lane: LaneBits, x: Register, half: number): Register {
    if (x.file === 'mask') return this.#masks('kshiftrw', x, half);
    const high = this.machine.register('vec');
    const bits = half * lane;
    if (bits === 256) this.machine.emit('vextractf64x4', view(high, 256), view(x, 512), 1);
    else if (bits === 128) this.machine.emit('vextractf32x4', view(high, 128), view(x, 256), 1);
    else this.machine.emit('vpshufd', view(high, 128), view(x, 128), bits === 64 ? 0xee : 0x55);
    return high;
  }

  join(low: Register, high: LaneOperand): Register {
    const result = this.machine.register('vec');
    const [whole, half, insert] =
      this.lanes === 16 ? ([512, 256, 'vinsertf64x4'] as const) : ([256, 128, 'vinsertf32x4'] as const);
    const upper = high.kind === 'address' ? high : view(high, half);
    this.machine.emit(insert, view(result, whole), view(low, whole), upper, 1);
    return result;
  }

  quarter(x: Register, index: number): Register {
    if (index === 0) return x;
    const result = this.machine.register('vec');
    this.machine.emit('vextractf32x4', view(result, 128), this.view(x, 32), index);
    return result;
  }

  wide(op: Binary, signed: boolean): Mnemonic | undefined {
    return WIDE[op]?.[signed ? 'signed' : 'unsigned'];
  }
  readonly convertsWide = true;

  /** A new mask register with the result. */
  #masks(mnemonic: Mnemonic, a: Register, b: Register | number): Register {
    const result = this.machine.register('mask');
    this.machine.emit(mnemonic, k(result), k(a), typeof b === 'number' ? b : k(b));
    return result;
  }
  #compare(mnemonic: Mnemonic, lane: LaneBits, ...inputs: readonly (LaneOperand | number)[]): Register {
    const result = this.machine.register('mask');
    this.machine.emit(mnemonic, k(result), ...this.operands(lane, inputs));
    return result;
  }

  compareFloats(lane: LaneBits, predicate: number, a: Register, b: LaneOperand): Register {
    return this.#compare(lane === 32 ? 'vcmpps' : 'vcmppd', lane, a, b, predicate);
  }
  compareIntegers(relation: ComparisonDirection, lane: LaneBits, signed: boolean, a: Register, b: Register): Register {
    const mnemonic = lane === 32 ? (signed ? 'vpcmpd' : 'vpcmpud') : signed ? 'vpcmpq' : 'vpcmpuq';
    return this.#compare(mnemonic, lane, a, b, RELATIONS[relation]);
  }
  negative(lane: LaneBits, x: Register): Register {
    return this.#compare(lane === 32 ? 'vpmovd2m' : 'vpmovq2m', lane, x);
  }
  hasBit(lane: LaneBits, x: Register, bit: number): Register {
    return this.#compare(lane === 32 ? 'vptestmd' : 'vptestmq', lane, x, this.words(lane, 1n << BigInt(bit)));
  }

  both(a: Register, b: Register): Register {
    return this.#masks('kandw', a, b);
  }
  either(a: Register, b: Register): Register {
    return this.#masks('korw', a, b);
  }
  differ(a: Register, b: Register): Register {
    return this.#masks('kxorw', a, b);
  }
  without(a: Register, b: Register): Register {
    return this.#masks('kandnw', b, a);
  }

  /** From bits of a general register, which is changed. Bits beyond the lanes (8 or 16) are 0 in every mask. */
  #maskFrom(bits: Register): Register {
    const result = this.machine.register('mask');
    this.machine.emit('and', d(bits), 2 ** this.lanes - 1);
    this.machine.emit('kmovw', k(result), d(bits));
    return result;
  }
  maskOf(value: boolean): Register {
    const result = this.machine.register('mask');
    const [all, none] = this.lanes === 16 ? (['kxnorw', 'kxorw'] as const) : (['kxnorb', 'kxorb'] as const);
    // What it held does not matter.
    this.machine.emit(value ? all : none, k(result), k(result), k(result));
    return result;
  }
  override not(mask: Register): Register {
    const result = this.machine.register('mask');
    this.machine.emit(this.lanes === 16 ? 'knotw' : 'knotb', k(result), k(mask));
    return result;
  }
  maskOfBit(_: LaneBits, bit: Register): Register {
    const bits = this.machine.register('gp');
    this.machine.emit('mov', q(bits), q(bit));
    this.machine.emit('neg', q(bits));
    return this.#maskFrom(bits);
  }
  firstOf(_: LaneBits, mask: Register): Register {
    const bits = this.machine.register('gp');
    this.machine.emit('kmovw', d(bits), k(mask));
    this.machine.emit('and', d(bits), 1);
    this.machine.emit('neg', q(bits));
    return bits;
  }
  jumpIfNone(_: LaneBits, mask: Register, to: Label): void {
    this.machine.emit('kortestw', k(mask), k(mask));
    this.machine.emit('je', to);
  }
  narrowMask(mask: Register): Register {
    return mask;
  }
  widenMask(mask: Register): Register {
    return mask;
  }

  #where(mnemonic: Mnemonic, lane: LaneBits, mask: Register, ...inputs: readonly LaneOperand[]): Register {
    const result = this.machine.register('vec');
    const to = zeroWhereNot(this.view(result, lane), mask);
    this.machine.emit(this.named(mnemonic, lane), to, ...this.operands(lane, inputs));
    return result;
  }
  blend(lane: LaneBits, mask: Register, a: LaneOperand, b: Register): Register {
    const result = this.machine.register('vec');
    this.machine.emit(
      lane === 32 ? 'vblendmps' : 'vblendmpd',
      where(this.view(result, lane), mask),
      this.view(b, lane),
      ...this.operands(lane, [a]),
    );
    return result;
  }
  keep(lane: LaneBits, mask: Register, a: LaneOperand): Register {
    if (a.kind === 'register') return this.#where('vmovaps', lane, mask, a);
    const { broadcast, ...from } = a;
    if (!broadcast) return this.#where('vmovups', lane, mask, a);
    return this.#where(lane === 32 ? 'vpbroadcastd' : 'vpbroadcastq', lane, mask, from);
  }
  onesWhere(lane: LaneBits, mask: Register, x: Register): Register {
    return this.blend(lane, mask, this.words(lane, -1), x);
  }
  assignWhere(lane: LaneBits, mask: Register, target: Register, x: Register): void {
    this.machine.emit(this.named('vmovaps', lane), where(this.view(target, lane), mask), this.view(x, lane));
  }

  fromMemory(mnemonic: Mnemonic, lane: LaneBits, from: Address): Register {
    return this.active === undefined ? this.op(mnemonic, lane, from) : this.#where(mnemonic, lane, this.active, from);
  }
  #activeAnd(mask: Register | undefined): Register | undefined {
    if (mask === undefined || this.active === undefined) return mask ?? this.active;
    return this.both(mask, this.active);
  }
  store({ bytes }: StoredElement, to: Address, value: Register, mask?: Register): boolean {
    const mnemonic = ({ 1: 'vpmovdb', 2: 'vpmovdw', 4: 'vmovups', 8: 'vmovupd' } as const)[bytes];
    this.machine.emit(mnemonic, where(to, this.#activeAnd(mask)), this.view(value, bytes === 8 ? 64 : 32));
    return true;
  }
  stream({ bytes }: StoredElement, to: Address, value: Register): void {
    const bits = (8 * bytes * this.lanes) as VecBits;
    let data = value;
    if (bytes < 4) {
      data = this.machine.register('vec');
      this.machine.emit(bytes === 1 ? 'vpmovdb' : 'vpmovdw', view(data, bits), this.view(value, 32));
    }
    this.machine.emit('vmovntdq', to, view(data, bits));
  }
  /** Gathers and scatters clear their masks. */
  #consumed(mask: Register | undefined): Register {
    if (mask === undefined) return this.maskOf(true);
    const result = this.machine.register('mask');
    this.machine.emit('kmovw', k(result), k(mask));
    return result;
  }
  gather(lane: LaneBits, from: Address, index: Register, scale: Address['scale']): Register {
    const result = this.zero();
    const place: Address = { ...from, index, indexBits: this.bits(32), scale };
    const to = where(this.view(result, lane), this.#consumed(this.active));
    this.machine.emit(lane === 32 ? 'vgatherdps' : 'vgatherdpd', to, place);
    return result;
  }
  scatter(lane: LaneBits, { from, strideBytes }: Strided, value: Register, mask?: Register): boolean {
    const to: Address = { ...from, index: this.offsets(strideBytes), indexBits: this.bits(32), scale: 1 };
    const places = where(to, this.#consumed(this.#activeAnd(mask)));
    this.machine.emit(lane === 32 ? 'vscatterdps' : 'vscatterdpd', places, this.view(value, lane));
    return true;
  }
}
