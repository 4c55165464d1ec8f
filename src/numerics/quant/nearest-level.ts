const cell = new Float32Array(1);
const word = new Int32Array(cell.buffer);

/**
 * The nearest integer of an f32 by the float adder, ties to even, within limits: ggml's nearest_int, which reads the low
 * bits of the sum. So infinities, and what is beyond 2^22, become what they become there.
 */
export function nearestLevel(value: number, low: number, high: number): number {
  cell[0] = value + 12582912;
  const level = ((word[0] as number) & 0x7fffff) - 0x400000;
  return level < low ? low : level > high ? high : level;
}
