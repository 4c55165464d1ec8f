/** What tests and the benchmark of the CPU device share: small kernels, and what Linux tells of this process. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Assembler } from '../../src/devices/cpu/asm/assembler.ts';
import {
  eax,
  ecx,
  edx,
  esi,
  indexed,
  ptr,
  rax,
  rcx,
  rdi,
  rdx,
  rsi,
  sized,
} from '../../src/devices/cpu/asm/operands.ts';
import { sharedCode } from '../../src/devices/cpu/machine-code.ts';

function kernel(write: (a: Assembler) => void): Uint8Array {
  const a = new Assembler();
  write(a);
  a.emit('ret');
  return sharedCode(a, process.arch === 'arm64' ? 'arm64' : 'x64').bytes;
}

/** What they do with (arguments, thread index, thread count). */
export const testKernels = {
  nothing: kernel(() => {}),
  /** u32 arguments[index]++ */
  count: kernel((a) => a.emit('inc', sized(indexed(rdi, rsi, 4), 32))),
  /** With `count` before and a barrier between: u32 arguments[128 + index] += the sum of all arguments[0 .. count]. */
  sum: kernel((a) => {
    a.emit('xor', eax, eax);
    const again = a.here();
    a.emit('dec', edx);
    a.emit('add', eax, indexed(rdi, rdx, 4));
    a.emit('test', edx, edx);
    a.emit('jnz', again);
    a.emit('add', indexed(rdi, rsi, 4, 4 * 128), eax);
  }),
  /** Thread 0 does not return before the word at `arguments` is not 0. */
  untilSetOne: kernel((a) => {
    const done = a.label();
    a.emit('test', esi, esi);
    a.emit('jnz', done);
    const again = a.here();
    a.emit('cmp', sized(ptr(rdi), 32), 0);
    a.emit('jne', done);
    a.emit('pause');
    a.emit('jmp', again);
    a.bind(done);
  }),
  /** u32 arguments[0] = 1 */
  set: kernel((a) => a.emit('mov', sized(ptr(rdi), 32), 1)),
  /** Every thread turns u32 arguments[0] times. */
  spin: kernel((a) => {
    a.emit('mov', ecx, ptr(rdi));
    const again = a.here();
    a.emit('dec', ecx);
    a.emit('jnz', again);
  }),
  /** Does not return before the word at `arguments` is not 0. */
  untilSet: kernel((a) => {
    const again = a.here();
    const done = a.label();
    a.emit('cmp', sized(ptr(rdi), 32), 0);
    a.emit('jne', done);
    a.emit('pause');
    a.emit('jmp', again);
    a.bind(done);
  }),
  /** u64 arguments[index] = time stamp counter */
  clock: kernel((a) => {
    a.emit('mov', ecx, esi);
    a.emit('rdtsc');
    a.emit('shl', rdx, 32);
    a.emit('or', rax, rdx);
    a.emit('mov', indexed(rdi, rcx, 8), rax);
  }),
};

/** Lines of /proc/self/maps: first and last address, access. */
export function mappings(): { start: number; end: number; access: string }[] {
  return readFileSync('/proc/self/maps', 'utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const [, start, end, access] = /^(\w+)-(\w+) (\S+)/.exec(line) ?? assert.fail(line);
      return { start: Number.parseInt(start, 16), end: Number.parseInt(end, 16), access };
    });
}

/** How an address may be used: 'rw-p', 'r-xp', '---p', or undefined where nothing is mapped. */
export function accessAt(address: number): string | undefined {
  return mappings().find(({ start, end }) => start <= address && address < end)?.access;
}

/** A number of /proc/self/status. */
export function processStatus(name: 'VmRSS' | 'VmLck' | 'VmSize' | 'Threads'): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
}
