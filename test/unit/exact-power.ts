/** x^y in fixed point with 256 bits, rounded at the end: JavaScript's own is hundreds of units off where x is near 1. */

const BITS = 256n;
const ONE = 1n << BITS;

/** value = mantissa * 2^exponent */
function split(value: number): { mantissa: bigint; exponent: number } {
  const bits = new BigUint64Array(new Float64Array([value]).buffer)[0] as bigint;
  const biased = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & ((1n << 52n) - 1n);
  const magnitude = biased === 0 ? fraction : fraction | (1n << 52n);
  return { mantissa: value < 0 ? -magnitude : magnitude, exponent: Math.max(biased, 1) - 1075 };
}

const shift = (x: bigint, by: number) => (by >= 0 ? x << BigInt(by) : x >> BigInt(-by));

/** Of 1 <= v < 4. */
function logarithm(v: bigint): bigint {
  const s = ((v - ONE) << BITS) / (v + ONE);
  const square = (s * s) >> BITS;
  let sum = 0n;
  for (let [term, i] = [s, 1n]; term !== 0n; term = (term * square) >> BITS, i += 2n) sum += term / i;
  return 2n * sum;
}

const LN2 = logarithm(2n * ONE);

/** Of a positive finite base and a finite exponent. */
export function exactPower(x: number, y: number): number {
  const base = split(x);
  const length = base.mantissa.toString(2).length - 1;
  const log = logarithm(shift(base.mantissa, Number(BITS) - length)) + BigInt(base.exponent + length) * LN2;
  const by = split(y);
  const product = shift(log * by.mantissa, by.exponent);
  const k = product / LN2;
  if (k > 1100n) return Number.POSITIVE_INFINITY;
  if (k < -1200n) return 0;
  const rest = product - k * LN2;
  let sum = 0n;
  for (let [term, i] = [ONE, 1n]; term !== 0n; term = ((term * rest) >> BITS) / i, i++) sum += term;
  const half = Number(k / 2n);
  return Number(sum) * 2 ** -Number(BITS) * 2 ** half * 2 ** (Number(k) - half);
}
