/**
 * ggml's search for a scale and a minimum (make_qkx2_quants, make_qkx3_quants): trial scales give levels, each set of levels
 * gives its best scale and minimum by weighted least squares, and the smallest weighted error wins.
 */
import { type LaneCode, type LaneSearch, laneSearch, places } from './lanes.ts';
import {
  abs,
  add,
  any,
  atMost,
  both,
  type Code,
  choose,
  div,
  greater,
  type Local,
  less,
  lesser,
  more,
  mul,
  nearestLevels,
  negate,
  splat,
  sqrt,
  sub,
  unless,
  when,
} from './wasm.ts';

const f = Math.fround;

export interface MinimumSearch {
  /** Levels are 0 to `top`. */
  readonly top: number;
  /** Trial t divides the range into `top + first + t * step` parts. */
  readonly first: number;
  readonly step: number;
  readonly trials: number;
  /** Whether the error is that of magnitudes or of squares. */
  readonly error: 'absolute' | 'squared';
  /**
   * What values weigh: what is given, or their magnitudes plus the root of their mean square, which is then of groups of this
   * size.
   */
  readonly weights: 'given' | 32;
}

/** What every format searches with where there is an importance matrix. */
export function weightedSearch(top: number): MinimumSearch {
  return { top, first: f(-0.9), step: f(0.05), trials: 37, error: 'squared', weights: 'given' };
}

/** Results: scales, then minima, which are not negative: values are near `scale * level - minimum`. */
export function searchMinimum({ top, first, step, trials, error, weights }: MinimumSearch): () => LaneSearch {
  const parts = Array.from({ length: trials }, (_, t) => f(f(first + f(step * t)) + top));
  const run = ({ vectors, each, eachEntry, at, entry, store, storeResult }: LaneCode): readonly Code[] => {
    const [low, high, flat, sumW, sumX] = vectors();
    const [scale, best, inverse, value, weight, level, wl] = vectors();
    const [sumL, sumL2, sumXL, determinant] = vectors();
    const [trialScale, trialLow, trialError, better] = vectors();
    const zero = splat(0);

    const readValue = value.set(at(places.values));
    const readWeight = weight.set(at(places.weights));
    const setLevel = level.set(nearestLevels(mul(inverse.get, sub(value.get, low.get)), 0, top));
    /** Adds the weighted error of a level; `value` and `weight` are read. */
    const addError = (sum: Local, by: Code, levelHere: Code, from: Code): Code => {
      const difference = sub(add(mul(by, levelHere), from), value.get);
      return error === 'absolute'
        ? sum.set(add(sum.get, mul(weight.get, abs(difference))))
        : [...wl.set(difference), ...sum.set(add(sum.get, mul(weight.get, mul(wl.get, wl.get))))];
    };

    const weigh: readonly Code[] =
      weights === 'given'
        ? []
        : [
            each(readValue, sumX.set(add(sumX.get, mul(value.get, value.get)))),
            sumX.set(sqrt(div(sumX.get, splat(weights)))),
            each(store(places.weights, add(sumX.get, abs(at(places.values))))),
          ];
    return [
      low.set(at(places.values)),
      ...weigh,
      sumW.set(zero),
      sumX.set(zero),
      high.set(low.get),
      each(
        readValue,
        readWeight,
        low.set(lesser(low.get, value.get)),
        high.set(greater(high.get, value.get)),
        sumW.set(add(sumW.get, weight.get)),
        sumX.set(add(sumX.get, mul(weight.get, value.get))),
      ),
      low.set(lesser(low.get, zero)),
      flat.set(atMost(high.get, low.get)),
      inverse.set(div(splat(top), sub(high.get, low.get))),
      scale.set(div(splat(1), inverse.get)),
      best.set(zero),
      each(
        readValue,
        readWeight,
        setLevel,
        store(places.levels, unless(level.get, flat.get)),
        addError(best, scale.get, level.get, low.get),
      ),
      // Trials divide by the range around the best minimum so far, not around the first one.
      eachEntry(
        inverse.set(div(entry, sub(high.get, low.get))),
        sumL.set(zero),
        sumL2.set(zero),
        sumXL.set(zero),
        each(
          readValue,
          setLevel,
          store(places.trial, level.get),
          wl.set(mul(at(places.weights), level.get)),
          sumL.set(add(sumL.get, wl.get)),
          sumL2.set(add(sumL2.get, mul(wl.get, level.get))),
          sumXL.set(add(sumXL.get, mul(wl.get, value.get))),
        ),
        determinant.set(sub(mul(sumW.get, sumL2.get), mul(sumL.get, sumL.get))),
        trialScale.set(div(sub(mul(sumW.get, sumXL.get), mul(sumX.get, sumL.get)), determinant.get)),
        trialLow.set(div(sub(mul(sumL2.get, sumX.get), mul(sumL.get, sumXL.get)), determinant.get)),
        better.set(more(trialLow.get, zero)),
        trialScale.set(choose(better.get, div(sumXL.get, sumL2.get), trialScale.get)),
        trialLow.set(unless(trialLow.get, better.get)),
        trialError.set(zero),
        each(readValue, readWeight, addError(trialError, trialScale.get, at(places.trial), trialLow.get)),
        better.set(both(less(trialError.get, best.get), more(determinant.get, zero))),
        better.set(unless(better.get, flat.get)),
        when(
          any(better.get),
          each(store(places.levels, choose(better.get, at(places.trial), at(places.levels)))),
          best.set(choose(better.get, trialError.get, best.get)),
          scale.set(choose(better.get, trialScale.get, scale.get)),
          low.set(choose(better.get, trialLow.get, low.get)),
        ),
      ),
      storeResult(0, unless(scale.get, flat.get)),
      storeResult(1, negate(low.get)),
    ];
  };
  const refine = ({ each, at, store, result }: LaneCode): readonly Code[] => [
    each(store(places.levels, nearestLevels(div(add(at(places.values), result(1)), result(0)), 0, top))),
  ];
  return laneSearch({ table: parts, run, refine });
}
