/**
 * Machine code before registers are chosen: instructions of the assembler over virtual registers of three files. A loop is
 * a region, so that the allocator knows what lives around its back edge without a flow graph.
 */
import type { Label, Tmm, VecBits } from '../asm/operands.ts';
import type { Mnemonic } from '../asm/tables.ts';
import type { Target } from '../target.ts';

/** `mask`: the mask registers of AVX-512. */
export type RegisterFile = 'gp' | 'vec' | 'mask';

/** `id` below 0: a register of the machine that the allocator never gives out (`fixed`). */
export interface Register {
  readonly kind: 'register';
  readonly file: RegisterFile;
  readonly id: number;
}

/** A register at a width. */
export interface View {
  readonly kind: 'view';
  readonly register: Register;
  readonly bits: 8 | 16 | 32 | 64 | VecBits;
  /** Lanes where it is 0 keep what they hold, or become 0. */
  readonly mask?: Register;
  readonly zeroing?: true;
}

/** Bytes of the stack frame. */
export interface Slot {
  readonly bytes: number;
  readonly align: number;
}

/** `[base + index * scale + disp]`, `[frame slot + index * scale + disp]` or `[label + disp]`. */
export interface Address {
  readonly kind: 'address';
  readonly base?: Register;
  readonly index?: Register;
  /** Bits of an index in a vector register (gathers). */
  readonly indexBits?: VecBits;
  readonly scale: 1 | 2 | 4 | 8;
  readonly disp: number;
  readonly slot?: Slot;
  readonly label?: Label;
  /** Bits accessed; 0 leaves it to the other operands. */
  readonly bits: number;
  /** One element for all lanes. */
  readonly broadcast?: true;
  /** Lanes that are stored. */
  readonly mask?: Register;
}

/** Tiles are not allocated: who uses them names them. */
export type MachineOperand = View | Address | Label | Tmm | number | bigint;

/**
 * What happens to the first operand: written, read and written, or only read; the others are read. A gather also clears
 * its last one.
 */
export type Role = 'write' | 'update' | 'read' | 'gather';

export interface Instruction {
  readonly kind: 'instruction';
  readonly mnemonic: Mnemonic;
  readonly operands: readonly MachineOperand[];
  readonly role: Role;
}

export type Item =
  | Instruction
  | { readonly kind: 'bind'; readonly label: Label }
  | { readonly kind: 'comment'; readonly text: string }
  /** Code that is still being written when what follows it is; `loop`: it is run more than once. */
  | { readonly kind: 'block'; readonly items: readonly Item[]; readonly loop: boolean };

/** Machine registers outside of allocation: rax, rdx for division, rcx for what the allocator needs itself. */
const fixed = (id: number): Register => ({ kind: 'register', file: 'gp', id: -1 - id });
export const RAX = fixed(0);
/** An argument; the allocator's from the first other instruction on. */
export const RCX = fixed(1);
export const RDX = fixed(2);
export const RSI = fixed(6);
export const RDI = fixed(7);
export const fixedId = (register: Register): number => -1 - register.id;

export const view = (register: Register, bits: View['bits']): View => ({ kind: 'view', register, bits });
export const q = (register: Register): View => view(register, 64);
/** `operand` where the mask is 1: other lanes keep what they hold, or are not stored. */
export const where = <T extends View | Address>(operand: T, mask: Register | undefined): T =>
  mask === undefined ? operand : { ...operand, mask };
/** Lanes where the mask is 0 become 0. */
export const zeroWhereNot = (operand: View, mask: Register | undefined): View =>
  mask === undefined ? operand : { ...operand, mask, zeroing: true };
/** A mask register, whose width its instructions say. */
export const k = (register: Register): View => view(register, 64);
export const d = (register: Register): View => view(register, 32);

export function at(base: Register, disp = 0, index?: Register, scale: Address['scale'] = 1): Address {
  return { kind: 'address', base, ...(index && { index }), scale, disp, bits: 0 };
}
export const sizedAt = (address: Address, bits: number): Address => ({ ...address, bits });

const UPDATES: ReadonlySet<string> = new Set<Mnemonic>([
  ...(['add', 'sub', 'and', 'or', 'xor', 'neg', 'not', 'shl', 'shr', 'sar', 'inc', 'dec'] as const),
  ...([
    'cmove',
    'cmovne',
    'cmovl',
    'cmovg',
    'cmovle',
    'cmovge',
    'cmovb',
    'cmova',
    'cmovae',
    'cmovs',
    'cmovns',
  ] as const),
]);
const READS: ReadonlySet<string> = new Set<Mnemonic>([
  ...(['cmp', 'test', 'idiv', 'div', 'mul', 'push', 'vptest', 'vtestps', 'vucomiss', 'vucomisd', 'kortestw'] as const),
]);
const SETS: ReadonlySet<string> = new Set<Mnemonic>(['vpgatherdd', 'vgatherdps', 'vgatherdpd', 'vpgatherdq']);
/** Families that add to their first operand, or choose from it. */
const UPDATING = /^(vfn?m|vpternlog|vpdp|vdp|vperm[it]2)/;

/** What a mnemonic does to its first operand, where the operands do not say; `blend` takes all lanes from the others. */
function usualRole(mnemonic: Mnemonic): Role | 'blend' {
  if (SETS.has(mnemonic)) return 'gather';
  if (READS.has(mnemonic) || mnemonic.startsWith('j')) return 'read';
  if (UPDATES.has(mnemonic) || UPDATING.test(mnemonic)) return 'update';
  return mnemonic.startsWith('vblendm') ? 'blend' : 'write';
}

const usual = new Map<Mnemonic, Role | 'blend'>();

function roleOf(mnemonic: Mnemonic, operands: readonly MachineOperand[]): Role {
  let role = usual.get(mnemonic);
  if (role === undefined) {
    role = usualRole(mnemonic);
    usual.set(mnemonic, role);
  }
  if (role === 'blend') return 'write';
  if (role === 'read' || role === 'update' || (role === 'gather' && operands.length === 3)) return role;
  if (mnemonic === 'imul' && operands.length === 2) return 'update';
  const [first] = operands;
  const keeps = typeof first === 'object' && first.kind === 'view' && first.mask !== undefined && !first.zeroing;
  return keeps ? 'update' : 'write';
}

/** Where the emitter writes: a list of items, which may be left and taken up again. */
export class Machine {
  #items: Item[] = [];
  #registers = 0;
  /** Of the vector registers that may be used. */
  readonly vectorBits: Target['vectorBits'];
  readonly newLabel: (name?: string) => Label;
  readonly constant: (data: ArrayBufferView, align?: number) => Label;

  constructor(
    assembler: { label(name?: string): Label; constant(data: ArrayBufferView, align?: number): Label },
    vectorBits: Target['vectorBits'],
  ) {
    this.vectorBits = vectorBits;
    this.newLabel = (name) => assembler.label(name);
    this.constant = (data, align) => assembler.constant(data, align);
  }

  get items(): readonly Item[] {
    return this.#items;
  }

  register(file: RegisterFile): Register {
    return { kind: 'register', file, id: this.#registers++ };
  }

  emit(mnemonic: Mnemonic, ...operands: readonly MachineOperand[]): void {
    this.#items.push({ kind: 'instruction', mnemonic, operands, role: roleOf(mnemonic, operands) });
  }

  bind(label: Label): void {
    this.#items.push({ kind: 'bind', label });
  }

  comment(text: string): void {
    this.#items.push({ kind: 'comment', text });
  }

  /** Appends a block here, to be filled by `into`. */
  block(loop = false): Item[] {
    const items: Item[] = [];
    this.#items.push({ kind: 'block', items, loop });
    return items;
  }

  /** Runs `write` with its code going to the end of `items`. */
  into<T>(items: Item[], write: () => T): T {
    const before = this.#items;
    this.#items = items;
    try {
      return write();
    } finally {
      this.#items = before;
    }
  }
}
