/**
 * ggml's search for a scale and a minimum (make_qkx2_quants, make_qkx3_quants): trial scales give levels, each set of levels
 * gives its best scale and minimum by weighted least squares, and the smallest weighted error wins. Every operation is
 * rounded to f32, as compiled C does.
 */
import { nearestLevel } from './nearest-level.ts';

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
}

/** What every format searches with where there is an importance matrix. */
export function weightedSearch(top: number): MinimumSearch {
  return { top, first: f(-0.9), step: f(0.05), trials: 37, error: 'squared' };
}

/** x is near `scale * level - minimum`; `minimum` is not negative. */
export interface MinimumFit {
  scale: number;
  minimum: number;
}

const trial = new Float32Array(32);

/** Fits x[at ..] to levels[to ..], as many as there are weights, 32 at most. */
export function searchMinimum(
  x: Float32Array,
  at: number,
  weights: Float32Array,
  { top, first, step, trials, error }: MinimumSearch,
  levels: Uint8Array,
  to: number,
  fit: MinimumFit,
): void {
  const count = weights.length;
  const absolute = error === 'absolute';
  let low = x[at] as number;
  let high = low;
  let sumW = weights[0] as number;
  let sumX = f(sumW * low);
  for (let k = 1; k < count; k++) {
    const value = x[at + k] as number;
    const w = weights[k] as number;
    if (value < low) low = value;
    if (value > high) high = value;
    sumW = f(sumW + w);
    sumX = f(sumX + f(w * value));
  }
  if (low > 0) low = 0;
  if (high <= low) {
    levels.fill(0, to, to + count);
    fit.scale = 0;
    fit.minimum = -low;
    return;
  }

  // Trials divide by the range around the best minimum so far, not around the first one.
  let scale = f(1 / f(top / f(high - low)));
  let best = 0;
  const firstInverse = f(top / f(high - low));
  for (let k = 0; k < count; k++) {
    const value = x[at + k] as number;
    const level = nearestLevel(f(firstInverse * f(value - low)), 0, top);
    levels[to + k] = level;
    const difference = f(f(f(scale * level) + low) - value);
    const e = absolute ? Math.abs(difference) : f(difference * difference);
    best = f(best + f((weights[k] as number) * e));
  }
  for (let t = 0; t < trials; t++) {
    const inverse = f(f(f(first + f(step * t)) + top) / f(high - low));
    let sumL = 0;
    let sumL2 = 0;
    let sumXL = 0;
    for (let k = 0; k < count; k++) {
      const value = x[at + k] as number;
      const level = nearestLevel(f(inverse * f(value - low)), 0, top);
      trial[k] = level;
      const wl = f((weights[k] as number) * level);
      sumL = f(sumL + wl);
      sumL2 = f(sumL2 + f(wl * level));
      sumXL = f(sumXL + f(wl * value));
    }
    const determinant = f(f(sumW * sumL2) - f(sumL * sumL));
    if (!(determinant > 0)) continue;
    let trialScale = f(f(f(sumW * sumXL) - f(sumX * sumL)) / determinant);
    let trialLow = f(f(f(sumL2 * sumX) - f(sumL * sumXL)) / determinant);
    if (trialLow > 0) {
      trialLow = 0;
      trialScale = f(sumXL / sumL2);
    }
    let sum = 0;
    for (let k = 0; k < count; k++) {
      const difference = f(f(f(trialScale * (trial[k] as number)) + trialLow) - (x[at + k] as number));
      const e = absolute ? Math.abs(difference) : f(difference * difference);
      sum = f(sum + f((weights[k] as number) * e));
    }
    if (sum < best) {
      for (let k = 0; k < count; k++) levels[to + k] = trial[k] as number;
      best = sum;
      scale = trialScale;
      low = trialLow;
    }
  }
  fit.scale = scale;
  fit.minimum = -low;
}
