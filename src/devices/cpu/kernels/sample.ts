/**
 * `sample` (composites/sample.ts), with the ids and log-probabilities of its decomposition wherever logits are numbers. A unit
 * of work is a row: its maximum and the sum of its exponentials, then the greatest logit, or a draw.
 */
import type { Dim } from '../../../ir/types.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { FloatCode } from '../emit/float-code.ts';
import { at, d, q, type Register, view } from '../emit/machine.ts';
import { floatUnary } from '../emit/math.ts';
import { laneCode } from '../emit/vector-sets.ts';
import { sortBins } from './radix-sort.ts';
import { type DrawSlots, emitDraw, forEachRow, pairBytes } from './sample-draw.ts';
import { emitExponentials, emitFirstEqual, emitMaximum, emitPenalties, tailSlot } from './sample-logits.ts';
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
}

export const sampleBuffers = [
  ...(['logits', 'temperature', 'topK', 'topP', 'minP', 'seed', 'drawPosition', 'countRow', 'penalties'] as const),
  ...(['biasRow', 'biasToken', 'biasValue', 'counts', 'scratch', 'ids', 'logprobs'] as const),
] as const;
type Buffer = (typeof sampleBuffers)[number];
type Writer = KernelWriter<Buffer>;

/** A row's own memory: two lists of pairs, the logits as changed by bias and penalties. */
export const sampleRowBytes = (vocabulary: number) => 2 * pairBytes(vocabulary) + 64 * Math.ceil(vocabulary / 16);

export function sampleKernel(shape: SampleShape): EmittedKernel {
  const { rows, vocabulary } = shape;
  const w: Writer = new KernelWriter('sample', sampleBuffers, [rows]);
  const { m } = w;
  const slots: DrawSlots = { tail: tailSlot(), bins: sortBins() };
  forEachRow(w, rows, (row) => {
    const logits = w.sum(w.buffer('logits'), w.product(row, 4 * vocabulary));
    const max = emitMaximum(w, slots.tail, logits, vocabulary);
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
    const isOn = w.value(at(penalties, 4));
    m.emit('shl', q(isOn), 1);
    const repetition = w.signed(at(penalties));
    w.change('sub', repetition, 0x3f800000);
    m.emit('or', q(isOn), q(repetition));
    w.when(isOn, 'ne', 0, () => {
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
        });
        w.set(id, drawn);
      },
      () => {
        const greatest = emitMaximum(w, slots.tail, adjusted, vocabulary);
        w.set(id, emitFirstEqual(w, slots.tail, adjusted, vocabulary, greatest));
      },
    );
    m.emit('mov', at(w.buffer('ids'), 0, row, 4), d(id));

    const sum = emitExponentials(w, slots.tail, logits, vocabulary, max);
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

function emitCopy(w: Writer, from: Register, to: Register, length: number): void {
  const { m } = w;
  const code = laneCode(m, 8);
  const whole = length - (length % 8);
  w.forEach(0, whole, 8, (i) => m.emit('vmovups', at(to, 0, i, 4), view(code.load(32, at(from, 0, i, 4)), 256)));
  w.forEach(whole, length, 1, (i) => {
    const word = w.gp();
    m.emit('mov', d(word), at(from, 0, i, 4));
    m.emit('mov', at(to, 0, i, 4), d(word));
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
