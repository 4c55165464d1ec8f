/**
 * The one order in which float reductions add: 16 virtual lanes, element i in lane i mod 16, ascending from +0; then the
 * lanes in a tree of strides 8, 4, 2, 1. Vector units of any width up to 16 can follow it, so can a scalar loop.
 */

const lanes = new Float64Array(16);

/** Sum of `count` numbers from `offset`, `stride` apart; `round` (a `rounder` of the element type) after every addition. */
export function sumLanes(
  values: ArrayLike<number>,
  offset: number,
  count: number,
  stride: number,
  round: (value: number) => number,
): number {
  lanes.fill(0);
  for (let i = 0, at = offset; i < count; i++, at += stride) {
    lanes[i & 15] = round((lanes[i & 15] as number) + (values[at] as number));
  }
  for (let width = 8; width >= 1; width >>= 1) {
    for (let lane = 0; lane < width; lane++) {
      lanes[lane] = round((lanes[lane] as number) + (lanes[lane + width] as number));
    }
  }
  return lanes[0] as number;
}
