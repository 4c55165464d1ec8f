/** What a row of logits says. */
import type { TokenLogprob } from './engine.ts';

/** The logarithm of the sum by which softmax divides. */
export function logSumExp(row: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const value of row) if (value > max) max = value;
  let sum = 0;
  for (const value of row) sum += Math.exp(value - max);
  return max + Math.log(sum);
}

/** The `count` likeliest tokens of a row of logits whose `logSumExp` is `total`, ties to the lower id. */
export function likeliest(logits: Float32Array, count: number, total: number): readonly TokenLogprob[] {
  /** Those that may be among them; sorted as often as there are twice as many as are wanted, since whole rows take too long to sort. */
  const ids: number[] = [];
  const keep = () => ids.sort((a, b) => logits[b] - logits[a] || a - b).splice(count);
  let least: number | undefined;
  for (let id = 0; id < logits.length; id++) {
    if (least !== undefined && !(logits[id] > least)) continue;
    ids.push(id);
    if (ids.length < 2 * count) continue;
    keep();
    least = logits[ids[count - 1]];
  }
  keep();
  return ids.map((id) => ({ id, logprob: logits[id] - total }));
}
