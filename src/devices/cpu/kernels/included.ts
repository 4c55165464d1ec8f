/** A kernel within another, which the thread that is there runs alone: on a piece of its work, by what its arguments say. */
import type { Assembler } from '../asm/assembler.ts';
import { edx, esi, type Mem, offset, rax, rcx, rdi, sized } from '../asm/operands.ts';
import type { EmittedKernel } from '../emit/abi.ts';

/** Memory for its arguments. */
export const includedBytes = ({ args }: EmittedKernel): number => 8 * (args.length + 1);

/**
 * Runs the whole kernel. `block`: so much memory at a place that rsp says. `emitWord` puts the i-th word of its argument block into rax.
 * Changes the registers that a function may, and upper halves of vectors.
 */
export function emitIncluded(a: Assembler, kernel: EmittedKernel, block: Mem, emitWord: (i: number) => void): void {
  const { args, name, source } = kernel;
  const wordAt = (i: number) => sized(offset(block, 8 * i), 64);
  a.comment(name);
  for (const i of args.keys()) {
    emitWord(i);
    a.emit('mov', wordAt(i), rax);
  }
  const taken = wordAt(args.length);
  a.emit('mov', taken, 0);
  a.emit('lea', rdi, block);
  a.emit('xor', esi, esi);
  a.emit('mov', edx, 1);
  a.emit('lea', rcx, taken);
  a.include(source);
}
