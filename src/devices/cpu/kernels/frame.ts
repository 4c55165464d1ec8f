/**
 * The frame of a hand-scheduled kernel in the convention of emit/abi.ts: saves registers, divides units of work into
 * contiguous ranges, one a thread, and runs a body for each unit. Results do not depend on the number of threads.
 */
import type { Dim } from '../../../ir/types.ts';
import { Assembler } from '../asm/assembler.ts';
import {
  edx,
  esi,
  type Gp,
  type Mem,
  ptr,
  r8,
  r8d,
  r12,
  r13,
  r14,
  r15,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rip,
  rsi,
  rsp,
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
}

/** What a body writes its code with. Free to it: every register but rsp, rbp, rbx and r15, and rdi once it needs no argument. */
export interface Frame<B extends string> {
  readonly a: Assembler;
  /** The number of the unit. */
  readonly unit: Gp;
  /** The word that holds the address of a buffer. */
  address(buffer: B): Mem;
  loadTokens(register: Gp): void;
}

/** The last of them, rdi, is taken back before each unit. */
const SAVED = [rbx, rbp, r12, r13, r14, r15, rdi];

/**
 * `emitStart` runs once and leaves the number of units in rax; it keeps rsi and r8. What it puts into vector registers, r9 to
 * r14 and nothing else is there when `emitUnit` begins. `emitEnd` takes back what it changed besides registers.
 *
 * Where units differ in size, rax is the amount of all work, and `emitUnitOf` makes of an amount in rax the number of the
 * unit that it reaches into; it may change rdx and r9 to r14.
 */
export function buildKernel<B extends string>(
  { name, buffers, tokens, stackBytes }: FrameShape<B>,
  emitStart: (frame: Frame<B>) => void,
  emitUnit: (frame: Frame<B>) => void,
  emitEnd: (frame: Frame<B>) => void = () => {},
  emitUnitOf: (frame: Frame<B>) => void = () => {},
): EmittedKernel {
  const a = new Assembler();
  const frame: Frame<B> = {
    a,
    unit: rbx,
    address: (buffer) => ptr(rdi, 8 * buffers.indexOf(buffer)),
    loadTokens: (register) =>
      a.emit('mov', register, typeof tokens === 'number' ? tokens : ptr(rdi, 8 * buffers.length)),
  };
  const [unit, end] = [rbx, r15];
  for (const register of SAVED) a.emit('push', register);
  a.emit('mov', rbp, rsp);
  a.emit('sub', rsp, stackBytes);
  a.emit('and', rsp, -64);
  // An index and a count that are passed as 32 bits may have anything above them.
  a.emit('mov', esi, esi);
  a.emit('mov', r8d, edx);
  emitStart(frame);
  // unit = units * index / count, end = units * (index + 1) / count
  a.emit('mov', rcx, rax);
  a.emit('mul', rsi);
  a.emit('div', r8);
  emitUnitOf(frame);
  a.emit('mov', unit, rax);
  a.emit('lea', rax, ptr(rsi, 1));
  a.emit('mul', rcx);
  a.emit('div', r8);
  emitUnitOf(frame);
  a.emit('mov', end, rax);

  const done = a.label('done');
  a.emit('cmp', unit, end);
  a.emit('jae', done);
  a.align(16);
  const next = a.here('next_unit');
  a.emit('mov', rdi, ptr(rbp));
  emitUnit(frame);
  a.emit('inc', unit);
  a.emit('cmp', unit, end);
  a.emit('jb', next);
  a.bind(done);
  emitEnd(frame);
  a.emit('vzeroupper');
  a.emit('mov', rsp, rbp);
  for (const register of SAVED.toReversed()) a.emit('pop', register);
  a.emit('ret');
  const code = a.assemble();
  return {
    name,
    bytes: code.bytes,
    alignment: code.alignment,
    args: [
      ...buffers.map((buffer) => ({ kind: 'buffer' as const, name: buffer })),
      ...(typeof tokens === 'number' ? [] : [{ kind: 'dim' as const, sym: tokens.sym }]),
    ],
    parallel: true,
    stackBytes: stackBytes + 64 + 8 * (SAVED.length + 1),
    listing: () => code.listing(),
  };
}

/** A vector whose bytes repeat `pattern`. */
export function loadPattern(a: Assembler, register: Vec, pattern: readonly number[]): void {
  const bytes = Uint8Array.from({ length: register.bits / 8 }, (_, i) => pattern[i % pattern.length] as number);
  a.emit('vmovaps', register, rip(a.constant(bytes)));
}
