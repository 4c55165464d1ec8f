/** What a request may ask of sampling, its defaults and its limits. */
import { IngotError } from '../base/errors.ts';

/** How a token is chosen by its logits. */
export interface SamplingParameters {
  /** 0 = always the likeliest token. */
  readonly temperature: number;
  /** Keep the k likeliest tokens; 0 = all. */
  readonly topK: number;
  /** Keep the likeliest tokens that together reach this probability; 1 = all. */
  readonly topP: number;
  /** Keep tokens at least this fraction as likely as the likeliest; 0 = all. */
  readonly minP: number;
  /** Divides positive and multiplies negative logits of tokens that occurred in prompt or answer; 1 = off. */
  readonly repetitionPenalty: number;
  /** Subtracted for each time that a token occurred in the answer; 0 = off. */
  readonly frequencyPenalty: number;
  /** Subtracted once for tokens that occurred in the answer; 0 = off. */
  readonly presencePenalty: number;
  /** Added to logits, by token id. */
  readonly logitBias: ReadonlyMap<number, number>;
  /** The same seed gives the same text. 64 bits. */
  readonly seed: bigint;
}

export const greedy: SamplingParameters = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  logitBias: new Map(),
  seed: 0n,
};

type NumberKey = {
  [K in keyof SamplingParameters]: SamplingParameters[K] extends number ? K : never;
}[keyof SamplingParameters];

const ranges: Record<NumberKey, { readonly low: number; readonly high: number; readonly whole?: boolean }> = {
  temperature: { low: 0, high: 100 },
  topK: { low: 0, high: 2 ** 31 - 1, whole: true },
  topP: { low: 0, high: 1 },
  minP: { low: 0, high: 1 },
  repetitionPenalty: { low: 0.01, high: 100 },
  frequencyPenalty: { low: -100, high: 100 },
  presencePenalty: { low: -100, high: 100 },
};

/** @throws IngotError 'InvalidArgument' naming the parameter and its range. */
export function checkSampling(parameters: SamplingParameters, vocabularySize: number, maxBias: number): void {
  for (const [name, { low, high, whole }] of Object.entries(ranges)) {
    const value = parameters[name as NumberKey];
    if (!(value >= low && value <= high) || (whole && !Number.isInteger(value))) {
      throw new IngotError(
        'InvalidArgument',
        `${name} is ${value}; it must be ${whole ? 'a whole number ' : ''}from ${low} to ${high}`,
      );
    }
  }
  const { logitBias, seed } = parameters;
  if (seed < 0n || seed >= 1n << 64n) {
    throw new IngotError('InvalidArgument', `seed is ${seed}; it must be from 0 to 2^64 - 1`);
  }
  if (logitBias.size > maxBias) {
    throw new IngotError('InvalidArgument', `logitBias has ${logitBias.size} entries; at most ${maxBias} are possible`);
  }
  for (const [id, bias] of logitBias) {
    if (!Number.isInteger(id) || id < 0 || id >= vocabularySize || Number.isNaN(bias)) {
      throw new IngotError('InvalidArgument', `logitBias ${id}: ${bias} names no token or no number`);
    }
  }
}
