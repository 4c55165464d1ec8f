/**
 * Perplexity of a text, by two rules. llama.cpp's (`tools/perplexity`): the text is cut into whole windows of the context's length,
 * each begins with the token of a beginning where the model wants one, and the second half of each is scored, so that all that is
 * scored has half a window before it. Hugging Face's ("Perplexity of fixed-length models"): windows move on by a stride, and what
 * is new in each is scored.
 */
import { IngotError } from '../base/errors.ts';
import type { Engine } from '../engine/engine.ts';

export interface Window {
  readonly tokens: readonly number[];
  /** The first token that is scored, as a place in the window; the others after it are too. */
  readonly first: number;
}

/** @throws IngotError 'InvalidArgument' for a text that is too short. */
export function halfWindows(ids: readonly number[], length: number, begin: number | undefined): readonly Window[] {
  const windows: Window[] = [];
  for (let start = 0; start + length <= ids.length; start += length) {
    const tokens = ids.slice(start, start + length);
    if (begin !== undefined) tokens[0] = begin;
    windows.push({ tokens, first: Math.floor(length / 2) + 1 });
  }
  // As llama.cpp, which wants enough for an estimate.
  if (windows.length < 2) throw tooShort(ids.length, 2 * length);
  return windows;
}

/** @throws IngotError 'InvalidArgument' for a text that is too short. */
export function stridedWindows(ids: readonly number[], length: number, stride: number): readonly Window[] {
  if (ids.length < 2) throw tooShort(ids.length, 2);
  const windows: Window[] = [];
  for (let start = 0, scored = 1; scored < ids.length; start += stride) {
    const end = Math.min(start + length, ids.length);
    windows.push({ tokens: ids.slice(start, end), first: scored - start });
    scored = end;
  }
  return windows;
}

function tooShort(tokens: number, wanted: number): IngotError {
  return new IngotError('InvalidArgument', `the text has ${tokens} tokens; at least ${wanted} are needed`, {
    hint: 'take a longer text, or a shorter --context',
  });
}

export interface Perplexity {
  readonly perplexity: number;
  /** One standard error of it, as llama.cpp estimates it. */
  readonly error: number;
  /** Negative log-likelihood, natural, a token. */
  readonly nll: number;
  readonly tokens: number;
  readonly windows: number;
}

export async function measurePerplexity(
  engine: Engine,
  windows: readonly Window[],
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<Perplexity> {
  const sums = new Sums();
  for (const [i, { tokens, first }] of windows.entries()) {
    for (const logprob of await engine.score(tokens, { first, signal })) sums.add(-logprob);
    onProgress(i + 1, windows.length);
  }
  const { mean: nll, error } = sums;
  const perplexity = Math.exp(nll);
  return { perplexity, error: error * perplexity, nll, tokens: sums.count, windows: windows.length };
}

/** A mean and its standard error. */
export class Sums {
  count = 0;
  #sum = 0;
  #squares = 0;

  add(value: number): void {
    this.count++;
    this.#sum += value;
    this.#squares += value * value;
  }

  get mean(): number {
    return this.#sum / this.count;
  }

  get error(): number {
    const variance = this.#squares / this.count - this.mean ** 2;
    return this.count < 2 ? 0 : Math.sqrt(Math.max(0, variance) / (this.count - 1));
  }
}
