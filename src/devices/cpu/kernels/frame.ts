/**
 * The frame of a hand-scheduled kernel in the convention of emit/abi.ts: saves registers, takes units of work, and runs a body
 * for each. Results do not depend on the number of threads.
 *
 * Threads take ranges of units that get smaller (guided self-scheduling, Polychronopoulos and Kuck 1987): each a share of what is
 * left. So the ranges are few and long, and a thread that is slower or was interrupted delays nobody at the barrier.
 */
import type { Dim } from '../../../ir/types.ts';
import { Assembler } from '../asm/assembler.ts';
import {
  edx,
  type Gp,
  indexed,
  type Mem,
  ptr,
  r12,
  r13,
  r14,
  r15,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rip,
  rsi,
  rsp,
  sized,
  type Vec,
} from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';

export interface FrameShape<B extends string> {
  readonly name: string;
  readonly buffers: readonly B[];
  /** Tokens of a run: an argument after the buffers where they are symbolic. */
  readonly tokens: Dim;
  /** Of memory at rsp, aligned to lines of the cache. */
  readonly stackBytes: number;
  /** The share is 1 / (1 + sharing * (threads - 1)). */
  readonly sharing?: number;
}

/** What a body writes its code with. Free to it: every register but rsp, rbp, rbx and r15, and rdi once it needs no argument. */
export interface Frame<B extends string> {
  readonly a: Assembler;
  /** The number of the unit, which a body that has done the next one too moves on; and the end of the range that it is of. */
  readonly unit: Gp;
  readonly end: Gp;
  /** The word that holds the address of a buffer. */
  address(buffer: B): Mem;
  loadTokens(register: Gp): void;
}

/** The last of them, rdi, is taken back before each unit; rcx, before it, is the address of what has been taken. */
const SAVED = [rbx, rbp, r12, r13, r14, r15, rcx, rdi];

/**
 * `emitStart` runs once and leaves the number of units in rax. What it puts into vector registers, r9 to
 * r14 and nothing else is there when `emitUnit` begins. `emitEnd` takes back what it changed besides registers.
 *
 * Where units differ in size, rax is the amount of all work, and `emitUnitOf` makes of an amount in rax the number of the
 * unit that it reaches into; it may change rdx and r9 to r14.
 */
export function buildKernel<B extends string>(
  { name, buffers, tokens, stackBytes, sharing = 2 }: FrameShape<B>,
  emitStart: (frame: Frame<B>) => void,
  emitUnit: (frame: Frame<B>) => void,
  emitEnd: (frame: Frame<B>) => void = () => {},
  emitUnitOf: (frame: Frame<B>) => void = () => {},
): EmittedKernel {
  const a = new Assembler();
  const frame: Frame<B> = {
    a,
    unit: rbx,
    end: r15,
    address: (buffer) => ptr(rdi, 8 * buffers.indexOf(buffer)),
    loadTokens: (register) =>
      a.emit('mov', register, typeof tokens === 'number' ? tokens : ptr(rdi, 8 * buffers.length)),
  };
  const [unit, end] = [rbx, r15];
  const [amount, share] = [sized(ptr(rbp, -8), 64), sized(ptr(rbp, -16), 64)];
  for (const register of SAVED) a.emit('push', register);
  a.emit('mov', rbp, rsp);
  a.emit('sub', rsp, stackBytes + 16);
  a.emit('and', rsp, -64);
  // A count that is passed as 32 bits may have anything above them.
  a.emit('mov', edx, edx);
  a.emit('imul', rdx, rdx, sharing);
  a.emit('sub', rdx, sharing - 1);
  a.emit('mov', share, rdx);
  emitStart(frame);
  a.emit('mov', amount, rax);

  const [done, take, again] = [a.label('done'), a.label('take'), a.label('again')];
  a.bind(take);
  a.emit('mov', rsi, ptr(rbp, 8));
  a.emit('mov', rax, ptr(rsi));
  a.bind(again);
  // The share of what is left, rounded up, unless somebody else was faster.
  a.emit('mov', rcx, rax);
  a.emit('mov', rax, amount);
  a.emit('sub', rax, rcx);
  a.emit('jbe', done);
  a.emit('add', rax, share);
  a.emit('dec', rax);
  a.emit('xor', edx, edx);
  a.emit('div', share);
  a.emit('lea', end, indexed(rcx, rax, 1, 0));
  a.emit('mov', rax, rcx);
  a.emit('lock cmpxchg', ptr(rsi), end);
  a.emit('jne', again);
  a.emit('mov', rdi, ptr(rbp));
  emitUnitOf(frame);
  a.emit('mov', unit, rax);
  a.emit('mov', rax, end);
  emitUnitOf(frame);
  a.emit('mov', end, rax);
  a.emit('cmp', unit, end);
  a.emit('jae', take);
  a.align(16);
  const next = a.here('next_unit');
  a.emit('mov', rdi, ptr(rbp));
  emitUnit(frame);
  a.emit('inc', unit);
  a.emit('cmp', unit, end);
  a.emit('jb', next);
  a.emit('jmp', take);
  a.bind(done);
  emitEnd(frame);
  a.emit('vzeroupper');
  a.emit('mov', rsp, rbp);
  for (const register of SAVED.toReversed()) a.emit('pop', register);
  a.emit('ret');
  const code = a.assemble();
  return {
    name,
    source: a,
    bytes: code.bytes,
    alignment: code.alignment,
    args: [
      ...buffers.map((buffer) => ({ kind: 'buffer' as const, name: buffer })),
      ...(typeof tokens === 'number' ? [] : [{ kind: 'dim' as const, sym: tokens.sym }]),
    ],
    parallel: true,
    stackBytes: stackBytes + 16 + 64 + 8 * (SAVED.length + 1),
    listing: () => code.listing(),
  };
}

/** A vector whose bytes repeat `pattern`. */
export function loadPattern(a: Assembler, register: Vec, pattern: readonly number[]): void {
  const bytes = Uint8Array.from({ length: register.bits / 8 }, (_, i) => pattern[i % pattern.length] as number);
  a.emit('vmovaps', register, rip(a.constant(bytes)));
}
