/**
 * Rows of a file straight to panels: each thread reads some into memory on its stack, which stays in its own cache, and has them
 * packed from there by the kernel of pack-rows.ts.
 */
import { edx, esi, type Mem, ptr, r9, r12, r13, r14, rax, rbp, rcx, rdi, rdx, rsi, rsp } from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { buildKernel } from './frame.ts';
import { bytesOfRow } from './pack-rows.ts';
import { type PackedFormat, panelBytes, panelRows } from './packing.ts';

/** Half of what a core of a current processor has in its second cache. */
const sliceBytes = 256 << 10;
/** Of rows so long a panel's do not fit on the stack of a thread. */
const longestSlice = 2 << 20;

/** Rows of a run: the argument after the words. */
const rows = { sym: 'T', max: 2 ** 31 - 1 } as const;

/**
 * Its words: functions as `OperatingSystem.read` and as pack-rows.ts makes them, a file, where the rows begin in it, where their panels
 * begin, and the address of a word for what `read` returned less one where it was not above 0.
 */
const words = ['read', 'pack', 'descriptor', 'offset', 'panels', 'failure'] as const;

/** `stride`: bytes from a row to the next one. */
export function canReadRows(stride: number): boolean {
  return panelRows * stride <= longestSlice;
}

/** What `readRowsKernel` leaves behind a read that failed, as what was returned. */
export const failureOf = (word: bigint) => Number(word + 1n);

/** Of `read`: a signal came. */
const EINTR = 4;

/** `void read(words, rows)`: lanes of a last panel that the rows do not fill stay as they are. What lies between rows is read with them. */
export function readRowsKernel(format: PackedFormat, K: number, stride: number): EmittedKernel {
  const between = stride - bytesOfRow(format, K);
  const panels = Math.max(1, Math.floor(sliceBytes / (panelRows * stride)));
  const sliceRows = panels * panelRows;
  const bufferBytes = Math.ceil((sliceRows * stride) / 64) * 64;
  // Behind the buffer: what the packing kernel gets, and how many of its units are taken.
  const local = (i: number): Mem => ptr(rsp, bufferBytes + 8 * i);
  return buildKernel(
    { name: `read_${format}_${K}`, buffers: words, tokens: rows, stackBytes: bufferBytes + 64 },
    ({ a, loadTokens }) => {
      loadTokens(rax);
      a.emit('add', rax, sliceRows - 1);
      a.emit('xor', edx, edx);
      a.emit('mov', rcx, sliceRows);
      a.emit('div', rcx);
    },
    ({ a, unit, end, address, loadTokens }) => {
      const word = (name: (typeof words)[number], register: typeof rax | typeof rdi | typeof r9) => {
        a.emit('mov', r9, ptr(rbp));
        a.emit('mov', register, ptr(r9, 8 * words.indexOf(name)));
      };
      loadTokens(r12);
      a.emit('imul', rax, unit, sliceRows);
      a.emit('sub', r12, rax);
      a.emit('mov', rcx, sliceRows);
      a.emit('cmp', r12, rcx);
      a.emit('cmova', r12, rcx);
      a.emit('mov', local(0), rsp);
      a.emit('imul', rax, unit, panels * panelBytes(format, K));
      a.emit('add', rax, address('panels'));
      a.emit('mov', local(1), rax);
      a.emit('mov', local(2), r12);
      a.emit('xor', esi, esi);
      a.emit('mov', local(3), rsi);
      // Bytes that are left, where they are in the file, where they go.
      a.emit('imul', r13, r12, stride);
      if (between > 0) a.emit('sub', r13, between);
      a.emit('imul', r14, unit, sliceRows * stride);
      a.emit('add', r14, address('offset'));
      a.emit('mov', r12, rsp);
      const [failed, next] = [a.label('failed'), a.label('next')];
      const fill = a.here('fill');
      word('descriptor', rdi);
      word('read', rax);
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
      word('pack', rax);
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
      word('failure', r9);
      a.emit('mov', ptr(r9), rax);
      a.emit('lea', unit, ptr(end, -1));
      a.bind(next);
    },
  );
}
