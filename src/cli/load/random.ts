/** Draws that are the same for the same seed: a load is measured twice, or by somebody else. */

/** Uniform in [0, 1). */
export type Random = () => number;

/** Whole numbers from `low` to `high`, both included. */
export interface Range {
  readonly low: number;
  readonly high: number;
}

/** The generator mulberry32. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Time until the next event of a Poisson process. */
export function exponential(random: Random, mean: number): number {
  return -mean * Math.log(1 - random());
}

export function between(random: Random, { low, high }: Range): number {
  return low + Math.floor(random() * (high - low + 1));
}
