/** Composites that have hand-scheduled kernels; all others, and uses that a row does not cover, are inlined. */
import type { CanFollow } from '../../../compiler/follow.ts';
import type { Follower } from '../../../compiler/kernel/piece.ts';
import type { OpOf } from '../../../ir/program.ts';
import type { Target } from '../target.ts';
import type { PackedValues } from '../weights.ts';
import type { CompositeKernel, CompositeLaunch } from './composite-kernel.ts';
import { drawKernels } from './draw.ts';
import { pagedAttentionKernels } from './paged-attention.ts';
import { joinedDotKernels, quantizedDotKernels } from './quantized-dot.ts';
import { quantizedTakeKernels } from './quantized-take.ts';
import { routedDotKernels } from './routed-dot.ts';
import { sampleKernels } from './sample.ts';
import { sampledDotKernels } from './sampled-dot.ts';

const rows: ReadonlyMap<string, CompositeKernel> = new Map(
  [
    ...[quantizedDotKernels, joinedDotKernels, quantizedTakeKernels, routedDotKernels],
    ...[pagedAttentionKernels, sampleKernels, sampledDotKernels, drawKernels],
  ].map((row) => [`ingot.${row.name}`, row]),
);

export function hasKernel(op: OpOf<'composite'>, packed: PackedValues): boolean {
  return rows.get(op.attributes.name)?.covers(op, packed) ?? false;
}

/** Names of composites some of whose uses are left when those without a kernel are inlined. */
export function isKernelName(name: string): boolean {
  return rows.has(name);
}

/** Whether kernels can run behind a composite with a kernel, in its launch. */
export const canFollow: CanFollow = (op, followers) =>
  rows.get(op.attributes.name)?.canFollow?.(op, followers) ?? false;

/** The launches of a composite with a kernel, and of what follows it. */
export function compositeKernels(
  op: OpOf<'composite'>,
  target: Target,
  followers: readonly Follower[],
): readonly CompositeLaunch[] {
  const row = rows.get(op.attributes.name);
  if (row === undefined) throw new Error(`${op.attributes.name} has no kernel`);
  return row.launches(op, target, followers);
}
