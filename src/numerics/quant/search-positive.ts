/**
 * ggml's search for a scale of values that are not negative (make_qp_quants), which stores the scales and minima of the
 * sub-blocks of a super-block where there is an importance matrix: the best of 9 trial scales, then single levels changed
 * while that explains more. Every operation is rounded to f32, as compiled C does.
 */
import { nearestLevel } from './nearest-level.ts';
import { emptyGroup } from './search-scale.ts';

const f = Math.fround;
/** No limit: ggml has none. */
const lowest = -(2 ** 22);

/** Fits x, as many as there are weights, to `scale * level` with levels up to `top`, and gives the scale. */
export function searchPositive(x: Float32Array, weights: Float32Array, top: number, levels: Uint8Array): number {
  const count = weights.length;
  let highest = 0;
  for (let k = 0; k < count; k++) highest = (x[k] as number) < highest ? highest : (x[k] as number);
  if (highest < emptyGroup) {
    levels.fill(0, 0, count);
    return 0;
  }
  let inverse = f(top / highest);
  let best = 0;
  for (let step = 0; step <= 8; step++) {
    // The middle one first; after it -4 to 4 without 0.
    const distance = step === 0 ? 0 : step <= 4 ? step - 5 : step - 4;
    const trial = step === 0 ? inverse : f(f(f(f(0.1) * distance) + top) / highest);
    const scale = f(1 / trial);
    let error = 0;
    for (let k = 0; k < count; k++) {
      const level = nearestLevel(f(trial * (x[k] as number)), lowest, top);
      const difference = f((x[k] as number) - f(scale * level));
      error = f(error + f(f((weights[k] as number) * difference) * difference));
    }
    if (step > 0 && !(error < best)) continue;
    best = error;
    inverse = trial;
  }
  let sumXL = 0;
  let sumL2 = 0;
  for (let k = 0; k < count; k++) {
    const level = nearestLevel(f(inverse * (x[k] as number)), lowest, top);
    levels[k] = level;
    const w = weights[k] as number;
    sumXL = f(sumXL + f(f(w * (x[k] as number)) * level));
    sumL2 = f(sumL2 + f(f(w * level) * level));
  }
  for (let pass = 0; pass < 5; pass++) {
    let changed = false;
    for (let k = 0; k < count; k++) {
      const value = x[k] as number;
      const w = weights[k] as number;
      const level = levels[k] as number;
      let restXL = f(sumXL - f(f(w * value) * level));
      let restL2 = f(sumL2 - f(f(w * level) * level));
      if (!(restXL > 0 && restL2 > 0)) continue;
      const better = nearestLevel(f(f(value * restL2) / restXL), lowest, top);
      if (better === level) continue;
      restXL = f(restXL + f(f(w * value) * better));
      restL2 = f(restL2 + f(f(w * better) * better));
      if (!(f(f(restXL * restXL) * sumL2) > f(f(sumXL * sumXL) * restL2))) continue;
      levels[k] = better;
      sumXL = restXL;
      sumL2 = restL2;
      changed = true;
    }
    if (!changed) break;
  }
  return sumL2 > 0 ? f(sumXL / sumL2) : 0;
}
