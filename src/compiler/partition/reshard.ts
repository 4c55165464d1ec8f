/** Moves data between ranks: from the layout that a value has to one that is wanted, with the collective that moves least. */
import type { BinaryOp } from '../../ir/attributes.ts';
import type { Builder } from '../../ir/build.ts';
import { groupsAlong } from '../../ir/mesh.ts';
import type { Value } from '../../ir/program.ts';
import { asTensor, type Dim, type TensorType, tensor } from '../../ir/types.ts';
import { type Layout, largestPart, type Partial, type Place, rangesSize, type Split } from './split.ts';

type Splits = Layout['splits'];

/** `value` is what the rank has of one of type `whole`, as `from` says; the result is what it has as `to` says. */
export function reshard(b: Builder, place: Place, value: Value, whole: TensorType, from: Layout, to: Splits): Value {
  let current = value;
  let splits = from.splits;
  const scattered = scatteredDim(from, to);
  if (from.partial !== undefined && scattered !== undefined) {
    current = reduceScatter(b, place, value, from.partial, scattered, to[scattered]);
    splits = splits.map((split, d) => (d === scattered ? to[d] : split));
  } else if (from.partial !== undefined) [current] = allReduce(b, place, [value], from.partial);
  const swap = swapped(splits, to);
  if (swap !== undefined) {
    current = allToAll(b, place, current, swap);
    splits = splits.map((split, d) => (d === swap.concat || d === swap.split ? to[d] : split));
  }
  splits.forEach((split, d) => {
    if (split !== undefined && split.key !== to[d]?.key) {
      current = allGather(b, place, current, split, d, Number(whole.shape[d]));
    }
  });
  to.forEach((split, d) => {
    if (split === undefined || split.key === splits[d]?.key) return;
    const ranges = place.ranges(split);
    const input = current;
    current = b.concatenate(
      ranges.map(({ start, limit }) => b.slice(input, d, start, limit)),
      d,
    );
  });
  return current;
}

/** A dimension over which parts can be folded where each rank then has only its own of the result. */
export function scatteredDim({ splits, partial }: Layout, to: Splits): number | undefined {
  const axes = partial?.axes.join();
  const d = to.findIndex(
    (split, i) => split !== undefined && splits[i] === undefined && isEven(split) && split.axes.join() === axes,
  );
  return d < 0 ? undefined : d;
}

/** Values of one element type, folded in one meeting of the ranks. */
export function allReduce(b: Builder, place: Place, values: readonly Value[], { axes, by }: Partial): readonly Value[] {
  const regions = [foldRegion(b, by, asTensor(values[0].type))];
  return b.op('all_reduce', values, grouping(place, axes), { regions });
}

function reduceScatter(
  b: Builder,
  place: Place,
  value: Value,
  { axes, by }: Partial,
  d: number,
  split: Split | undefined,
): Value {
  const { element, shape } = asTensor(value.type);
  const own = shape.map((dim, i): Dim => (i === d ? ownSize(place, split) : dim));
  return b.op(
    'reduce_scatter',
    [value],
    { ...grouping(place, axes), scatter_dimension: d },
    { regions: [foldRegion(b, by, asTensor(value.type))], types: [tensor(element, own)] },
  )[0];
}

export function foldRegion(b: Builder, by: BinaryOp, { element }: TensorType) {
  return b.region([tensor(element), tensor(element)], (inner, l, r) => [inner.binary(by, l, r)]);
}

function ownSize(place: Place, split: Split | undefined): number {
  return split === undefined ? 0 : rangesSize(place.ranges(split));
}

/** Ranks have parts of one size, one after another. */
function isEven({ parts, contiguous, disjoint }: Split): boolean {
  const size = rangesSize(parts[0]);
  return contiguous && disjoint && parts.every(([{ start, limit }], i) => start === i * size && limit - start === size);
}

interface Swap {
  readonly concat: number;
  readonly split: number;
  readonly axes: readonly string[];
}

/** A dimension that becomes whole while another is split over the same axes. */
function swapped(from: Splits, to: Splits): Swap | undefined {
  for (const [concat, split] of from.entries()) {
    if (split === undefined || to[concat] !== undefined || !isEven(split)) continue;
    const d = to.findIndex(
      (other, i) =>
        other !== undefined && from[i] === undefined && isEven(other) && other.axes.join() === split.axes.join(),
    );
    if (d >= 0) return { concat, split: d, axes: split.axes };
  }
  return undefined;
}

function allToAll(b: Builder, place: Place, value: Value, { concat, split, axes }: Swap): Value {
  const { replica_groups, channel_id } = grouping(place, axes);
  return b.op('all_to_all', [value], {
    ...{ replica_groups, channel_id },
    split_dimension: split,
    concat_dimension: concat,
    split_count: replica_groups[0].length,
  })[0];
}

/** Parts are padded to one size, and put in their places where they do not lie so already. */
function allGather(b: Builder, place: Place, value: Value, split: Split, d: number, size: number): Value {
  const { element, shape } = asTensor(value.type);
  const most = largestPart(split);
  const count = split.parts.length;
  const own = ownSize(place, split);
  const padded = own === most ? value : padEnd(b, value, d, most - own);
  const [gathered] = b.op(
    'all_gather',
    [padded],
    { ...grouping(place, split.axes), all_gather_dim: d },
    {
      types: [
        tensor(
          element,
          shape.map((dim, i) => (i === d ? most * count : dim)),
        ),
      ],
    },
  );
  if (isEven(split)) return gathered;
  const pieces: Value[] = [];
  for (let at = 0; at < size; ) {
    const { part, offset, limit } = ownerOf(split, at);
    const start = part * most + offset;
    pieces.push(b.slice(gathered, d, start, start + limit - at));
    at = limit;
  }
  return b.concatenate(pieces, d);
}

/** The first rank that has an element, where it lies there, and the end of the range that it is in. */
function ownerOf({ parts }: Split, at: number): { part: number; offset: number; limit: number } {
  for (const [part, ranges] of parts.entries()) {
    let offset = 0;
    for (const { start, limit } of ranges) {
      if (start <= at && at < limit) return { part, offset: offset + at - start, limit };
      offset += limit - start;
    }
  }
  throw new Error('no rank has an element');
}

function padEnd(b: Builder, value: Value, d: number, by: number): Value {
  const { element, shape } = asTensor(value.type);
  const none = shape.map(() => 0);
  return b.op('pad', [value, b.scalar(element, 0)], {
    edge_padding_low: none,
    edge_padding_high: shape.map((_, i) => (i === d ? by : 0)),
    interior_padding: none,
  })[0];
}

/** Ranks are partitions of one replica, and groups name them by their numbers. */
function grouping({ mesh }: Place, axes: readonly string[]) {
  return { replica_groups: groupsAlong(mesh, axes), channel_id: 1, use_global_device_ids: true };
}
