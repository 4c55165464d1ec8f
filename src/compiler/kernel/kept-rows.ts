/**
 * Kernels that go along a row more than once: to fold it, to fold it again with what that gave, to write what comes of both.
 * Each of these loops computes what it needs anew, but for functions that take longer than memory: of those the first loop keeps
 * a row in private memory, which the others read.
 */
import type { Op } from '../../ir/program.ts';
import { type Dim, maxDim } from '../../ir/types.ts';
import { keyOf } from './expression-key.ts';
import { constantIndex } from './index-arithmetic.ts';
import type { Axis, Expression } from './language.ts';

/** All that a kernel keeps: some of a second-level cache, and of a stack. */
export const KEPT_BYTES = 2 ** 19;

export const costly: ReadonlySet<Op['name']> = new Set([
  ...(['atan2', 'cbrt', 'cosine', 'exponential', 'exponential_minus_one', 'log', 'log_plus_one', 'logistic'] as const),
  ...(['power', 'remainder', 'rsqrt', 'sine', 'tan', 'tanh'] as const),
]);

/**
 * The dimensions along which the loops around two places go over a row of the same elements: there the indices are axes of their
 * own, that of the first place `ended`, that go through the whole dimension. Undefined where there is no such row.
 */
export function rowBetween(
  first: readonly Expression[],
  later: readonly Expression[],
  shape: readonly Dim[],
  ended: (axis: Axis) => boolean,
): readonly number[] | undefined {
  const axes = new Set<Axis>();
  const row = shape.map((_, d) => d).filter((d) => keyOf(first[d]) !== keyOf(later[d]));
  for (const d of row) {
    const [from, to] = [first[d], later[d]];
    if (from.kind !== 'axis' || to.kind !== 'axis' || !ended(from.axis)) return undefined;
    for (const { extent } of [from.axis, to.axis]) if (constantIndex(extent) !== maxDim(shape[d])) return undefined;
    axes.add(from.axis).add(to.axis);
  }
  return row.length > 0 && axes.size === 2 * row.length ? row : undefined;
}
