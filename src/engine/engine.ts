/**
 * The contract of an engine: a model on a device that turns requests into tokens. `local-engine.ts` works on the thread that
 * asks, `client.ts` speaks to an engine in a worker; programs and commands see only this.
 */
import type { Device } from '../devices/device.ts';
import type { KvElement, Model } from '../models/model.ts';
import type { SamplingParameters } from './sampling.ts';
import type { Statistics } from './statistics.ts';

/** A text, which the engine cuts into tokens as the model wants them, or token ids. */
export type Prompt = string | readonly number[];

export interface EngineOptions {
  /**
   * Longest sequence, prompt and answer, in tokens, or the request that has to fit (as far as the model's own context goes);
   * the model's own context if absent. KV memory follows from it.
   */
  readonly contextLength?: number | Pick<GenerateRequest, 'prompt' | 'maxTokens'>;
  readonly kv?: KvElement;
  /** 'exact' if absent. */
  readonly numerics?: EngineNumerics;
}

/**
 * How products round (numerics/dot.ts). `exact`: as `i8` in every step, so that an answer does not depend on how its prompt
 * was cut into steps. `fast` gives that up: steps of prompts round as `bf16`, which tile instructions multiply faster.
 */
export const engineNumerics = ['exact', 'fast'] as const;
export type EngineNumerics = (typeof engineNumerics)[number];

/** What somebody who waits for a model may want to know and say. */
export interface LoadHooks {
  readonly signal?: AbortSignal;
  /** Called while weights are read, in bytes of the file. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface GenerateRequest {
  /** At least one token. */
  readonly prompt: Prompt;
  /** At most this many tokens are generated. */
  readonly maxTokens: number;
  /** What is not given is greedy. */
  readonly sampling?: Partial<SamplingParameters>;
  /** Generation ends before the first of these strings appears in the answer. */
  readonly stop?: readonly string[];
  /** Go on after the tokens that end a generation. */
  readonly ignoreEnd?: boolean;
  /** Likeliest alternatives reported with each token; 0 = none. */
  readonly topLogprobs?: number;
  /** Ends the text where it is: a step that runs is left, where the device can do that. */
  readonly signal?: AbortSignal;
}

export interface TokenLogprob {
  readonly id: number;
  /** Natural logarithm of the probability under the model's raw logits. */
  readonly logprob: number;
}

export type FinishReason = 'end' | 'stop' | 'length' | 'aborted';

export type GenerateEvent =
  | {
      readonly kind: 'token';
      readonly id: number;
      readonly logprob: number;
      /** Text that became certain with this token; possibly empty. */
      readonly text: string;
      /** The likeliest tokens, as many as asked for. */
      readonly top?: readonly TokenLogprob[];
    }
  | {
      readonly kind: 'end';
      /** Text that was held back until the end was known. */
      readonly text: string;
      readonly reason: FinishReason;
      readonly statistics: Statistics;
    };

/** What an engine tells of what it was made of. */
export interface EngineFacts {
  readonly model: Pick<Model, 'architecture' | 'vocabularySize' | 'contextLength' | 'layers' | 'parameterCount'>;
  readonly device: { readonly name: Device['name']; readonly threads: number };
  /** Longest sequence in tokens. */
  readonly contextLength: number;
}

export interface Engine extends EngineFacts, AsyncDisposable {
  /**
   * Streams an answer. One sequence at a time: requests that come meanwhile wait their turn. Ends with one 'end' event unless it
   * throws; breaking out of the loop stops the work, and so does disposing of the engine.
   * @throws IngotError 'InvalidArgument', 'ContextOverflow', 'UnsupportedOp', 'DeviceFault', 'DeviceLost'.
   */
  generate(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined>;

  /**
   * Natural log-probabilities of tokens 1.. of a text, each given all before it.
   * @throws IngotError 'ContextOverflow', 'Aborted'.
   */
  score(text: Prompt, signal?: AbortSignal): Promise<Float64Array>;

  /**
   * The vector of a text, of length 1, by models that embed texts.
   * @throws IngotError 'InvalidArgument' for other models, 'ContextOverflow', 'Aborted'.
   */
  embed(text: Prompt, signal?: AbortSignal): Promise<Float32Array>;

  /** @throws IngotError 'DeviceFault' if blocks of the KV pools were lost or shared. Only true when idle. */
  checkIntegrity(): Promise<void>;
}
