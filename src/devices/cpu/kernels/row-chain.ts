/** Kernels that go along the same rows, as one: each row goes through all of them in turn while it lies in a cache. A unit of work is a row. */
import type { Dim } from '../../../ir/types.ts';
import { alignUp } from '../align.ts';
import { ptr, rax, rbp, rdi, rsp } from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { buildKernel } from './frame.ts';
import { emitIncluded, includedBytes } from './included.ts';

/** What is done to a row; its kernel knows no dimensions. */
export interface RowPart {
  readonly kernel: EmittedKernel;
  /** From a row to the next, of each buffer. */
  readonly bytes: readonly number[];
}

/** Buffers: those of its parts, one part after another. */
export function rowChainKernel(rows: Dim, parts: readonly RowPart[]): EmittedKernel {
  const buffers = parts.map(({ kernel }, part) => kernel.args.map(({ kind }, i) => `${kind}${part}.${i}`));
  const most = Math.max(...parts.map(({ kernel }) => kernel.stackBytes));
  const shape = {
    name: parts.map(({ kernel }) => kernel.name).join('_'),
    buffers: buffers.flat(),
    tokens: rows,
    stackBytes: alignUp(Math.max(...parts.map(({ kernel }) => includedBytes(kernel))), 64),
  };
  const kernel = buildKernel(
    shape,
    ({ loadTokens }) => loadTokens(rax),
    ({ a, unit, address }) => {
      for (const [part, { kernel, bytes }] of parts.entries()) {
        a.emit('mov', rdi, ptr(rbp));
        emitIncluded(a, kernel, ptr(rsp), (i) => {
          a.emit('imul', rax, unit, bytes[i] ?? 0);
          a.emit('add', rax, address(buffers[part][i]));
        });
      }
    },
  );
  return { ...kernel, stackBytes: kernel.stackBytes + most };
}
