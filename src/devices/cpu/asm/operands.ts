/**
 * What an x86-64 instruction works on: registers, memory, immediates and labels. Plain values; an immediate is a
 * number or a bigint.
 */
import { IngotError } from '../../../base/errors.ts';

export type GpBits = 8 | 16 | 32 | 64;
export type VecBits = 128 | 256 | 512;

/** A general register. `high` is one of ah, ch, dh, bh, whose ids are 4 to 7 and which exclude a REX prefix. */
export interface Gp {
  readonly kind: 'gp';
  readonly id: number;
  readonly bits: GpBits;
  readonly high: boolean;
}

/** A vector register; as a destination it may carry a mask, merging or zeroing. */
export interface Vec<B extends VecBits = VecBits> {
  readonly kind: 'vec';
  readonly id: number;
  readonly bits: B;
  readonly mask?: K;
  readonly zeroing?: boolean;
}
export type Xmm = Vec<128>;
export type Ymm = Vec<256>;
export type Zmm = Vec<512>;

/** A mask register; as the destination of a compare it may itself be masked. */
export interface K {
  readonly kind: 'k';
  readonly id: number;
  readonly mask?: K;
}

/** An AMX tile. */
export interface Tmm {
  readonly kind: 'tmm';
  readonly id: number;
}

/** `[base + index * scale + disp]` or `[rip + label + disp]`. */
export interface Mem {
  readonly kind: 'mem';
  readonly base?: Gp;
  /** A vector here is the index of a gather or scatter. */
  readonly index?: Gp | Vec;
  readonly scale: 1 | 2 | 4 | 8;
  readonly disp: number;
  readonly label?: Label;
  /** Bits accessed, or that a broadcast fills; 0 leaves it to the other operands. */
  readonly bits: number;
  /** One element, repeated in every lane (EVEX). */
  readonly broadcast: boolean;
  readonly mask?: K;
}

/** A place in the code, made by `Assembler.label` and placed by `Assembler.bind`. */
export interface Label {
  readonly kind: 'label';
  readonly id: number;
  readonly name: string;
}

/** The last operand of an EVEX form without memory: static rounding, or suppressed exceptions alone. */
export interface Rounding {
  readonly kind: 'rounding';
  readonly mode: 'rn-sae' | 'rd-sae' | 'ru-sae' | 'rz-sae' | 'sae';
}

export type Operand = Gp | Vec | K | Tmm | Mem | Label | Rounding | number | bigint;

export const isGp = (operand: Operand | undefined): operand is Gp =>
  typeof operand === 'object' && operand.kind === 'gp';
export const isVec = (operand: Operand | undefined): operand is Vec =>
  typeof operand === 'object' && operand.kind === 'vec';
export const isMem = (operand: Operand | undefined): operand is Mem =>
  typeof operand === 'object' && operand.kind === 'mem';

function file<T>(count: number, make: (id: number) => T): readonly T[] {
  return Array.from({ length: count }, (_, id) => make(id));
}

function pick<T>(registers: readonly T[], id: number, name: string): T {
  const register = registers[id];
  if (register === undefined) throw new IngotError('InvalidArgument', `there is no register ${name}${id}`);
  return register;
}

const gpFile = (bits: GpBits) => file(16, (id): Gp => ({ kind: 'gp', id, bits, high: false }));
const GP: Readonly<Record<GpBits, readonly Gp[]>> = { 8: gpFile(8), 16: gpFile(16), 32: gpFile(32), 64: gpFile(64) };
const vecFile = <B extends VecBits>(bits: B) => file(32, (id): Vec<B> => ({ kind: 'vec', id, bits }));
const XMM = vecFile(128);
const YMM = vecFile(256);
const ZMM = vecFile(512);
const MASKS = file(8, (id): K => ({ kind: 'k', id }));
const TILES = file(8, (id): Tmm => ({ kind: 'tmm', id }));

const idOf = (register: number | Gp) => (typeof register === 'number' ? register : register.id);

/** The general register of an id (0 rax, 1 rcx, 2 rdx, 3 rbx, 4 rsp, 5 rbp, 6 rsi, 7 rdi, 8 to 15) or of another width. */
export const gp = (register: number | Gp, bits: GpBits): Gp => pick(GP[bits], idOf(register), 'r');
export const r8b = (register: number | Gp): Gp => gp(register, 8);
export const r16w = (register: number | Gp): Gp => gp(register, 16);

export const [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi] = GP[64];
export const [r8, r9, r10, r11, r12, r13, r14, r15] = GP[64].slice(8);
export const [eax, ecx, edx, ebx, esp, ebp, esi, edi] = GP[32];
export const [r8d, r9d, r10d, r11d, r12d, r13d, r14d, r15d] = GP[32].slice(8);
export const [al, cl, dl, bl] = GP[8];
export const [ah, ch, dh, bh] = file(4, (id): Gp => ({ kind: 'gp', id: id + 4, bits: 8, high: true }));

export const xmm = (id: number): Xmm => pick(XMM, id, 'xmm');
export const ymm = (id: number): Ymm => pick(YMM, id, 'ymm');
export const zmm = (id: number): Zmm => pick(ZMM, id, 'zmm');
/** A vector register of a width known at run time. */
export const vec = (id: number, bits: VecBits): Vec => (bits === 128 ? xmm(id) : bits === 256 ? ymm(id) : zmm(id));
/** The same register at another width. */
export const lanes = (register: Vec, bits: VecBits): Vec => vec(register.id, bits);
export const k = (id: number): K => pick(MASKS, id, 'k');
export const tmm = (id: number): Tmm => pick(TILES, id, 'tmm');

/** `[base + disp]` */
export function ptr(base: Gp, disp = 0): Mem {
  return { kind: 'mem', base, scale: 1, disp, bits: 0, broadcast: false };
}

/** `[base + index * scale + disp]`; without a base where that is undefined. */
export function indexed(base: Gp | undefined, index: Gp | Vec, scale: 1 | 2 | 4 | 8 = 1, disp = 0): Mem {
  const mem: Mem = { kind: 'mem', index, scale, disp, bits: 0, broadcast: false };
  return base === undefined ? mem : { ...mem, base };
}

/** `[rip + label + disp]` */
export function rip(label: Label, disp = 0): Mem {
  return { kind: 'mem', label, scale: 1, disp, bits: 0, broadcast: false };
}

/** `[disp]`: the low or the high 2 GiB of the address space. */
export function absolute(disp: number): Mem {
  return { kind: 'mem', scale: 1, disp, bits: 0, broadcast: false };
}

/** The same place with its access width said, for forms where nothing else says it: `inc dword ptr [rax]`. */
export const sized = (mem: Mem, bits: number): Mem => ({ ...mem, bits });
export const offset = (mem: Mem, disp: number): Mem => ({ ...mem, disp: mem.disp + disp });
export const broadcast = (mem: Mem): Mem => ({ ...mem, broadcast: true });

/** `operand{k}`: lanes whose bit is 0 keep what they hold. */
export const masked = <T extends Vec | K | Mem>(operand: T, mask: K): T => ({ ...operand, mask });
/** `operand{k}{z}`: lanes whose bit is 0 become zero. */
export const zeroed = <T extends Vec>(operand: T, mask: K): T => ({ ...operand, mask, zeroing: true });

export const rounding = (mode: Rounding['mode']): Rounding => ({ kind: 'rounding', mode });
