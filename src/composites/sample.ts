/**
 * From logits to the next token of each row, with the parameters that engines have in common, in this order: bias;
 * repetition, frequency and presence penalties; temperature; top-k; top-p (Holtzman et al.,
 * https://arxiv.org/abs/1904.09751) on what top-k leaves; min-p (https://arxiv.org/abs/2407.01082) on what top-p leaves.
 * The draw is a pure function of seed and position, by inverting the cumulative distribution over tokens: in descending
 * order of probability, or where neither top-k nor top-p asks for that, in the order of ids, so that nothing has to be sorted.
 * All ties go to the lower id.
 */
import { IngotError } from '../base/errors.ts';
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor, tensor } from '../ir/types.ts';
import { type Composite, emit } from './composite.ts';
import { philox, uniform } from './philox.ts';

/** Inputs as `samplingInputs` gives them, after the logits; the last is the state, which is only read. */
export const sampleInputs = [
  'temperature',
  'topK',
  'topP',
  'minP',
  'seed',
  'drawPosition',
  'countRow',
  'penalties',
  'biasRow',
  'biasToken',
  'biasValue',
  'counts',
] as const;
type Inputs = Readonly<Record<(typeof sampleInputs)[number], Value>>;

export const sampleComposite: Composite<Readonly<Record<never, never>>> = {
  name: 'sample',
  decompose(b, [logits, ...operands]) {
    const inputs = Object.fromEntries(sampleInputs.map((name, i) => [name, operands[i]])) as Inputs;
    const adjusted = penalize(b, addBias(b, logits, inputs), inputs);
    const greedy = argmax(b, adjusted);
    const random = b.compare('GT', inputs.temperature, zeros(b, inputs.temperature));
    // Sorting a vocabulary is most of the work, and greedy rows do not need it.
    const [ids] = b.if(
      b.reduce('or', random, false, [0]),
      (yes) => [yes.select(random, draw(yes, adjusted, inputs), greedy)],
      () => [greedy],
    );
    return [ids, logProbability(b, logits, ids)];
  },
  sharding([, ...operands]) {
    const vocabulary = operands.map((_, i) => (sampleInputs[i] === 'counts' ? 2 : undefined));
    return { factors: [{ operands: [1, ...vocabulary], results: [undefined, undefined], inline: true }] };
  },
};

function zeros(b: Builder, like: Value): Value {
  const { element, shape } = asTensor(like.type);
  return b.full(element, shape, 0);
}

/** Integers [N, K] for scatters, from K columns [N]. */
function indexVectors(b: Builder, columns: readonly Value[]): Value {
  const parts = columns.map((column) => b.reshape(column, [...asTensor(column.type).shape, 1]));
  return b.concatenate(parts, 1);
}

/** `table` with `values[i]` added at `indices[i]`, one entry for each of its dimensions; those outside are dropped. */
function addAt(b: Builder, table: Value, indices: Value, values: Value): Value {
  const { element, shape } = asTensor(table.type);
  const dims = shape.map((_, i) => i);
  const region = b.region([tensor(element), tensor(element)], (inner, old, value) => [inner.add(old, value)]);
  return b.op(
    'scatter',
    [table, indices, values],
    {
      update_window_dims: [],
      inserted_window_dims: dims,
      input_batching_dims: [],
      scatter_indices_batching_dims: [],
      scatter_dims_to_operand_dims: dims,
      index_vector_dim: 1,
      indices_are_sorted: false,
      unique_indices: false,
    },
    { regions: [region] },
  )[0];
}

/** `x[r, columns[r]]` of each row r of `x` [R, V]. */
function takeInRow(b: Builder, x: Value, columns: Value): Value {
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

function addBias(b: Builder, logits: Value, { biasRow, biasToken, biasValue }: Inputs): Value {
  return addAt(b, logits, indexVectors(b, [biasRow, biasToken]), biasValue);
}

/** Repetition: Keskar et al., https://arxiv.org/abs/1909.05858, section 4.1; the others as in OpenAI's API. */
function penalize(b: Builder, logits: Value, { counts, countRow, penalties }: Inputs): Value {
  const { shape } = asTensor(logits.type);
  const [rows] = shape;
  const column = (i: number) => b.reshape(b.slice(penalties, 1, i, i + 1), [rows]);
  const [repetition, frequency, presence] = [column(0), column(1), column(2)];
  const isOn = (penalty: Value, off: number) => b.compare('NE', penalty, b.full('f32', [rows], off));
  const any = b.or(b.or(isOn(repetition, 1), isOn(frequency, 0)), isOn(presence, 0));
  return b.if(
    b.reduce('or', any, false, [0]),
    (yes) => {
      const occurrences = yes.take(counts, countRow);
      const part = (i: number) => yes.reshape(yes.slice(occurrences, 1, i, i + 1), shape);
      const [prompt, answer] = [part(0), part(1)];
      const spread = (x: Value) => yes.broadcast(x, shape, [0]);
      const zero = yes.full('f32', shape, 0);
      const seen = yes.compare('GT', yes.add(prompt, answer), zeros(yes, prompt));
      const repeated = yes.select(
        yes.compare('GT', logits, zero),
        yes.divide(logits, spread(repetition)),
        yes.multiply(logits, spread(repetition)),
      );
      const times = yes.convert(answer, 'f32');
      const present = yes.convert(yes.compare('GT', answer, zeros(yes, answer)), 'f32');
      return [
        yes.subtract(
          yes.subtract(yes.select(seen, repeated, logits), yes.multiply(times, spread(frequency))),
          yes.multiply(present, spread(presence)),
        ),
      ];
    },
    () => [logits],
  )[0];
}

/** [R] from [R, V]; V - 1 for a row of NaNs, so that no id is ever out of range. */
function argmax(b: Builder, x: Value): Value {
  const { shape } = asTensor(x.type);
  const max = b.reduce('maximum', x, Number.NEGATIVE_INFINITY, [1]);
  return firstWhere(b, b.compare('EQ', x, b.broadcast(max, shape, [0])));
}

/** The first column of each row of an i1 [R, V] that is true; V - 1 where none is. */
function firstWhere(b: Builder, predicate: Value): Value {
  const last = columnsOf(predicate) - 1;
  const none = b.full('i32', asTensor(predicate.type).shape, last);
  return b.reduce('minimum', b.select(predicate, columnIndex(b, predicate), none), last, [1]);
}

/** V of a [R, V]. */
function columnsOf(x: Value): number {
  const [, columns] = asTensor(x.type).shape;
  if (typeof columns !== 'number') throw new IngotError('InvalidProgram', 'sample: the vocabulary has no fixed size');
  return columns;
}

/** i32 [R, V] of column numbers. */
function columnIndex(b: Builder, like: Value): Value {
  return b.broadcast(b.iota('i32', [columnsOf(like)], 0), asTensor(like.type).shape, [1]);
}

/** Ids drawn from rows of `logits`; those of rows with temperature 0 mean nothing. */
function draw(b: Builder, logits: Value, inputs: Inputs): Value {
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
  const warm = b.select(b.compare('GT', temperature, zeros(b, temperature)), temperature, b.full('f32', [rows], 1));
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
  return takeInRow(b, ids, rankDrawn);
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

/** log(softmax) of the model's own logits at the ids. */
function logProbability(b: Builder, logits: Value, ids: Value): Value {
  const { shape } = asTensor(logits.type);
  const max = b.reduce('maximum', logits, Number.NEGATIVE_INFINITY, [1]);
  const sum = b.reduce('add', b.exponential(b.subtract(logits, b.broadcast(max, shape, [0]))), 0, [1]);
  return b.subtract(b.subtract(takeInRow(b, logits, ids), max), b.unary('log', sum));
}

/** One more of each id in the answer of its row's sequence. */
function count(b: Builder, ids: Value, counts: Value, countRow: Value): Value {
  const one = b.full('i32', asTensor(ids.type).shape, 1);
  return addAt(b, counts, indexVectors(b, [countRow, one, ids]), one);
}

export interface Sampled {
  /** i32 [R]. */
  readonly ids: Value;
  /** f32 [R]: log-softmax of the logits as they came, at the ids. */
  readonly logprobs: Value;
  /** The state `counts` with one more of each id in the answers. */
  readonly counts: Value;
}

/**
 * `logits` f32 [R, V]; `values` has the inputs of `samplingInputs` and the state `counts` by name. A row whose `countRow`
 * is outside the state counts nothing. @throws IngotError 'InvalidProgram' if one is missing.
 */
export function sample(b: Builder, logits: Value, values: Readonly<Record<string, Value>>): Sampled {
  const operands = sampleInputs.map((name) => {
    const value: Value | undefined = values[name];
    if (value === undefined) throw new IngotError('InvalidProgram', `sample: there is no input ${name}`);
    return value;
  });
  const [ids, logprobs] = emit(b, sampleComposite, [logits, ...operands], {});
  return { ids, logprobs, counts: count(b, ids, values.counts, values.countRow) };
}
