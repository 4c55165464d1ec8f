/**
 * Hand-scheduled kernels over virtual registers, in the convention of emit/abi.ts: arguments, loops and conditions. The
 * order of instructions is the writer's; `emit/allocate.ts` names the registers. For kernels whose inner loops share
 * registers with much that is around them, and that need the functions of emit/functions.ts.
 */
import type { Dim, DimSymbol } from '../../../ir/types.ts';
import { Assembler } from '../asm/assembler.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { assembleFunction } from '../emit/function.ts';
import type { LaneCode } from '../emit/lane-code.ts';
import { type Address, at, d, Machine, q, RAX, RCX, RDI, RDX, type Register, RSI, type Slot } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import type { Target } from '../target.ts';

export type Count = Register | number;
type Relation = 'e' | 'ne' | 'l' | 'le' | 'g' | 'ge';
const opposite: Readonly<Record<Relation, 'je' | 'jne' | 'jl' | 'jle' | 'jg' | 'jge'>> = {
  ...{ e: 'jne', ne: 'je', l: 'jge', le: 'jg', g: 'jle', ge: 'jl' },
};

export class KernelWriter<B extends string> {
  readonly m: Machine;
  readonly #assembler = new Assembler();
  readonly #name: string;
  readonly #buffers: readonly B[];
  readonly #dims: readonly DimSymbol[];
  readonly #args: Register;
  readonly threadIndex: Register;
  readonly threadCount: Register;
  readonly #taken: Register;

  constructor(name: string, buffers: readonly B[], dims: readonly Dim[], vectorBits: Target['vectorBits'] = 256) {
    this.#name = name;
    this.#buffers = buffers;
    this.#dims = dimSymbols(dims);
    this.m = new Machine(this.#assembler, vectorBits);
    [this.#args, this.threadIndex, this.threadCount] = [this.gp(), this.gp(), this.gp()];
    this.#taken = this.gp();
    // What has no register is stored through rcx or rdx, which hold arguments themselves: they come first.
    this.m.emit('mov', q(RAX), q(RCX));
    // As 32 bits: there may be anything above them.
    this.m.emit('mov', d(this.threadCount), d(RDX));
    this.m.emit('mov', q(this.#taken), q(RAX));
    this.m.emit('mov', q(this.#args), q(RDI));
    this.m.emit('mov', d(this.threadIndex), d(RSI));
  }

  finish(): EmittedKernel {
    const { code, stackBytes } = assembleFunction(this.#assembler, this.m);
    return {
      name: this.#name,
      source: this.#assembler,
      bytes: code.bytes,
      alignment: code.alignment,
      args: [
        ...this.#buffers.map((name) => ({ kind: 'buffer' as const, name })),
        ...this.#dims.map((sym) => ({ kind: 'dim' as const, sym })),
      ],
      parallel: true,
      stackBytes,
      listing: () => code.listing(),
    };
  }

  /** The number of the next unit of work that nobody has taken: 0, 1, 2 ... */
  take(number: Register): void {
    this.m.emit('mov', d(RAX), 1);
    this.m.emit('lock xadd', at(this.#taken), q(RAX));
    this.m.emit('mov', q(number), q(RAX));
  }

  /** Code for the widest vectors of floats. */
  get code(): LaneCode {
    return laneCode(this.m, this.m.vectorBits === 512 ? 16 : 8);
  }

  gp(): Register {
    return this.m.register('gp');
  }

  /** A new register that holds a number, a copy of a register, or 64 bits of memory. */
  value(from: Count | Address): Register {
    const result = this.gp();
    this.set(result, from);
    return result;
  }
  set(target: Register, from: Count | Address): void {
    if (typeof from === 'number' && from >= 0) this.m.emit('mov', d(target), from);
    else if (typeof from === 'number' || from.kind === 'address') this.m.emit('mov', q(target), from);
    else this.m.emit('mov', q(target), q(from));
  }

  /** The address of a buffer. */
  buffer(name: B): Register {
    return this.value(at(this.#args, 8 * this.#buffers.indexOf(name)));
  }
  dim(dim: Dim): Count {
    if (typeof dim === 'number') return dim;
    return this.value(at(this.#args, 8 * (this.#buffers.length + this.#dims.indexOf(dim.sym))));
  }
  addressOf(slot: Slot, index?: Register, scale: Address['scale'] = 1): Register {
    const result = this.gp();
    this.m.emit('lea', q(result), inSlot(slot, 0, index, scale));
    return result;
  }
  /** An i32, sign-extended. */
  signed(from: Address): Register {
    const result = this.gp();
    this.m.emit('movsxd', q(result), { ...from, bits: 32 });
    return result;
  }

  change(op: 'add' | 'sub' | 'imul' | 'and', target: Register, by: Count): void {
    if (op === 'imul' && typeof by === 'number') this.m.emit('imul', q(target), q(target), by);
    else this.m.emit(op, q(target), typeof by === 'number' ? by : q(by));
  }
  sum(a: Count, b: Count): Register {
    const result = this.value(a);
    this.change('add', result, b);
    return result;
  }
  difference(a: Count, b: Count): Register {
    const result = this.value(a);
    this.change('sub', result, b);
    return result;
  }
  product(a: Count, b: Count): Register {
    const result = this.value(a);
    this.change('imul', result, b);
    return result;
  }
  shift(a: Register, op: 'shl' | 'shr', bits: number): Register {
    const result = this.value(a);
    if (bits > 0) this.m.emit(op, q(result), bits);
    return result;
  }
  /** target = the lesser, or the greater, of two signed numbers. */
  bound(target: Register, kind: 'min' | 'max', by: Count): void {
    const other = typeof by === 'number' ? this.value(by) : by;
    this.m.emit('cmp', q(target), q(other));
    this.m.emit(kind === 'min' ? 'cmovg' : 'cmovl', q(target), q(other));
  }

  when(a: Register, relation: Relation, b: Count, then: () => void, otherwise?: () => void): void {
    const [no, end] = [this.m.newLabel(), this.m.newLabel()];
    this.m.emit('cmp', q(a), typeof b === 'number' ? b : q(b));
    this.m.emit(opposite[relation], no);
    then();
    if (otherwise !== undefined) this.m.emit('jmp', end);
    this.m.bind(no);
    otherwise?.();
    this.m.bind(end);
  }

  /** Runs `body` as long as `counter` is below `end`; the body may change both beyond the step that is added after it. */
  whileBelow(counter: Register, end: Count, step: Count, body: () => void): void {
    const [top, done] = [this.m.newLabel(), this.m.newLabel()];
    const limit = typeof end === 'number' ? end : q(end);
    this.m.emit('cmp', q(counter), limit);
    this.m.emit('jge', done);
    this.m.into(this.m.block(true), () => {
      this.m.bind(top);
      body();
      this.change('add', counter, step);
      this.m.emit('cmp', q(counter), limit);
      this.m.emit('jl', top);
    });
    this.m.bind(done);
  }
  /** `body` for start, start + step .. below end. */
  forEach(start: Count, end: Count, step: Count, body: (i: Register) => void): void {
    const i = this.value(start);
    this.whileBelow(i, end, step, () => body(i));
  }
  /** A loop that leaves by `leave` alone. */
  loop(body: (leave: () => void) => void): void {
    const [top, done] = [this.m.newLabel(), this.m.newLabel()];
    this.m.into(this.m.block(true), () => {
      this.m.bind(top);
      body(() => this.m.emit('jmp', done));
      this.m.emit('jmp', top);
    });
    this.m.bind(done);
  }
}

export const dimSymbols = (dims: readonly Dim[]): readonly DimSymbol[] => [
  ...new Set(dims.flatMap((dim) => (typeof dim === 'number' ? [] : [dim.sym]))),
];

/** A place of the stack frame. */
export function inSlot(slot: Slot, disp = 0, index?: Register, scale: Address['scale'] = 1): Address {
  return { kind: 'address', slot, ...(index && { index }), scale, disp, bits: 0 };
}
