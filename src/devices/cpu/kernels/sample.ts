/**
 * `sample` (composites/sample.ts), with the ids and log-probabilities of its decomposition wherever logits are numbers. A unit
 * of work is a row: its segments, unless a product has left those (sampled-dot.ts), then the greatest logit, or a draw.
 */
import { segmentsOf } from '../../../composites/sample.ts';
import type { Dim } from '../../../ir/types.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { FloatCode } from '../emit/float-code.ts';
import { at, d, type Register, type Slot, view } from '../emit/machine.ts';
import { floatUnary } from '../emit/math.ts';
import { laneCode } from '../emit/vector-sets.ts';
import { sortBins } from './radix-sort.ts';
import { type DrawSlots, emitDraw, forEachRow, pairBytes } from './sample-draw.ts';
import { emitCopy, emitFirstEqual, emitIsPenalized, emitMaximum, emitPenalties, tailSlot } from './sample-logits.ts';
import { emitGreatest, emitSum, emitWhole, segmentBytes } from './sample-segments.ts';
import { KernelWriter } from './writer.ts';

export interface SampleShape {
  /** R. */
  readonly rows: Dim;
  /** V. */
  readonly vocabulary: number;
  /** Rows of `counts`. */
  readonly sequences: number;
  /** Entries of the list of biases. */
  readonly biases: number;
  /** Whether segments are there already, and of logits those that the row may need. */
  readonly summed: boolean;
}

export const sampleBuffers = [
  ...(['logits', 'temperature', 'topK', 'topP', 'minP', 'seed', 'drawPosition', 'countRow', 'penalties'] as const),
  ...(['biasRow', 'biasToken', 'biasValue', 'counts', 'segments', 'scratch', 'ids', 'logprobs'] as const),
] as const;
type Buffer = (typeof sampleBuffers)[number];
/** Whose greatest are looked for before they are summed. */
const segmentsAtOnce = 16;

type Writer = KernelWriter<Buffer>;

/** A row's own memory: two lists of pairs, the logits as changed by bias and penalties. */
export const sampleRowBytes = (vocabulary: number) => 2 * pairBytes(vocabulary) + 64 * Math.ceil(vocabulary / 16);

export function sampleKernel(shape: SampleShape): EmittedKernel {
  const { rows, vocabulary, summed } = shape;
  const { count, size } = segmentsOf(vocabulary);
  const w: Writer = new KernelWriter('sample', sampleBuffers, [rows]);
  const { m } = w;
  const slots: DrawSlots = { tail: tailSlot(), bins: sortBins() };
  forEachRow(w, rows, (row) => {
    const logits = w.sum(w.buffer('logits'), w.product(row, 4 * vocabulary));
    const segments = w.sum(w.buffer('segments'), w.product(row, segmentBytes(vocabulary)));
    if (!summed) emitSegments(w, slots.tail, logits, vocabulary, segments);
    const { greatest: max, sum } = emitWhole(w, slots.tail, vocabulary, segments);
    const own = w.sum(w.buffer('scratch'), w.product(row, sampleRowBytes(vocabulary)));
    const pairs = [own, w.sum(own, pairBytes(vocabulary))] as const;
    const changed = w.sum(own, 2 * pairBytes(vocabulary));
    const ofRow = (name: Buffer, bytes: number) => w.sum(w.buffer(name), w.product(row, bytes));

    const adjusted = w.value(logits);
    const copy = () => {
      w.set(adjusted, changed);
      emitCopy(w, logits, changed, vocabulary);
    };
    emitBias(w, shape, row, adjusted, logits, copy);
    const penalties = ofRow('penalties', 12);
    w.when(emitIsPenalized(w, penalties), 'ne', 0, () => {
      w.when(adjusted, 'e', logits, copy);
      const sequence = w.signed(at(w.buffer('countRow'), 0, row, 4));
      w.bound(sequence, 'max', 0);
      w.bound(sequence, 'min', shape.sequences - 1);
      const counts = w.sum(w.buffer('counts'), w.product(sequence, 8 * vocabulary));
      emitPenalties(w, adjusted, vocabulary, penalties, counts);
    });

    const temperature = ofRow('temperature', 4);
    const id = w.value(0);
    w.when(
      w.signed(at(temperature)),
      'g',
      0,
      () => {
        const one = (name: Buffer) => ofRow(name, 4);
        const drawn = emitDraw(w, slots, adjusted, vocabulary, {
          ...{ temperature, topK: one('topK'), topP: one('topP'), minP: one('minP') },
          ...{ seed: ofRow('seed', 8), position: one('drawPosition'), pairs },
          ...(count > 1 && { segments: { greatest: segments, of: logits } }),
        });
        w.set(id, drawn);
      },
      () => {
        const ofSegments = () => {
          w.set(id, w.product(emitFirstEqual(w, slots.tail, segments, count, max), size));
          const from = w.sum(logits, w.product(id, 4));
          w.change('add', id, emitFirstEqual(w, slots.tail, from, size, max));
        };
        w.when(adjusted, 'e', logits, ofSegments, () => {
          const greatest = emitMaximum(w, slots.tail, adjusted, vocabulary);
          w.set(id, emitFirstEqual(w, slots.tail, adjusted, vocabulary, greatest));
        });
      },
    );
    m.emit('mov', at(w.buffer('ids'), 0, row, 4), d(id));

    const one = laneCode(m, 1);
    const f = new FloatCode(one, 32);
    const logit = m.register('vec');
    m.emit('vmovss', view(logit, 128), at(logits, 0, id, 4));
    const log = floatUnary('log', f, sum);
    if (log === undefined) throw new Error('there is no logarithm');
    m.emit('vmovss', at(w.buffer('logprobs'), 0, row, 4), view(f.sub(f.sub(logit, max), log), 128));
  });
  return w.finish();
}

/** Some at a time, so that their logits are in a cache when they are summed. */
function emitSegments(w: Writer, tail: Slot, logits: Register, vocabulary: number, segments: Register): void {
  const { count, size } = segmentsOf(vocabulary);
  w.forEach(0, count, segmentsAtOnce, (first) => {
    const end = w.sum(first, segmentsAtOnce);
    w.bound(end, 'min', count);
    for (const emit of [emitGreatest, emitSum]) {
      const from = w.sum(logits, w.product(first, 4 * size));
      w.forEach(first, end, 1, (number) => {
        emit(w, tail, from, vocabulary, segments, number);
        w.change('add', from, 4 * size);
      });
    }
  });
}

/** Adds the entries of the list that are for this row, in their order; `copy` makes logits that may be changed. */
function emitBias(
  w: Writer,
  { vocabulary, biases }: SampleShape,
  row: Register,
  adjusted: Register,
  logits: Register,
  copy: () => void,
): void {
  const { m } = w;
  const owners = w.buffer('biasRow');
  w.forEach(0, biases, 1, (entry) => {
    w.when(w.signed(at(owners, 0, entry, 4)), 'e', row, () => {
      const token = w.signed(at(w.buffer('biasToken'), 0, entry, 4));
      w.when(token, 'ge', 0, () =>
        w.when(token, 'l', vocabulary, () => {
          w.when(adjusted, 'e', logits, copy);
          const sum = m.register('vec');
          m.emit('vmovss', view(sum, 128), at(adjusted, 0, token, 4));
          m.emit('vaddss', view(sum, 128), view(sum, 128), at(w.buffer('biasValue'), 0, entry, 4));
          m.emit('vmovss', at(adjusted, 0, token, 4), view(sum, 128));
        }),
      );
    });
  });
}
