/**
 * How an emitted kernel is called: what the thread team and the launch list put before it.
 *
 *   void kernel(const uint64_t* args, uint64_t threadIndex, uint64_t threadCount, uint64_t* taken)   (System V ABI for AMD64)
 *
 * - `args` holds the addresses of the kernel's buffers, in its order, then the values of its dims, in its order. A buffer
 *   is aligned to its element; the code touches nothing outside of the elements that the kernel names.
 * - Every thread of a team calls it with its own index, 0 <= threadIndex < threadCount. The iterations of the parallel
 *   loops at the top (or of a vector loop that stands there alone), flattened in row-major order, are divided into
 *   contiguous ranges in the order of thread indices; what stands before them is run by each thread. A kernel without them runs on thread 0; the others return at once.
 * - Hand-scheduled kernels take their work piece by piece (kernels/frame.ts): `*taken` says how much of it is taken, is 0 when
 *   a launch begins, and is shared by its calls. Whoever comes first does more.
 * - Results do not depend on threadCount. Calls for different indices may run at the same time or one after the other.
 *   A buffer of access `scratch` is shared by all threads.
 * - MXCSR holds its default (nearest even, subnormals kept, exceptions masked). The upper halves of vector registers are
 *   clean on return. The stack grows by `stackBytes` at most.
 */
import type { DimSymbol } from '../../../ir/types.ts';
import type { Assembler } from '../asm/assembler.ts';

/** One word of the argument block. */
export type Argument =
  | { readonly kind: 'buffer'; readonly name: string }
  | { readonly kind: 'dim'; readonly sym: DimSymbol };

export interface EmittedKernel {
  readonly name: string;
  /** What `bytes` were made of; other architectures make theirs of it (machine-code.ts). */
  readonly source: Assembler;
  /** Position-independent; its entry is the first byte, constants follow the code. */
  readonly bytes: Uint8Array;
  /** The address of `bytes` must be a multiple of this. */
  readonly alignment: number;
  readonly args: readonly Argument[];
  /** False: only thread 0 does anything. */
  readonly parallel: boolean;
  readonly stackBytes: number;
  /** Offset, bytes and text of every instruction between the statements they come from. */
  listing(): string;
}
