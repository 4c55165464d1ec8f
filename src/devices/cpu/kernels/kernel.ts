/**
 * The frame of a hand-scheduled kernel:
 *
 *   void kernel(const uint64_t* args, uint64_t threadIndex, uint64_t threadCount)      (System V ABI for AMD64)
 *
 * `args` holds addresses of buffers, then dims. Every thread of a team calls it with its own index; work is divided into
 * contiguous ranges of units, so results do not depend on the number of threads. MXCSR holds its default.
 */
import { Assembler, type Code } from '../asm/assembler.ts';
import type { Gp, Vec } from '../asm/operands.ts';
import { gp, ptr, r12, r13, r14, r15, rax, rbp, rbx, rcx, rdi, rdx, rip, rsi, rsp } from '../asm/operands.ts';

export interface Kernel {
  readonly name: string;
  readonly code: Code;
  /** What the words of `args` are, in order: names of buffers, then of dims. */
  readonly args: readonly string[];
}

const SAVED = [rbx, rbp, r12, r13, r14, r15];

/** Registers that a kernel's body may use without saving; rdi still holds `args`. */
export interface Share {
  /** First unit of this thread; counts up to `end`. */
  readonly unit: Gp;
  readonly end: Gp;
}

/**
 * A kernel that runs `emitUnit` for each unit of this thread's share. `emitUnits` leaves the number of units in rax; both
 * may use every register but rdi, rsp, rbp and those of the share; `emitUnits` must also keep rsi and r8.
 */
export function buildKernel(
  name: string,
  args: readonly string[],
  options: { readonly stackBytes: number },
  emitUnits: (a: Assembler) => void,
  emitUnit: (a: Assembler, share: Share) => void,
): Kernel {
  const a = new Assembler();
  const share: Share = { unit: rbx, end: r15 };
  const r8 = gp(8, 64);
  for (const register of SAVED) a.emit('push', register);
  a.emit('mov', rbp, rsp);
  if (options.stackBytes > 0) {
    a.emit('sub', rsp, options.stackBytes);
    a.emit('and', rsp, -32);
  }
  a.emit('mov', r8, rdx);
  emitUnits(a);
  // unit = units * index / count, end = units * (index + 1) / count
  a.emit('mov', rcx, rax);
  a.emit('mul', rsi);
  a.emit('div', r8);
  a.emit('mov', share.unit, rax);
  a.emit('lea', rax, ptr(rsi, 1));
  a.emit('mul', rcx);
  a.emit('div', r8);
  a.emit('mov', share.end, rax);

  const done = a.label('done');
  a.emit('cmp', share.unit, share.end);
  a.emit('jae', done);
  a.align(16);
  const next = a.here('next_unit');
  emitUnit(a, share);
  a.emit('inc', share.unit);
  a.emit('cmp', share.unit, share.end);
  a.emit('jb', next);
  a.bind(done);
  a.emit('vzeroupper');
  a.emit('mov', rsp, rbp);
  for (const register of SAVED.toReversed()) a.emit('pop', register);
  a.emit('ret');
  return { name, code: a.assemble(), args };
}

/** The word `index` of `args` into a register. */
export function loadArgument(a: Assembler, register: Gp, index: number): void {
  a.emit('mov', register, ptr(rdi, 8 * index));
}

/** A vector whose bytes repeat `pattern`. */
export function loadPattern(a: Assembler, register: Vec, pattern: readonly number[]): void {
  const bytes = Uint8Array.from({ length: 32 }, (_, i) => pattern[i % pattern.length] as number);
  a.emit('vmovdqa', register, rip(a.constant(bytes)));
}
