/**
 * Draws an id for each row of logits: temperature, top-k, top-p, min-p, as sample.ts says. The draw is a pure function of seed and position, by
 * inverting the cumulative distribution over tokens: in descending order of probability, or where neither top-k nor top-p asks for that,
 * in the order of ids, so that nothing has to be sorted. All ties go to the lower id.
 */
import { IngotError } from '../base/errors.ts';
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor, tensor } from '../ir/types.ts';
import { type Composite, emit } from './composite.ts';
import { philox, uniform } from './philox.ts';

/** Operands after the logits. */
export const drawInputs = ['temperature', 'topK', 'topP', 'minP', 'seed', 'drawPosition'] as const;
type Inputs = Readonly<Record<(typeof drawInputs)[number], Value>>;

/** Ranks that have a part of the vocabulary each gather the logits: what is drawn depends on all of them. */
export const drawComposite: Composite<Readonly<Record<never, never>>> = {
  name: 'draw',
  decompose(b, [logits, ...operands]) {
    const inputs = Object.fromEntries(drawInputs.map((name, i) => [name, operands[i]])) as Inputs;
    return [drawIds(b, logits, inputs)];
  },
  sharding: () => ({ factors: [] }),
};

/** i32 [R], drawn from rows of `logits`, f32 [R, V]; 0 of rows with temperature 0. */
export function draw(b: Builder, logits: Value, inputs: Inputs): Value {
  return emit(b, drawComposite, [logits, ...drawInputs.map((name) => inputs[name])], {})[0];
}

function drawIds(b: Builder, logits: Value, inputs: Inputs): Value {
  const { shape } = asTensor(logits.type);
  const [rows] = shape;
  const spread = (x: Value) => b.broadcast(x, shape, [0]);
  const zero = b.full('f32', shape, 0);
  const { temperature, topK, topP, minP } = inputs;
  const allK = b.or(
    b.compare('LE', topK, zeros(b, topK)),
    b.compare('GE', topK, b.full('i32', [rows], columnsOf(logits))),
  );
  const unordered = b.and(allK, b.compare('GE', topP, b.full('f32', [rows], 1)));
  const isUnordered = spread(unordered);
  const isWarm = b.compare('GT', temperature, zeros(b, temperature));
  const warm = b.select(isWarm, temperature, b.full('f32', [rows], 1));
  const scaled = b.divide(logits, spread(warm));
  const [, sorted, ids] = sortDescending(b, b.select(isUnordered, zero, scaled), scaled);

  // Probabilities up to a factor; the greatest is 1.
  const first = b.reshape(b.slice(sorted, 1, 0, 1), [rows]);
  const greatest = b.select(unordered, b.reduce('maximum', scaled, Number.NEGATIVE_INFINITY, [1]), first);
  const weights = b.exponential(b.subtract(sorted, spread(greatest)));
  const inMinP = b.compare('GE', weights, spread(minP));
  const rank = columnIndex(b, logits);
  const inTopK = b.or(b.compare('LT', rank, spread(topK)), spread(b.compare('LE', topK, zeros(b, topK))));
  // In the order of ids, what min-p leaves out is not at the end.
  const counted = b.and(inTopK, b.or(inMinP, b.not(isUnordered)));
  const cumulative = prefixSums(b, b.select(counted, weights, zero));
  // Of all that top-k leaves. Where that is every token, in the order of ids, so that it is known before anything is sorted.
  const total = b.select(
    allK,
    b.reduce('add', b.exponential(b.subtract(scaled, spread(greatest))), 0, [1]),
    takeInRow(b, cumulative, b.subtract(topK, b.full('i32', [rows], 1))),
  );
  // The tokens up to the first that reaches the share.
  const reaches = firstWhere(b, b.compare('GE', cumulative, spread(b.multiply(topP, total))));
  const inTopP = b.or(b.compare('LE', rank, spread(reaches)), spread(b.compare('GE', topP, b.full('f32', [rows], 1))));
  const possible = b.compare('GT', weights, zero);
  // The most likely token always stays.
  const mostLikely = b.and(b.compare('EQ', rank, b.full('i32', shape, 0)), b.not(isUnordered));
  const kept = b.or(b.and(b.and(inTopK, inTopP), b.and(inMinP, possible)), mostLikely);

  // What is kept is a prefix, or all that was counted, so its cumulative weights are right already. The target is below the last of them.
  const keptTotal = b.reduce('maximum', b.select(kept, cumulative, zero), 0, [1]);
  const target = b.multiply(uniform(b, randomWord(b, inputs)), keptTotal);
  const rankDrawn = firstWhere(b, b.and(kept, b.compare('GT', cumulative, spread(target))));
  const drawn = takeInRow(b, ids, rankDrawn);
  return b.select(isWarm, drawn, zeros(b, drawn));
}

/** Counter (position, 0, 0, draw): one draw for a position so far. */
function randomWord(b: Builder, { seed, drawPosition }: Inputs): Value {
  const { shape } = asTensor(drawPosition.type);
  const position = b.bitcastConvert(drawPosition, tensor('ui32', shape));
  const zero = zeros(b, position);
  const half = (i: number) => b.reshape(b.slice(seed, 1, i, i + 1), shape);
  return philox(b, [position, zero, zero, zero], [half(0), half(1)])[0];
}

/** Keys [R, V] in descending order, values in theirs, and the columns; the sort is stable, so ties keep theirs. */
function sortDescending(b: Builder, keys: Value, values: Value): readonly Value[] {
  const types = [tensor('f32'), tensor('f32'), tensor('f32'), tensor('f32'), tensor('i32'), tensor('i32')];
  const greater = b.region(types, (inner, l, r) => [inner.compare('GT', l, r)]);
  return b.op('sort', [keys, values, columnIndex(b, keys)], { dimension: 1, is_stable: true }, { regions: [greater] });
}

/** Sums of x[r, 0..i] in log2(V) additions of the whole, each of the array to itself shifted by 1, 2, 4 ... */
function prefixSums(b: Builder, x: Value): Value {
  let sums = x;
  for (let step = 1; step < columnsOf(x); step *= 2) sums = b.add(sums, shiftRight(b, sums, step));
  return sums;
}

/** Column i becomes column i + `by`; zeros enter. */
function shiftRight(b: Builder, x: Value, by: number): Value {
  return b.op('pad', [x, b.scalar('f32', 0)], {
    edge_padding_low: [0, by],
    edge_padding_high: [0, -by],
    interior_padding: [0, 0],
  })[0];
}

/** `x[r, columns[r]]` of each row r of `x` [R, V]. */
export function takeInRow(b: Builder, x: Value, columns: Value): Value {
  return b.op('gather', [x, columns], {
    offset_dims: [],
    collapsed_slice_dims: [1],
    operand_batching_dims: [0],
    start_indices_batching_dims: [0],
    start_index_map: [1],
    index_vector_dim: 1,
    slice_sizes: [1, 1],
    indices_are_sorted: false,
  })[0];
}

/** The first column of each row of an i1 [R, V] that is true; V - 1 where none is. */
export function firstWhere(b: Builder, predicate: Value): Value {
  const last = columnsOf(predicate) - 1;
  const none = b.full('i32', asTensor(predicate.type).shape, last);
  return b.reduce('minimum', b.select(predicate, columnIndex(b, predicate), none), last, [1]);
}

/** V of a [R, V]. */
export function columnsOf(x: Value): number {
  const [, columns] = asTensor(x.type).shape;
  if (typeof columns !== 'number') throw new IngotError('InvalidProgram', 'draw: the vocabulary has no fixed size');
  return columns;
}

/** i32 [R, V] of column numbers. */
function columnIndex(b: Builder, like: Value): Value {
  return b.broadcast(b.iota('i32', [columnsOf(like)], 0), asTensor(like.type).shape, [1]);
}

export function zeros(b: Builder, like: Value): Value {
  const { element, shape } = asTensor(like.type);
  return b.full(element, shape, 0);
}
