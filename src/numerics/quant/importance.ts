/**
 * How ggml's encoders weigh values by an importance matrix: the importance of the column, times a root that gives large
 * values a share of their own.
 */
const f = Math.fround;

export function sumOfSquares(x: Float32Array, at: number, count: number): number {
  let sum = 0;
  for (let k = at; k < at + count; k++) sum = f(sum + f((x[k] as number) * (x[k] as number)));
  return sum;
}

/** Fills `weights` for as many values from `at` on; `column` is the first one's. Gives their sum. */
export function weigh(
  x: Float32Array,
  at: number,
  importance: Float32Array,
  column: number,
  variance: number,
  weights: Float32Array,
): number {
  let sum = 0;
  for (let k = 0; k < weights.length; k++) {
    const value = x[at + k] as number;
    const root = f(Math.sqrt(f(variance + f(value * value))));
    const w = f((importance[column + k] as number) * root);
    weights[k] = w;
    sum = f(sum + w);
  }
  return sum;
}
