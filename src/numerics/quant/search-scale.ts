/**
 * ggml's search for a scale around zero (make_qx_quants): 19 trial scales around `extreme / -half` give levels of `-half` to
 * `half - 1`, each set of levels its best scale by weighted least squares, and the largest explained part wins.
 */
import { type LaneCode, type LaneSearch, laneSearch, places } from './lanes.ts';
import {
  abs,
  add,
  any,
  both,
  type Code,
  choose,
  div,
  equal,
  less,
  more,
  mul,
  nearestLevels,
  splat,
  unless,
  when,
} from './wasm.ts';

const f = Math.fround;

/** Below it a group counts as empty. */
export const emptyGroup = f(1e-15);

/** Levels are from zero, plus `half`, and 0 in an empty group. Results: scales. */
export function searchScale(half: number): () => LaneSearch {
  // The middle one is the first; after it -9 to 9 without 0.
  const steps = [...Array(20).keys()].map((i) => i - 10).filter((step) => step !== 0);
  const numerators = steps.map((step) => (step === -10 ? -half : f(-f(half + f(f(0.1) * step)))));
  const run = ({ vectors, each, eachEntry, at, entry, store, storeResult }: LaneCode): readonly Code[] => {
    const [value, extreme, largest, mask] = vectors();
    const [inverse, level, weighted, sumXL, sumL2] = vectors();
    const [scale, best, bestInverse, isLater] = vectors();
    const zero = splat(0);
    const readValue = value.set(at(places.values));
    const levelBy = (by: typeof inverse) => nearestLevels(mul(by.get, value.get), -half, half - 1);
    return [
      each(
        readValue,
        mask.set(more(abs(value.get), largest.get)),
        largest.set(choose(mask.get, abs(value.get), largest.get)),
        extreme.set(choose(mask.get, value.get, extreme.get)),
      ),
      eachEntry(
        inverse.set(div(entry, extreme.get)),
        sumXL.set(zero),
        sumL2.set(zero),
        each(
          readValue,
          level.set(levelBy(inverse)),
          weighted.set(at(places.weights)),
          sumXL.set(add(sumXL.get, mul(mul(weighted.get, value.get), level.get))),
          sumL2.set(add(sumL2.get, mul(mul(weighted.get, level.get), level.get))),
        ),
        mask.set(both(more(sumL2.get, zero), more(mul(sumXL.get, sumXL.get), mul(best.get, sumL2.get)))),
        // The first is taken as it is.
        mask.set(choose(isLater.get, mask.get, equal(zero, zero))),
        when(
          any(mask.get),
          scale.set(choose(mask.get, unless(div(sumXL.get, sumL2.get), equal(sumL2.get, zero)), scale.get)),
          best.set(choose(mask.get, mul(scale.get, sumXL.get), best.get)),
          bestInverse.set(choose(mask.get, inverse.get, bestInverse.get)),
        ),
        isLater.set(equal(zero, zero)),
      ),
      mask.set(less(largest.get, splat(emptyGroup))),
      each(readValue, store(places.levels, unless(add(levelBy(bestInverse), splat(half)), mask.get))),
      storeResult(0, unless(scale.get, mask.get)),
    ];
  };
  const refine = ({ each, at, store, result }: LaneCode): readonly Code[] => {
    const level = nearestLevels(div(at(places.values), result(0)), -half, half - 1);
    return [each(store(places.levels, add(level, splat(half))))];
  };
  return laneSearch({ table: numerators, run, refine });
}
