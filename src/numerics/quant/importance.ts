/**
 * How ggml's encoders weigh values by an importance matrix: the importance of the column, times a root that gives large
 * values a share of their own.
 */
import { lanes } from './lanes.ts';

const f = Math.fround;

export function sumOfSquares(x: Float32Array, at: number, count: number): number {
  let sum = 0;
  for (let k = at; k < at + count; k++) sum = f(sum + f((x[k] as number) * (x[k] as number)));
  return sum;
}

/** Fills a lane of `weights` for `count` values from `at` on, where each row begins with column 0. Gives their sum. */
export function weigh(
  x: Float32Array,
  at: number,
  count: number,
  importance: Float32Array,
  variance: number,
  weights: Float32Array,
  lane: number,
): number {
  const column = at % importance.length;
  let sum = 0;
  for (let k = 0; k < count; k++) {
    const value = x[at + k] as number;
    const root = f(Math.sqrt(f(variance + f(value * value))));
    const w = f((importance[column + k] as number) * root);
    weights[lanes * k + lane] = w;
    sum = f(sum + w);
  }
  return sum;
}
