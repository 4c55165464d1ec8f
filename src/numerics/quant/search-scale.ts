/**
 * ggml's search for a scale around zero (make_qx_quants): 19 trial scales around `extreme / -levels` give levels, each set
 * of levels its best scale by weighted least squares, and the largest explained part wins. Every operation is rounded to
 * f32, as compiled C does.
 */
import { nearestLevel } from './nearest-level.ts';

const f = Math.fround;

/** Below it a group counts as empty. */
export const emptyGroup = f(1e-15);

/**
 * Fits x[at ..], as many as there are weights, to `scale * level` with levels of `-half` to `half - 1`, and gives the scale.
 * `levels` gets them, at `to` and after, from zero: plus `half`, and 0 in an empty group.
 */
export function searchScale(
  x: Float32Array,
  at: number,
  weights: Float32Array,
  half: number,
  levels: Uint8Array,
  to: number,
): number {
  const count = weights.length;
  let extreme = 0;
  for (let k = 0; k < count; k++) {
    const value = x[at + k] as number;
    if (Math.abs(value) > Math.abs(extreme)) extreme = value;
  }
  if (Math.abs(extreme) < emptyGroup) {
    levels.fill(0, to, to + count);
    return 0;
  }
  let scale = 0;
  let best = 0;
  const first = -10;
  for (let step = first; step <= 9; step++) {
    // The middle one is the first.
    if (step === 0) continue;
    const inverse = step === first ? f(-half / extreme) : f(-f(half + f(f(0.1) * step)) / extreme);
    let sumXL = 0;
    let sumL2 = 0;
    for (let k = 0; k < count; k++) {
      const value = x[at + k] as number;
      const level = nearestLevel(f(inverse * value), -half, half - 1);
      const w = weights[k] as number;
      sumXL = f(sumXL + f(f(w * value) * level));
      sumL2 = f(sumL2 + f(f(w * level) * level));
    }
    if (step > first && !(sumL2 > 0 && f(sumXL * sumXL) > f(best * sumL2))) continue;
    for (let k = 0; k < count; k++) {
      levels[to + k] = nearestLevel(f(inverse * (x[at + k] as number)), -half, half - 1) + half;
    }
    scale = sumL2 === 0 ? 0 : f(sumXL / sumL2);
    best = f(scale * sumXL);
  }
  return scale;
}
