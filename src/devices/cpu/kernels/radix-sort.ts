/** Pairs of 64 bits sorted by their low 32, ascending and stable: least significant digits of 11 bits first. */

import { at, d, q, type Register, type Slot, view } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';
import type { KernelWriter } from './writer.ts';

const DIGIT = 11;
const BINS = 2 ** DIGIT;
const PASSES = 3;

export const sortBins = (): Slot => ({ bytes: 4 * BINS, align: 32 });

/** Sorts `count` pairs at `from`; the result lies at `to`, both are overwritten. `bins` is `sortBins` for use meanwhile. */
export function emitSort<B extends string>(
  w: KernelWriter<B>,
  bins: Slot,
  from: Register,
  to: Register,
  count: Register,
): void {
  const { m } = w;
  const zero = laneCode(m, 8).zero();
  const bytes = w.shift(count, 'shl', 3);
  let [source, target] = [from, to];
  for (let pass = 0; pass < PASSES; pass++) {
    const table = w.addressOf(bins);
    const tableEnd = w.sum(table, 4 * BINS);
    w.forEach(table, tableEnd, 32, (place) => m.emit('vmovups', at(place), view(zero, 256)));
    const end = w.sum(source, bytes);
    const digitOf = (pair: Register) => {
      const digit = w.gp();
      m.emit('mov', d(digit), at(pair));
      if (pass > 0) m.emit('shr', d(digit), DIGIT * pass);
      if (pass < PASSES - 1) m.emit('and', d(digit), BINS - 1);
      return digit;
    };
    w.forEach(source, end, 8, (pair) => m.emit('add', { ...at(table, 0, digitOf(pair), 4), bits: 32 }, 1));
    // Where the first pair of each digit goes.
    const place = w.value(0);
    w.forEach(table, tableEnd, 4, (bin) => {
      const some = w.gp();
      m.emit('mov', d(some), at(bin));
      m.emit('mov', at(bin), d(place));
      w.change('add', place, some);
    });
    w.forEach(source, end, 8, (pair) => {
      const bin = at(table, 0, digitOf(pair), 4);
      const index = w.gp();
      m.emit('mov', d(index), bin);
      m.emit('add', { ...bin, bits: 32 }, 1);
      const value = w.value(at(pair));
      m.emit('mov', at(target, 0, index, 8), q(value));
    });
    [source, target] = [target, source];
  }
}
