/** The digits of 2 / pi that the reduction of large angles needs: Payne and Hanek, "Radian reduction", 1983. */

const BITS = 1320n;

/** atan(1 / n) in units of 2^-BITS. */
function arctangentOfInverse(n: bigint): bigint {
  let power = (1n << BITS) / n;
  let sum = power;
  for (let k = 3n; power !== 0n; k += 2n) {
    power = -power / (n * n);
    sum += power / k;
  }
  return sum;
}

/** Bits of each digit: a product with 26 bits is exact in f64. */
export const DIGIT_BITS = 24;

/** Digits of 2 / pi to the base 2^24 after the point, most significant first, as f64. */
export function twoOverPi(): Float64Array {
  // Machin: pi / 4 = 4 atan(1/5) - atan(1/239)
  const quarter = 4n * arctangentOfInverse(5n) - arctangentOfInverse(239n);
  const quotient = (1n << (2n * BITS)) / (2n * quarter);
  const base = BigInt(DIGIT_BITS);
  return Float64Array.from({ length: 52 }, (_, i) =>
    Number(BigInt.asUintN(DIGIT_BITS, quotient >> (BITS - base * BigInt(i + 1)))),
  );
}
