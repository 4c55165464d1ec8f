/** `draw` (composites/draw.ts): a unit of work is a row. */
import type { Dim } from '../../../ir/types.ts';
import type { EmittedKernel } from '../emit/abi.ts';
import { at, d } from '../emit/machine.ts';
import { sortBins } from './radix-sort.ts';
import { emitDraw, forEachRow, pairBytes } from './sample-draw.ts';
import { tailSlot } from './sample-logits.ts';
import { KernelWriter } from './writer.ts';

export interface DrawShape {
  /** R. */
  readonly rows: Dim;
  /** V. */
  readonly vocabulary: number;
}

export const drawBuffers = [
  ...(['logits', 'temperature', 'topK', 'topP', 'minP', 'seed', 'drawPosition', 'scratch', 'ids'] as const),
] as const;

/** A row's own memory: two lists of pairs. */
export const drawRowBytes = (vocabulary: number) => 2 * pairBytes(vocabulary);

export function drawKernel({ rows, vocabulary }: DrawShape): EmittedKernel {
  const w = new KernelWriter('draw', drawBuffers, [rows]);
  const slots = { tail: tailSlot(), bins: sortBins() };
  forEachRow(w, rows, (row) => {
    const ofRow = (name: (typeof drawBuffers)[number], bytes: number) => w.sum(w.buffer(name), w.product(row, bytes));
    const own = ofRow('scratch', drawRowBytes(vocabulary));
    const temperature = ofRow('temperature', 4);
    const id = w.value(0);
    w.when(w.signed(at(temperature)), 'g', 0, () => {
      const drawn = emitDraw(w, slots, ofRow('logits', 4 * vocabulary), vocabulary, {
        ...{ temperature, topK: ofRow('topK', 4), topP: ofRow('topP', 4), minP: ofRow('minP', 4) },
        ...{ seed: ofRow('seed', 8), position: ofRow('drawPosition', 4) },
        pairs: [own, w.sum(own, pairBytes(vocabulary))],
      });
      w.set(id, drawn);
    });
    w.m.emit('mov', at(w.buffer('ids'), 0, row, 4), d(id));
  });
  return w.finish();
}
