/**
 * The few functions that every system needs as machine code: CPUID and XGETBV, and waiting on a word, which other machine
 * code calls too.
 */
import { Assembler } from '../asm/assembler.ts';
import { eax, ebx, ecx, edi, edx, esi, ptr, r8, r10, rax, rbx, rcx, rdi, rdx, rsp } from '../asm/operands.ts';
import type { CpuidSource } from './cpuid.ts';
import { mapCode, mapMemory, type Pages } from './mapping.ts';
import type { Futex, NativeFunction } from './os.ts';

/**
 * Bodies of `void wait(address, u32 expected, u32 microseconds)`, `void wake(address)`, `void yield()` and, where there is one,
 * `i64 read(descriptor, address, bytes, offset)` for one system, with their `ret`.
 */
export interface SystemCode {
  wait(a: Assembler): void;
  wake(a: Assembler): void;
  yield(a: Assembler): void;
  read?(a: Assembler): void;
}

/** What every architecture has. */
export interface Stubs {
  readonly futex: Futex;
  readonly yield: number;
  readonly read?: number;
  /** A word of 64 bits at an address. */
  readonly load: NativeFunction;
  readonly wait: NativeFunction;
  readonly wake: NativeFunction;
}

/** Lives as long as the thread: other code keeps the addresses. */
export function mapStubs(pages: Pages, calls: SystemCode): Stubs & { readonly cpuid: CpuidSource } {
  const a = new Assembler();
  const cpuidAt = a.here('cpuid');
  a.emit('push', rbx);
  a.emit('mov', eax, edi);
  a.emit('mov', ecx, esi);
  a.emit('mov', r8, rdx);
  a.emit('cpuid');
  for (const [index, register] of [eax, ebx, ecx, edx].entries()) a.emit('mov', ptr(r8, 4 * index), register);
  a.emit('pop', rbx);
  a.emit('ret');
  const xgetbvAt = a.here('xgetbv');
  a.emit('xor', ecx, ecx);
  a.emit('xgetbv');
  a.emit('ret');
  a.align(16);
  const waitAt = a.here('wait');
  calls.wait(a);
  a.align(16);
  const wakeAt = a.here('wake');
  calls.wake(a);

  a.align(16);
  const yieldAt = a.here('yield');
  calls.yield(a);
  a.align(16);
  const readAt = a.here('read');
  calls.read?.(a);
  a.align(16);
  const loadAt = a.here('load');
  a.emit('mov', rax, ptr(rdi));
  a.emit('ret');

  const assembled = a.assemble();
  const code = mapCode(pages, assembled.bytes);
  const registers = mapMemory(pages, 16);
  const words = new Int32Array(registers.bytes().buffer);
  const [cpuidOffset, xgetbvOffset, waitOffset, wakeOffset] = [cpuidAt, xgetbvAt, waitAt, wakeAt].map((label) =>
    assembled.offsetOf(label),
  );
  const cpuid = code.callable(cpuidOffset, { takes: ['u32', 'u32', 'address'], returns: 'void' });
  return {
    cpuid: {
      cpuid(leaf, subleaf) {
        cpuid(leaf, subleaf, registers.address);
        const [eax, ebx, ecx, edx] = words;
        return { eax, ebx, ecx, edx };
      },
      xgetbv: code.callable(xgetbvOffset, { takes: [], returns: 'i32' }),
    },
    futex: { wait: code.address + waitOffset, wake: code.address + wakeOffset },
    yield: code.address + assembled.offsetOf(yieldAt),
    ...(calls.read && { read: code.address + assembled.offsetOf(readAt) }),
    load: code.callable(assembled.offsetOf(loadAt), { takes: ['address'], returns: 'i64' }),
    wait: code.callable(waitOffset, { takes: ['address', 'u32', 'u32'], returns: 'void' }),
    wake: code.callable(wakeOffset, { takes: ['address'], returns: 'void' }),
  };
}

const SYS_PREAD64 = 17;
const SYS_FUTEX = 202;
const SYS_SCHED_YIELD = 24;
const FUTEX_WAIT_PRIVATE = 128;
const FUTEX_WAKE_PRIVATE = 129;

/** futex(2), sched_yield(2) and pread(2), by the instruction that the C library would use. */
export const linuxCalls: SystemCode = {
  wait(a) {
    a.emit('sub', rsp, 24); // a struct timespec
    a.emit('mov', eax, edx);
    a.emit('xor', edx, edx);
    a.emit('mov', ecx, 1e6);
    a.emit('div', ecx);
    a.emit('imul', edx, edx, 1000);
    a.emit('mov', ptr(rsp), rax);
    a.emit('mov', ptr(rsp, 8), rdx);
    a.emit('mov', edx, esi);
    a.emit('mov', esi, FUTEX_WAIT_PRIVATE);
    a.emit('mov', r10, rsp);
    a.emit('mov', eax, SYS_FUTEX);
    a.emit('syscall');
    a.emit('add', rsp, 24);
    a.emit('ret');
  },
  wake(a) {
    a.emit('mov', esi, FUTEX_WAKE_PRIVATE);
    a.emit('mov', edx, 0x7fffffff);
    a.emit('mov', eax, SYS_FUTEX);
    a.emit('syscall');
    a.emit('ret');
  },
  yield(a) {
    a.emit('mov', eax, SYS_SCHED_YIELD);
    a.emit('syscall');
    a.emit('ret');
  },
  read(a) {
    a.emit('mov', r10, rcx);
    a.emit('mov', eax, SYS_PREAD64);
    a.emit('syscall');
    a.emit('ret');
  },
};
