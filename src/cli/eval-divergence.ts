/**
 * How far one model is from another: the Kullback-Leibler divergence of what they say about each next token of a text, and how
 * often both think the same token the likeliest. Windows and what is scored in them are those of the perplexity, as in
 * llama.cpp's `--kl-divergence`.
 */
import { IngotError } from '../base/errors.ts';
import type { Engine } from '../engine/engine.ts';
import { logSumExp } from '../engine/logits.ts';
import { Sums, type Window } from './eval-perplexity.ts';

export interface Divergence {
  /** Mean of KL(reference || model), in nats, and one standard error of it. */
  readonly meanKl: number;
  readonly meanKlError: number;
  readonly medianKl: number;
  readonly maxKl: number;
  /** Share of tokens where both have the same likeliest one. */
  readonly sameTop: number;
  readonly perplexity: number;
  readonly referencePerplexity: number;
  readonly tokens: number;
}

/** Rows of logits asked for at once: two models' rows of a large vocabulary take some megabytes. */
const piece = 32;

/** @throws IngotError 'TokenizerMismatch' if the models do not speak of the same tokens. */
export async function measureDivergence(
  engine: Engine,
  reference: Engine,
  windows: readonly Window[],
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<Divergence> {
  const { vocabularySize } = engine.model;
  if (reference.model.vocabularySize !== vocabularySize) {
    throw new IngotError(
      'TokenizerMismatch',
      `the models have ${vocabularySize} and ${reference.model.vocabularySize} tokens; they have to be the same`,
    );
  }
  const [kl, nll, referenceNll] = [new Sums(), new Sums(), new Sums()];
  const all: number[] = [];
  let same = 0;
  for (const [i, { tokens, first }] of windows.entries()) {
    for (let from = first; from < tokens.length; from += piece) {
      const text = tokens.slice(0, from + piece);
      const options = { first: from, signal };
      // One after the other: each takes all threads.
      const ours = await engine.logits(text, options);
      const theirs = await reference.logits(text, options);
      for (let at = 0; at < ours.length; at += vocabularySize) {
        const [q, p] = [ours, theirs].map((rows) => logProbabilities(rows.subarray(at, at + vocabularySize)));
        const token = text[from + at / vocabularySize];
        nll.add(-q.values[token]);
        referenceNll.add(-p.values[token]);
        const divergence = klDivergence(p.values, q.values);
        kl.add(divergence);
        all.push(divergence);
        if (p.likeliest === q.likeliest) same++;
      }
    }
    onProgress(i + 1, windows.length);
  }
  all.sort((a, b) => a - b);
  return {
    meanKl: kl.mean,
    meanKlError: kl.error,
    medianKl: all[all.length >> 1],
    maxKl: all[all.length - 1],
    sameTop: same / all.length,
    perplexity: Math.exp(nll.mean),
    referencePerplexity: Math.exp(referenceNll.mean),
    tokens: all.length,
  };
}

export function logProbabilities(logits: Float32Array): { readonly values: Float64Array; readonly likeliest: number } {
  let likeliest = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[likeliest]) likeliest = i;
  const total = logSumExp(logits);
  return { values: Float64Array.from(logits, (logit) => logit - total), likeliest };
}

export function klDivergence(p: Float64Array, q: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < p.length; i++) sum += Math.exp(p[i]) * (p[i] - q[i]);
  return sum;
}
