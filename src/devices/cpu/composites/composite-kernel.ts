/** What a composite with hand-scheduled kernels says of itself, a row of table.ts. */
import { IngotError } from '../../../base/errors.ts';
import type { Cost } from '../../../compiler/cost.ts';
import type { CanFollow } from '../../../compiler/follow.ts';
import type { Follower } from '../../../compiler/kernel/piece.ts';
import type { OpOf, Value } from '../../../ir/program.ts';
import { asTensor, type Dim, type DimSymbol } from '../../../ir/types.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import type { RunFacts } from '../profile.ts';
import type { Target } from '../target.ts';
import type { PackedValues } from '../weights.ts';

/** A buffer of a launch: memory of a value, scratch of the composite from an offset, or the i-th buffer of what follows. */
export type CompositeBuffer =
  | { readonly value: Value }
  | { readonly scratch: number }
  | { readonly follower: number; readonly i: number };

export interface CompositeLaunch {
  /** Equal for equal kernels. */
  readonly key: string;
  kernel(): EmittedKernel;
  readonly buffers: readonly CompositeBuffer[];
  readonly dims: readonly DimSymbol[];
  /** Memory that the launches of one composite share. */
  readonly scratchBytes: number;
  /** What it leaves in these bytes of scratch depends on these values alone, and the composite's other launches only read it. */
  readonly prepares?: { readonly of: readonly Value[]; readonly from: number; readonly to: number };
  /** What it does to a row of its buffers, each on its own: bytes from a row to the next in each, and the kernel for the first. */
  readonly row?: { readonly tokens: Dim; readonly bytes: readonly number[]; kernel(): EmittedKernel };
  cost(run: RunFacts): Cost;
}

export interface CompositeKernel {
  readonly name: string;
  /** Whether there is a kernel for this use; any other is inlined. */
  covers(op: OpOf<'composite'>, packed: PackedValues): boolean;
  /** Whether these can run behind it, in its last launch. */
  canFollow?: CanFollow;
  /** One after the other. */
  launches(op: OpOf<'composite'>, target: Target, followers: readonly Follower[]): readonly CompositeLaunch[];
}

/** Rows of a value whose last dimension makes one. */
export function rowsOf(value: Value): Dim {
  const rows = asTensor(value.type).shape.slice(0, -1);
  if (rows.length === 1) return rows[0];
  return rows.reduce<number>((product, dim) => {
    if (typeof dim !== 'number') throw new IngotError('UnsupportedOp', 'rows of a symbolic and other dimensions');
    return product * dim;
  }, 1);
}

export function dimsOf(tokens: Dim): readonly DimSymbol[] {
  return typeof tokens === 'number' ? [] : [tokens.sym];
}
