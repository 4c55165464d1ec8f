/**
 * What the kernels of attention divide: blocks, which are consecutive tokens of one sequence with the positions that they see, and
 * units of a block, some of its partitions and heads of the pools.
 */
import { at, type Register } from '../emit/machine.ts';
import { ScalarIntegers } from '../emit/scalar-integers.ts';
import { type AttentionShape, canSplit, partial, partialBytes, partitionsOf, rowGroup } from './attention-shape.ts';
import type { State } from './attention-softmax.ts';
import type { KernelWriter } from './writer.ts';

type Buffer = 'q' | 'kPool' | 'vPool' | 'positions' | 'sequence' | 'ctxLen' | 'blockTable' | 'sinks' | 'partials' | 'y';
export type AttentionWriter = KernelWriter<Buffer>;
type Writer = AttentionWriter;

/** In the order in which the kernels take them. */
export function attentionBuffers(shape: AttentionShape): readonly Buffer[] {
  const inputs = ['q', 'kPool', 'vPool', 'positions', 'sequence', 'ctxLen', 'blockTable'] as const;
  return [
    ...inputs,
    ...(shape.sinks ? ['sinks' as const] : []),
    ...(canSplit(shape) ? ['partials' as const] : []),
    'y',
  ];
}

/** Consecutive tokens of one sequence. */
export interface Block {
  readonly start: Register;
  readonly count: Register;
  /** Row of the block table. */
  readonly sequence: Register;
  /** Positions that a token of it sees: [first, last). */
  readonly first: Register;
  readonly last: Register;
  /** Partitions [from, to) that these lie in. */
  readonly from: Register;
  readonly to: Register;
  /** Rows of queries for one head of the pools, whole groups of `rowGroup`. */
  readonly rows: Register;
}

/** A block, partitions [from, to) of it, and heads of the pools. */
export interface Unit {
  readonly block: Block;
  readonly from: Register;
  readonly to: Register;
  readonly head: Register;
  readonly heads: Register;
}

/** All blocks, of as many tokens as have `rows` queries for one head of the pools at most. */
export function forEachBlock(w: Writer, shape: AttentionShape, rows: number, body: (block: Block) => void): void {
  const tokens = w.dim(shape.tokens);
  const most = Math.max(1, Math.floor((rows * shape.kvHeads) / shape.heads));
  const token = w.value(0);
  const step = w.value(0);
  w.whileBelow(token, tokens, step, () => {
    const left = w.difference(tokens, token);
    w.bound(left, 'min', most);
    const block = blockAt(w, shape, token, left);
    body(block);
    w.set(step, block.count);
  });
}

/** The block that begins at `start`, of `most` tokens or fewer. */
export function blockAt(w: Writer, shape: AttentionShape, start: Register, most: Register): Block {
  const { heads, kvHeads, columns, blockSize, partition, window, sequences, bidirectional } = shape;
  const [positions, owners] = [w.buffer('positions'), w.buffer('sequence')];
  const owner = w.signed(at(owners, 0, start, 4));
  const lowest = w.signed(at(positions, 0, start, 4));
  const last = w.value(lowest);
  const count = w.value(1);
  w.loop((leave) => {
    w.when(count, 'ge', most, leave);
    const next = w.sum(start, count);
    const other = w.signed(at(owners, 0, next, 4));
    w.when(other, 'ne', owner, leave);
    const position = w.signed(at(positions, 0, next, 4));
    w.bound(lowest, 'min', position);
    w.bound(last, 'max', position);
    w.change('add', count, 1);
  });
  // A sequence below 0 has no keys, one behind the last counts as that.
  const sequence = w.value(owner);
  w.bound(sequence, 'max', 0);
  w.bound(sequence, 'min', w.difference(w.dim(sequences), 1));
  const length = w.signed(at(w.buffer('ctxLen'), 0, sequence, 4));
  w.bound(length, 'min', columns * blockSize);
  w.when(owner, 'l', 0, () => w.set(length, 0));
  w.change('add', last, 1);
  if (bidirectional) w.set(last, length);
  w.bound(last, 'min', length);
  const first = w.value(0);
  if (window !== undefined) {
    w.set(first, w.difference(lowest, window - 1));
    w.bound(first, 'max', 0);
  }
  w.when(last, 'le', first, () => {
    w.set(first, 0);
    w.set(last, 0);
  });
  const size = w.value(partition);
  const from = divided(w, first, size);
  const to = divided(w, w.sum(last, partition - 1), size);
  const rows = w.product(count, heads / kvHeads);
  w.change('add', rows, rowGroup(shape) - 1);
  w.change('and', rows, -rowGroup(shape));
  return { start, count, sequence, first, last, from, to, rows };
}

/** Positions that a block sees in partitions [from, to). */
export function spanOf(w: Writer, { partition }: AttentionShape, block: Block, from: Register, to: Register): Register {
  const start = w.product(from, partition);
  w.bound(start, 'max', block.first);
  const end = w.product(to, partition);
  w.bound(end, 'min', block.last);
  w.change('sub', end, start);
  w.bound(end, 'max', 0);
  return end;
}

/** Where the result of partition `p` for a row of [T, H] goes. */
export function partialOf(w: Writer, shape: AttentionShape, row: Register, p: Register): State {
  const index = w.sum(w.product(row, partitionsOf(shape)), p);
  const statistics = w.sum(w.buffer('partials'), w.product(index, partialBytes(shape)));
  return { statistics, values: w.sum(statistics, partial.values) };
}

export const divided = (w: Writer, a: Register, b: Register) => new ScalarIntegers(w.m).divideIndex('divide', a, b);
