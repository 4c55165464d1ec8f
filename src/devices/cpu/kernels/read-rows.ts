/**
 * Rows of files straight to panels: each thread reads a slice of some rows into memory on its stack, which stays in its own cache, and has
 * it packed from there by the kernel of pack-rows.ts. Slices of any weights are one launch, so that no thread waits for another
 * between them.
 */
import {
  eax,
  edx,
  esi,
  type Mem,
  ptr,
  r9,
  r12,
  r13,
  r14,
  rax,
  rbp,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  sized,
} from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { buildKernel } from './frame.ts';
import { panelRows } from './packing.ts';

/** Half of what a core of a current processor has in its second cache. */
const sliceBytes = 256 << 10;
/** Of rows so long a panel's do not fit on the stack of a thread. */
const longestSlice = 2 << 20;

/** `stride`: bytes from a row to the next one. */
export function canReadRows(stride: number): boolean {
  return panelRows * stride <= longestSlice;
}

/** Whole panels. */
export function rowsOfSlice(stride: number): number {
  return panelRows * Math.max(1, Math.floor(sliceBytes / (panelRows * stride)));
}

/**
 * Words of a slice: the function that pack-rows.ts makes; the file, where the slice begins in it, its bytes; where its panels go, and its rows. The
 * last is for what `read` returned less one, where it was not above 0.
 */
export const slice = { words: 8, pack: 0, descriptor: 1, offset: 2, bytes: 3, panels: 4, rows: 5, failure: 6 } as const;

/** What a failed read returned. */
export const failureOf = (word: bigint) => Number(word + 1n);

/** A function as `OperatingSystem.read`, slices, and a word: whoever writes 1 there ends the work before the next slice. */
const buffers = ['read', 'slices', 'stop'] as const;

/** Slices of a run: the argument after the buffers. */
const slices = { sym: 'T', max: 2 ** 31 - 1 } as const;

/** Of `read`: a signal came. */
const EINTR = 4;

/** `void read(read, slices, stop, count)`: lanes of a last panel that the rows do not fill stay as they are. */
export function readRowsKernel(): EmittedKernel {
  // Behind the buffer: what the packing kernel gets, and how many of its units are taken; the slice.
  const local = (i: number): Mem => ptr(rsp, longestSlice + 8 * i);
  const of = (word: Exclude<keyof typeof slice, 'words'>): Mem => ptr(r9, 8 * slice[word]);
  return buildKernel(
    { name: 'read_rows', buffers, tokens: slices, stackBytes: longestSlice + 64 },
    ({ loadTokens }) => loadTokens(rax),
    ({ a, unit, end, address }) => {
      const [leave, failed, next] = [a.label('leave'), a.label('failed'), a.label('next')];
      a.emit('mov', rax, address('stop'));
      a.emit('cmp', sized(ptr(rax), 64), 0);
      a.emit('jne', leave);
      a.emit('imul', r9, unit, 8 * slice.words);
      a.emit('add', r9, address('slices'));
      a.emit('mov', local(0), rsp);
      a.emit('mov', rax, of('panels'));
      a.emit('mov', local(1), rax);
      a.emit('mov', rax, of('rows'));
      a.emit('mov', local(2), rax);
      a.emit('xor', esi, esi);
      a.emit('mov', local(3), rsi);
      a.emit('mov', local(4), r9);
      // Bytes that are left, where they are in the file, where they go.
      a.emit('mov', r13, of('bytes'));
      a.emit('mov', r14, of('offset'));
      a.emit('mov', r12, rsp);
      const fill = a.here('fill');
      a.emit('mov', r9, local(4));
      a.emit('mov', rdi, of('descriptor'));
      a.emit('mov', rax, ptr(rbp));
      a.emit('mov', rax, ptr(rax, 8 * buffers.indexOf('read')));
      a.emit('mov', rsi, r12);
      a.emit('mov', rdx, r13);
      a.emit('mov', rcx, r14);
      a.emit('call', rax);
      a.emit('cmp', rax, 0);
      a.emit('jle', failed);
      a.emit('add', r12, rax);
      a.emit('add', r14, rax);
      a.emit('sub', r13, rax);
      a.emit('jne', fill);
      a.emit('mov', r9, local(4));
      a.emit('mov', rax, of('pack'));
      a.emit('lea', rdi, local(0));
      a.emit('xor', esi, esi);
      a.emit('mov', edx, 1);
      a.emit('lea', rcx, local(3));
      a.emit('call', rax);
      a.emit('jmp', next);
      a.bind(failed);
      a.emit('cmp', rax, -EINTR);
      a.emit('je', fill);
      a.emit('dec', rax);
      a.emit('mov', r9, local(4));
      a.emit('mov', of('failure'), rax);
      a.emit('mov', rdi, ptr(rbp));
      a.emit('mov', rdi, address('stop'));
      a.emit('mov', eax, 1);
      a.emit('mov', ptr(rdi), rax);
      a.bind(leave);
      a.emit('lea', unit, ptr(end, -1));
      a.bind(next);
    },
  );
}
