/**
 * From logits to the next token of each row, with the parameters that engines have in common, in this order: bias;
 * repetition, frequency and presence penalties; temperature; top-k; top-p (Holtzman et al.,
 * https://arxiv.org/abs/1904.09751) on what top-k leaves; min-p (https://arxiv.org/abs/2407.01082) on what top-p leaves.
 * All ties go to the lower id.
 */
import { IngotError } from '../base/errors.ts';
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor, tensor } from '../ir/types.ts';
import { type Composite, emit } from './composite.ts';
import { columnsOf, draw, firstWhere, takeInRow, zeros } from './draw.ts';

/** Logits of a segment: so that it can be summed where it is computed, each is summed by itself. */
const segmentLogits = 128;

/** How a row of so many logits lies in segments: in whole ones, or in one. */
export function segmentsOf(vocabulary: number): { readonly count: number; readonly size: number } {
  const size = vocabulary % segmentLogits === 0 ? segmentLogits : vocabulary;
  return { count: vocabulary / size, size };
}

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
    const factor = { operands: [1, ...vocabulary], results: [undefined, undefined], inline: true };
    return { factors: [{ ...factor, aligned: [segmentLogits, ...operands.map(() => undefined)] }] };
  },
};

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

/** log(softmax) of the model's own logits at the ids. Exponentials are summed by segments, in each relative to its greatest logit. */
function logProbability(b: Builder, logits: Value, ids: Value): Value {
  const [rows] = asTensor(logits.type).shape;
  const { count, size } = segmentsOf(columnsOf(logits));
  const segments = b.reshape(logits, [rows, count, size]);
  const greatest = b.reduce('maximum', segments, Number.NEGATIVE_INFINITY, [2]);
  const isNothing = b.compare('EQ', greatest, b.full('f32', [rows, count], Number.NEGATIVE_INFINITY));
  const from = b.select(isNothing, zeros(b, greatest), greatest);
  const shifted = b.subtract(segments, b.broadcast(from, [rows, count, size], [0, 1]));
  const sums = b.reduce('add', b.exponential(shifted), 0, [2]);
  const max = b.reduce('maximum', greatest, Number.NEGATIVE_INFINITY, [1]);
  const parts = b.exponential(b.subtract(greatest, b.broadcast(max, [rows, count], [0])));
  const sum = b.reduce('add', b.multiply(sums, parts), 0, [1]);
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
