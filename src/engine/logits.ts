/** What a row of logits says. */
import type { TokenLogprob } from './engine.ts';

/** The logarithm of the sum by which softmax divides. */
export function logSumExp(row: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const value of row) max = Math.max(max, value);
  let sum = 0;
  for (const value of row) sum += Math.exp(value - max);
  return max + Math.log(sum);
}

/** The `count` likeliest tokens of a row of logits, ties to the lower id. */
export function likeliest(logits: Float32Array, count: number): readonly TokenLogprob[] {
  const total = logSumExp(logits);
  const ids = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
  return ids.slice(0, count).map((id) => ({ id, logprob: logits[id] - total }));
}
