/**
 * Which segments of a row of logits `sample` may read, known while a product makes them. A row without bias and penalties that takes
 * the greatest logit, or draws from its k greatest, needs those whose greatest is not below the k-th of all: they are among those that are not below
 * the k-th of the segments that a thread has had. Other rows need all. Of a row there is
 *
 *   f32 [64]   the k greatest over the temperature, of a segment each; infinities that never leave fill it up
 *   f32        the least of them
 *   f32        the temperature, 1 where the greatest is taken
 *   i32        k; 0 where all segments are needed
 */
import type { Dim } from '../../../ir/types.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { FloatCode } from '../emit/float-code.ts';
import { at, d, type Register, type Slot } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import { across, broadcast, storeFirst } from './lanes.ts';
import { emitFirstEqual, emitIsPenalized, maskBits } from './sample-logits.ts';
import { KernelWriter } from './writer.ts';

const most = 64;
const [leastAt, scaleAt, countAt] = [4 * most, 4 * most + 4, 4 * most + 8];
/** Of a row. */
export const neededBytes = 4 * most + 64;

const one = 0x3f80_0000;
const [infinity, minusInfinity] = [0x7f80_0000, 0xff80_0000];

export const neededBuffers = ['temperature', 'topK', 'penalties', 'biasRow', 'needed'] as const;

/** Fills `needed` of all rows, before the first segment. */
export function neededKernel(rows: Dim, biases: number): EmittedKernel {
  const w = new KernelWriter('needed', neededBuffers, [rows]);
  const { m } = w;
  const store = (to: ReturnType<typeof at>, word: Register) => m.emit('mov', to, d(word));
  const all = w.value(w.dim(rows));
  const [above, below, zero] = [w.value(infinity), w.value(minusInfinity), w.value(0)];
  const ofRow = (row: Register) => w.sum(w.buffer('needed'), w.product(row, neededBytes));
  w.forEach(0, all, 1, (row) => {
    const [count, scale] = [w.value(0), w.value(one)];
    w.when(emitIsPenalized(w, w.sum(w.buffer('penalties'), w.product(row, 12))), 'e', 0, () => {
      const temperature = w.signed(at(w.buffer('temperature'), 0, row, 4));
      w.when(
        temperature,
        'le',
        0,
        () => w.set(count, 1),
        () => {
          w.set(scale, temperature);
          const topK = w.signed(at(w.buffer('topK'), 0, row, 4));
          w.when(topK, 'g', 0, () => w.when(topK, 'le', most, () => w.set(count, topK)));
        },
      );
    });
    const needed = ofRow(row);
    w.forEach(0, most, 1, (i) => store(at(needed, 0, i, 4), above));
    w.forEach(0, count, 1, (i) => store(at(needed, 0, i, 4), below));
    store(at(needed, leastAt), below);
    store(at(needed, scaleAt), scale);
    store(at(needed, countAt), count);
  });
  w.forEach(0, biases, 1, (entry) => {
    const row = w.signed(at(w.buffer('biasRow'), 0, entry, 4));
    w.when(row, 'ge', 0, () => w.when(row, 'l', all, () => store(at(ofRow(row), countAt), zero)));
  });
  return w.finish();
}

/** `then` where a segment with this greatest logit, in all lanes, is needed. */
export function emitIfNeeded<B extends string>(
  w: KernelWriter<B>,
  tail: Slot,
  needed: Register,
  greatest: Register,
  then: () => void,
): void {
  const { m } = w;
  const code = laneCode(m, 8);
  const f = new FloatCode(code, 32);
  const scaled = f.div(greatest, broadcast(code, at(needed, scaleAt)));
  const least = broadcast(code, at(needed, leastAt));
  w.when(maskBits(w, f.compare('LT', scaled, least)), 'e', 0, () => {
    then();
    w.when(w.signed(at(needed, countAt)), 'ne', 0, () =>
      w.when(maskBits(w, f.compare('GT', scaled, least)), 'ne', 0, () => {
        const place = emitFirstEqual(w, tail, needed, most, least);
        storeFirst(code, at(needed, 0, place, 4), scaled);
        const parts = Array.from({ length: most / 8 }, (_, i) => code.load(32, at(needed, 32 * i)));
        const next = across(code, [parts.reduce((a, b) => f.minimum(a, b))], (f, a, b) => f.minimum(a, b));
        storeFirst(code, at(needed, leastAt), next);
      }),
    );
  });
}
