/**
 * One fused multiply-add of f32 as the bf16 tile instructions do it (Intel SDM, TDPBF16PS): rounded once, to nearest
 * even, subnormal inputs read as zero and subnormal results flushed to zero, whatever MXCSR says.
 */

const cell = new Float64Array(1);
const words = new Uint32Array(cell.buffer); // [low, high]

const smallestNormal = 2 ** -126;
/** From here a result rounds up to the smallest normal number: tininess is detected after rounding. */
const smallestKept = 2 ** -126 - 2 ** -151;

/** A subnormal f32 becomes zero of its sign. */
export function flushSubnormal(value: number): number {
  return value < smallestNormal && value > -smallestNormal ? value * 0 : value;
}

/** Round to f32, subnormal results flushed; `value` must hold the exact result or be rounded to odd. */
function roundAndFlush(value: number): number {
  return value < smallestKept && value > -smallestKept ? value * 0 : Math.fround(value);
}

/** a * b + c of f32 numbers that are not subnormal, rounded once, flushed. */
export function fusedMultiplyAdd(a: number, b: number, c: number): number {
  const product = a * b; // exact: 48 bits
  const sum = product + c;
  // Knuth's two-sum: sum + error is exact.
  const share = sum - product;
  const error = product - (sum - share) + (c - share);
  if (error === 0 || !Number.isFinite(sum)) return roundAndFlush(sum);
  // Rounding 53 bits to 24 would round twice; from a sum rounded to odd it is right (Boldo and Melquiond, 2008).
  cell[0] = sum;
  const low = words[0] as number;
  if ((low & 1) === 0) {
    if (error > 0 === sum > 0) words[0] = low | 1;
    else {
      words[0] = low - 1;
      if (low === 0) words[1] = (words[1] as number) - 1;
    }
  }
  return roundAndFlush(cell[0] as number);
}

/** a + b of f32 numbers that are not subnormal, rounded once, flushed. */
export function addFlushed(a: number, b: number): number {
  return fusedMultiplyAdd(a, 1, b);
}
