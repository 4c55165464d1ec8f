/** What a kernel of `paged_attention` is made for, and the places of one thread's work in its stack frame. */
import type { AttentionNumerics } from '../../../composites/paged_attention.ts';
import type { Dim } from '../../../ir/types.ts';
import { elementBytes } from '../../../numerics/element-types.ts';
import { isCoded, type KvFormat, kvRow } from '../../../numerics/kv-format.ts';
import { alignUp } from '../align.ts';
import type { Slot } from '../emit/machine.ts';

export interface AttentionShape {
  readonly tokens: Dim;
  readonly sequences: Dim;
  readonly heads: number;
  readonly kvHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly keys: KvFormat;
  readonly values: KvFormat;
  /** Blocks of the pools, tokens of a block, blocks of a row of the table. */
  readonly blocks: number;
  readonly blockSize: number;
  readonly columns: number;
  readonly partition: number;
  readonly scale: number;
  readonly window?: number;
  readonly softCap?: number;
  readonly bidirectional?: true;
  readonly sinks: boolean;
  /** `f32` where it is absent. */
  readonly numerics?: AttentionNumerics;
}

/** Positions that are taken at once: the lanes of a float sum. */
export const TILE = 16;
/** Rows of queries that are multiplied at once. */
export const ROWS = 4;
/** The same in `bf16`, with 16 columns and 32 values of each: what AMX multiplies. */
export const PAIR_ROWS = 16;
export const STEP = 32;
/** Rows of queries come in groups of so many. */
export const rowGroup = ({ numerics }: Pick<AttentionShape, 'numerics'>) => (numerics === 'bf16' ? PAIR_ROWS : ROWS);

/**
 * What a kernel is made for at most. Each row of a unit takes queries, two sums and scores of the frame, and numerics `bf16` the values of a
 * whole partition: with these all of it is less than the 8 MiB of a thread's stack (os/linux.ts).
 */
export const largest = { dim: 1024, partition: 1024, group: 256 } as const;

export function isSupported(shape: AttentionShape): boolean {
  const { heads, kvHeads, keyDim, valueDim, keys, values, blockSize, partition, columns, numerics } = shape;
  return (
    [keyDim, valueDim].every((dim) => dim % 8 === 0 && dim >= 8 && dim <= largest.dim) &&
    heads / kvHeads <= largest.group &&
    blockSize >= TILE &&
    Number.isInteger(Math.log2(blockSize)) &&
    partition <= largest.partition &&
    (numerics !== 'i16' || (isCoded(keys) && isCoded(values))) &&
    columns > 0
  );
}

/** Bytes of a head of `dim` values in a pool. */
export function headBytes(format: KvFormat, dim: number): number {
  const { element, length } = kvRow(format, dim);
  return length * elementBytes(element);
}

/** Partitions of the longest context. */
export const partitionsOf = ({ columns, blockSize, partition }: AttentionShape) =>
  Math.ceil((columns * blockSize) / partition);

/** A step of at most so many tokens is divided by partitions too, whose results are merged by a kernel of their own. */
export const splitTokens = 16;
/** Whether there may be steps that are. */
export const canSplit = (shape: AttentionShape) => partitionsOf(shape) > 1;

/** A partition's result for one row: maximum, sum, and from `values` on the weighted sum of the values. */
export const partial = { max: 0, sum: 4, values: 32 } as const;
export const partialBytes = ({ valueDim }: AttentionShape) => partial.values + 4 * valueDim;

/** Bytes of the results of all partitions, [T, H, partitions]. */
export function partialsBytes(shape: AttentionShape): number {
  return !canSplit(shape) ? 0 : splitTokens * shape.heads * partitionsOf(shape) * partialBytes(shape);
}

export interface Frame {
  /** Rows of queries that a unit of work has at most. */
  readonly rows: number;
  /** f32 [rows, partition]: scores, then weights, `scoreRowBytes` a row. */
  readonly scores: Slot;
  /** f32 [rows, nextDim], [rows, valueDim]: of this partition, and of those before it. */
  readonly next: Slot;
  readonly nextDim: number;
  readonly running: Slot;
  /** Maximum and sum of each row. */
  readonly nextStatistics: Slot;
  readonly runningStatistics: Slot;
  /** The tiles of the partition that lie in blocks, `tileEntry` each. */
  readonly tiles: Slot;
  /** First and last + 1 of the keys that a token sees, i64; the same in the partition, f32. */
  readonly seen: Slot;
  readonly seenHere: Slot;
}

/** i64 slot of its first position in the pools, i32 of that position in the partition, the same as f32. */
export const tileEntry = { bytes: 16, slot: 0, column: 8, columnFloat: 12 } as const;

/** From a row of scores to the next: a line more than they need, or rows would share few sets of the cache. */
export const scoreRowBytes = ({ partition }: Pick<AttentionShape, 'partition'>) => 4 * partition + 64;

/** `most`: rows at most, but those of one token. */
export function frameOf(shape: AttentionShape, most: number): Frame {
  const { heads, kvHeads, valueDim, partition, numerics } = shape;
  const rows = Math.max(most, alignUp(heads / kvHeads, rowGroup(shape)));
  const nextDim = numerics === 'bf16' ? alignUp(valueDim, TILE) : valueDim;
  const slot = (bytes: number): Slot => ({ bytes, align: 32 });
  return {
    rows,
    scores: slot(rows * scoreRowBytes(shape)),
    next: slot(4 * rows * nextDim),
    nextDim,
    running: slot(4 * rows * valueDim),
    nextStatistics: slot(8 * rows),
    runningStatistics: slot(8 * rows),
    tiles: slot(tileEntry.bytes * (partition / TILE + 2)),
    seen: slot(16 * rows),
    seenHere: slot(8 * rows),
  };
}
