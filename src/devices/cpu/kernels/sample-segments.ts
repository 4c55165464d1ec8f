/**
 * What is known of the segments of a row of logits (composites/sample.ts) before the row is sampled: the greatest logit of each,
 * f32 [count], then the sum of the exponentials from there, f32 [count], both filled up to whole vectors.
 */
import { segmentsOf } from '../../../composites/sample.ts';
import { alignUp } from '../align.ts';
import { FloatCode } from '../emit/float-code.ts';
import { exponential } from '../emit/functions.ts';
import { at, d, type Register, type Slot } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import { across, broadcast, storeFirst } from './lanes.ts';
import { emitExponentials, emitMaximum, LANES } from './sample-logits.ts';
import type { KernelWriter } from './writer.ts';

const padded = (vocabulary: number) => alignUp(segmentsOf(vocabulary).count, LANES);

/** Of a row. */
export const segmentBytes = (vocabulary: number) => 8 * padded(vocabulary);
const sumsAt = (vocabulary: number) => 4 * padded(vocabulary);

/** The greatest logit of the segment at `logits`, the `number`-th of the row whose segments are at `segments`; gives it in all lanes. */
export function emitGreatest<B extends string>(
  w: KernelWriter<B>,
  tail: Slot,
  logits: Register,
  vocabulary: number,
  segments: Register,
  number: Register,
): Register {
  const greatest = emitMaximum(w, tail, logits, segmentsOf(vocabulary).size);
  storeFirst(laneCode(w.m, 8), at(segments, 0, number, 4), greatest);
  return greatest;
}

/** Then its sum. */
export function emitSum<B extends string>(
  w: KernelWriter<B>,
  tail: Slot,
  logits: Register,
  vocabulary: number,
  segments: Register,
  number: Register,
): void {
  const code = laneCode(w.m, 8);
  const f = new FloatCode(code, 32);
  const greatest = broadcast(code, at(segments, 0, number, 4));
  const isNothing = f.compare('EQ', greatest, f.number(Number.NEGATIVE_INFINITY));
  const from = f.blend(isNothing, f.number(0), greatest);
  const sum = emitExponentials(w, tail, logits, segmentsOf(vocabulary).size, from);
  storeFirst(code, at(segments, sumsAt(vocabulary), number, 4), sum);
}

/** Of all segments of a row the greatest logit, in all lanes, and the sum of the exponentials from there, in the first. */
export function emitWhole<B extends string>(
  w: KernelWriter<B>,
  tail: Slot,
  vocabulary: number,
  segments: Register,
): { readonly greatest: Register; readonly sum: Register } {
  const { m } = w;
  const code = laneCode(m, 8);
  const f = new FloatCode(code, 32);
  const { count } = segmentsOf(vocabulary);
  const end = padded(vocabulary);
  const nothing = code.toGeneral(32, f.load(Number.NEGATIVE_INFINITY));
  const zero = w.value(0);
  w.forEach(count, end, 1, (i) => {
    m.emit('mov', at(segments, 0, i, 4), d(nothing));
    m.emit('mov', at(segments, sumsAt(vocabulary), i, 4), d(zero));
  });
  const greatest = emitMaximum(w, tail, segments, end);
  const sums = [code.zero(), code.zero()];
  w.forEach(0, end, LANES, (i) => {
    for (const [half, sum] of sums.entries()) {
      const part = exponential(f, f.sub(code.load(32, at(segments, 32 * half, i, 4)), greatest));
      const scaled = f.mul(code.load(32, at(segments, sumsAt(vocabulary) + 32 * half, i, 4)), part);
      code.change('vaddps', 32, sum, sum, scaled);
    }
  });
  return { greatest, sum: across(code, sums, (f, a, b) => f.add(a, b)) };
}
