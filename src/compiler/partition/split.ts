/**
 * Where the elements of a dimension lie: for each rank along some axes the ranges that it has, in order. Ranks may have
 * unlike shares, several ranges (the queries, keys and values of one matrix), or some elements in common (heads of keys).
 */
import type { BinaryOp } from '../../ir/attributes.ts';
import { indexAlong, type Mesh } from '../../ir/mesh.ts';
import type { Value } from '../../ir/program.ts';
import { type Dim, type TensorType, tensor } from '../../ir/types.ts';

export interface Range {
  readonly start: number;
  readonly limit: number;
}

export interface Split {
  readonly axes: readonly string[];
  /** One for each rank along the axes. */
  readonly parts: readonly (readonly Range[])[];
  /** Equal for equal splits. */
  readonly key: string;
  /** No element lies on two ranks. */
  readonly disjoint: boolean;
  /** Every rank has one range. */
  readonly contiguous: boolean;
}

/** Undefined where some rank would have nothing. Ranges that touch become one. */
export function splitOf(axes: readonly string[], parts: readonly (readonly Range[])[]): Split | undefined {
  const merged = parts.map(mergeRanges);
  if (merged.some((ranges) => ranges.length === 0)) return undefined;
  const all = merged.flat().toSorted((a, b) => a.start - b.start);
  return {
    axes,
    parts: merged,
    key: `${axes.join('+')}:${merged.map((ranges) => ranges.map(({ start, limit }) => `${start}-${limit}`).join()).join('/')}`,
    disjoint: all.every(({ start }, i) => i === 0 || all[i - 1].limit <= start),
    contiguous: merged.every((ranges) => ranges.length === 1),
  };
}

function mergeRanges(ranges: readonly Range[]): readonly Range[] {
  const merged: Range[] = [];
  for (const range of ranges) {
    if (range.start === range.limit) continue;
    const last = merged.at(-1);
    if (last?.limit === range.start) merged[merged.length - 1] = { start: last.start, limit: range.limit };
    else merged.push(range);
  }
  return merged;
}

export function rangesSize(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { start, limit }) => sum + limit - start, 0);
}

/** Elements of the rank that has most. */
export function largestPart({ parts }: Split): number {
  return Math.max(...parts.map(rangesSize));
}

const scaledSplits = new WeakMap<Split, Map<string, Split | undefined>>();

/** The same proportions of a dimension of `to` elements instead of `from`; undefined where that cuts an element. */
export function scaleSplit(split: Split, from: number, to: number): Split | undefined {
  const known = scaledSplits.get(split) ?? new Map<string, Split | undefined>();
  scaledSplits.set(split, known);
  const key = `${from} ${to}`;
  if (!known.has(key)) known.set(key, scaled(split, from, to));
  return known.get(key);
}

function scaled({ axes, parts }: Split, from: number, to: number): Split | undefined {
  const ranges = parts.map((each) =>
    each.map(({ start, limit }) => ({ start: (start * to) / from, limit: (limit * to) / from })),
  );
  const whole = ranges.flat().every(({ start, limit }) => Number.isInteger(start) && Number.isInteger(limit));
  return whole ? splitOf(axes, ranges) : undefined;
}

/**
 * Of a dimension with fewer elements than the split one, each of which belongs to `from / to` of them: those that the ranks
 * need. Undefined where a rank would need parts of several.
 */
export function coverSplit({ axes, parts }: Split, from: number, to: number): Split | undefined {
  const group = from / to;
  const covered = parts.map((ranges) =>
    ranges.map(({ start, limit }) => ({ start: Math.floor(start / group), limit: Math.ceil(limit / group) })),
  );
  const fits = parts.every((ranges, i) =>
    ranges.every(({ start, limit }, j) => {
      const { start: first, limit: end } = covered[i][j];
      return end - first === 1 || (first * group === start && end * group === limit);
    }),
  );
  return Number.isInteger(group) && fits ? splitOf(axes, covered) : undefined;
}

/** Of the elements from `start` to `limit`, counted from there. */
export function windowSplit({ axes, parts }: Split, start: number, limit: number): Split | undefined {
  const inside = (at: number) => Math.min(Math.max(at, start), limit) - start;
  return splitOf(
    axes,
    parts.map((ranges) => ranges.map((range) => ({ start: inside(range.start), limit: inside(range.limit) }))),
  );
}

/** Of dimensions one after another, split over the same axes. */
export function joinSplits(splits: readonly Split[], sizes: readonly number[]): Split | undefined {
  const offsets = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0));
  return splitOf(
    splits[0].axes,
    splits[0].parts.map((_, p) =>
      splits.flatMap(({ parts }, i) =>
        parts[p].map(({ start, limit }) => ({ start: start + offsets[i], limit: limit + offsets[i] })),
      ),
    ),
  );
}

/** Parts of a result that ranks along some axes have, to be folded. */
export interface Partial {
  readonly axes: readonly string[];
  readonly by: BinaryOp;
}

/** How a value lies on the mesh; undefined for a dimension that every rank has whole. */
export interface Layout {
  readonly splits: readonly (Split | undefined)[];
  readonly partial?: Partial;
}

/** For each dimension of a value; none of what is no tensor. */
export function splitsOf({ type }: Value, split: (d: number) => Split | undefined): Layout['splits'] {
  return type.kind === 'tensor' ? type.shape.map((_, d) => split(d)) : [];
}

export function wholeSplits(value: Value): Layout['splits'] {
  return splitsOf(value, () => undefined);
}

export function layoutKey({ splits, partial }: Layout): string {
  const fold = partial === undefined ? '' : ` ${partial.by} over ${partial.axes.join('+')}`;
  return splits.map((split) => split?.key ?? '').join(';') + fold;
}

/** One rank of a mesh. */
export class Place {
  readonly mesh: Mesh;
  readonly rank: number;

  constructor(mesh: Mesh, rank: number) {
    this.mesh = mesh;
    this.rank = rank;
  }

  index(axes: readonly string[]): number {
    return indexAlong(this.mesh, axes, this.rank);
  }

  ranges({ axes, parts }: Split): readonly Range[] {
    return parts[this.index(axes)];
  }

  /** What the rank has of a value. */
  localType({ element, shape }: TensorType, { splits }: Layout): TensorType {
    return tensor(
      element,
      shape.map((dim, d): Dim => {
        const split = splits[d];
        return split === undefined ? dim : rangesSize(this.ranges(split));
      }),
    );
  }
}
