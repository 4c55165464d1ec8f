/** From a request of the API to generations of the engine: one a choice, their events in the order in which they come. */
import { randomBytes } from 'node:crypto';
import type { Engine, GenerateEvent, GenerateRequest, Prompt } from '../engine/engine.ts';
import type { SamplingParameters } from '../engine/sampling.ts';
import type { Statistics } from '../engine/statistics.ts';
import { bestOf } from './best-of.ts';
import { ApiError } from './failure.ts';
import type { SamplingRequest } from './requests.ts';

/** Who asks: requests share time by their owner, and computed beginnings by the other. */
export interface Asker {
  readonly owner: string;
  readonly cacheOwner: string;
}

export interface ChoiceEvent {
  readonly choice: number;
  readonly event: GenerateEvent;
}

/** OpenAI's defaults; what it has none for is off. */
function samplingOf(request: SamplingRequest): Omit<SamplingParameters, 'seed'> {
  return {
    temperature: request.temperature ?? 1,
    topP: request.top_p ?? 1,
    topK: request.top_k ?? 0,
    minP: request.min_p ?? 0,
    frequencyPenalty: request.frequency_penalty ?? 0,
    presencePenalty: request.presence_penalty ?? 0,
    repetitionPenalty: request.repetition_penalty ?? 1,
    logitBias: new Map(Object.entries(request.logit_bias ?? {}).map(([id, bias]) => [Number(id), bias])),
  };
}

export interface Wanted {
  readonly prompt: Prompt;
  readonly maxTokens: number;
  readonly topLogprobs: number;
  /** Answers that are made, of which the request's `n` best are given; `n` if absent. */
  readonly made?: number;
}

/** Answers of one request, of all its prompts together, at most. */
const mostChoices = 128;

/** Choice i draws with seed + i. */
function requestsOf(
  request: SamplingRequest,
  wanted: readonly Wanted[],
  asker: Asker,
): readonly Omit<GenerateRequest, 'signal'>[] {
  const { stop, n, seed, ignore_eos: ignoreEnd, min_tokens: minTokens, priority } = request;
  const choices = wanted.reduce((sum, { made = n ?? 1 }) => sum + made, 0);
  if (choices > mostChoices) {
    throw new ApiError(400, `${choices} choices of ${wanted.length} prompts are more than ${mostChoices}`);
  }
  const first = seed === undefined || seed === null ? randomBytes(8).readBigUInt64LE() : BigInt(seed);
  const stops = typeof stop === 'string' ? [stop] : (stop ?? []);
  return wanted.flatMap(({ made = n ?? 1, ...one }) =>
    Array.from({ length: made }, (_, i) => ({
      ...one,
      ...asker,
      sampling: { ...samplingOf(request), seed: BigInt.asUintN(64, first + BigInt(i)) },
      stop: stops.filter((text) => text !== ''),
      ...(ignoreEnd != null && { ignoreEnd }),
      ...(minTokens != null && { minTokens }),
      ...(priority !== undefined && { priority }),
    })),
  );
}

/** The choices of all prompts. Leaving the loop ends them. */
export function generateChoices(
  engine: Engine,
  request: SamplingRequest,
  wanted: readonly Wanted[],
  asker: Asker,
  signal: AbortSignal,
): AsyncGenerator<ChoiceEvent, void, undefined> {
  const all = allChoices(engine, request, wanted, asker, signal);
  const [kept, made] = [request.n ?? 1, wanted[0]?.made ?? request.n ?? 1];
  return made > kept ? bestOf(all, made, kept) : all;
}

async function* allChoices(
  engine: Engine,
  request: SamplingRequest,
  wanted: readonly Wanted[],
  asker: Asker,
  signal: AbortSignal,
): AsyncGenerator<ChoiceEvent, void, undefined> {
  const streams = requestsOf(request, wanted, asker).map((one) => engine.generate({ ...one, signal }));
  // As most are, for which nothing need be put in order.
  if (streams.length === 1) {
    for await (const event of streams[0]) yield { choice: 0, event };
    return;
  }
  const next = (choice: number) => streams[choice].next().then((result) => ({ choice, result }));
  const pending = new Map(streams.map((_, choice) => [choice, next(choice)]));
  try {
    while (pending.size > 0) {
      const { choice, result } = await Promise.race(pending.values());
      if (result.done) {
        pending.delete(choice);
        continue;
      }
      pending.set(choice, next(choice));
      yield { choice, event: result.value };
    }
  } finally {
    await Promise.allSettled(streams.map((stream) => stream.return()));
    await Promise.allSettled(pending.values());
  }
}

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** Prompts count once, however many choices they have. */
export function usageOf(statistics: readonly Statistics[], choicesPerPrompt: number): Usage {
  const sum = (of: (statistics: Statistics) => number, list = statistics) =>
    list.reduce((total, one) => total + of(one), 0);
  const prompts = statistics.filter((_, i) => i % choicesPerPrompt === 0);
  const prompt = sum(({ promptTokens }) => promptTokens, prompts);
  const completion = sum(({ generatedTokens }) => generatedTokens);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: sum(({ reusedTokens }) => reusedTokens, prompts) },
  };
}
