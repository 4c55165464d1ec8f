/**
 * The contract of an engine: a model on a device that turns requests into tokens. `local-engine.ts` works on the thread that
 * asks, `client.ts` speaks to an engine in a worker; programs and commands see only this.
 */
import type { IngotError } from '../base/errors.ts';
import type { Device, MemoryKind } from '../devices/device.ts';
import type { Model } from '../models/model.ts';
import type { KvFormat } from '../numerics/kv-format.ts';
import type { AnswerFormat } from '../tokenizer/answers/formats.ts';
import type { Conversation } from '../tokenizer/conversation.ts';
import type { SamplingParameters } from './sampling.ts';
import type { Statistics } from './statistics.ts';

/**
 * A text, which the engine cuts into tokens as the model wants them; token ids; or messages, for an answer to the last of them
 * in the words of the model's chat template.
 */
export type Prompt = string | readonly number[] | Conversation;

/** How an engine is set up: what it holds at most, and how it computes. */
export interface EngineOptions {
  /**
   * Longest sequence, prompt and answer, in tokens, or the request that has to fit (as far as the model's own context goes);
   * the model's own context, or so many tokens of it at most, if that is absent. KV memory follows from it.
   */
  readonly contextLength?: number | Pick<GenerateRequest, 'prompt' | 'maxTokens'> | { readonly atMost: number };
  /** Requests that are computed at the same time at most, each in a context of its own; 1 if absent. */
  readonly sequences?: number;
  /**
   * Whether all that requests may ask for is compiled when the model is loaded, so that none waits for a compiler; otherwise what few
   * ask for is compiled the first time. Where several sequences are computed together if absent.
   */
  readonly compilesAll?: boolean;
  /** Requests that wait at most; more are refused. As many as come if absent. */
  readonly queue?: number;
  /** Seconds that a request waits at most before it begins; then it is refused. As long as it takes if absent. */
  readonly queueSeconds?: number;
  /** With prompts in it a step may take so many times what the answers in it would take alone; 1.75 if absent. */
  readonly pace?: number;
  readonly kv?: KvFormat;
  /**
   * Tokens that the KV cache holds at most, those of one context at least; all that the sequences may need if absent. Where it is full,
   * requests wait, or give their memory back and go on later.
   */
  readonly cacheTokens?: number;
  /** 'exact' if absent. */
  readonly numerics?: EngineNumerics;
}

/**
 * How products round (numerics/dot.ts). `exact`: as `i8` in every step, so that an answer does not depend on how its prompt
 * was cut into steps. `fast` gives that up: steps of prompts round as `bf16`, attention included, which tile instructions multiply faster.
 */
export const engineNumerics = ['exact', 'fast'] as const;
export type EngineNumerics = (typeof engineNumerics)[number];

/** What somebody who waits for a model may want to know and say. */
export interface LoadHooks {
  readonly signal?: AbortSignal;
  /** Called while weights are read, in bytes of the file. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Called once at most, when what the engine stands on is gone, also where nobody asks it for anything. */
  readonly onLost?: (error: IngotError) => void;
}

/** One answer that is asked for. */
export interface GenerateRequest {
  /** At least one token. */
  readonly prompt: Prompt;
  /**
   * Tokens of the answer that were said before, elsewhere: it goes on after them, and only what comes then is said. Limits, stop strings,
   * penalties and draws count them as if they had been made here.
   */
  readonly begun?: readonly number[];
  /** At most this many tokens are generated. */
  readonly maxTokens: number;
  /** Before so many tokens neither the model nor a stop string ends the text; 0 if absent. */
  readonly minTokens?: number;
  /** What is not given is greedy. */
  readonly sampling?: Partial<SamplingParameters>;
  /** Generation ends before the first of these strings appears in the answer. */
  readonly stop?: readonly string[];
  /** Go on after the tokens that end a generation. */
  readonly ignoreEnd?: boolean;
  /** Likeliest alternatives reported with each token; 0 = none. */
  readonly topLogprobs?: number;
  /** Who has more of it is served first; 0 if absent. */
  readonly priority?: number;
  /** Requests of the same priority share the engine fairly between owners, and do so in the order in which they came of one. */
  readonly owner?: string;
  /**
   * Prompts that begin alike are computed once, as long as memory lasts. Only requests with the same word here share what they
   * computed: who shares can tell, by the time that it takes, what others have asked.
   */
  readonly cacheOwner?: string;
  /** Ends the text where it is: a step that runs is left, where the device can do that. */
  readonly signal?: AbortSignal;
}

/** Which tokens of a text are scored. */
export interface ScoreOptions {
  /** The first token that is scored; 1 if absent, the first that has any before it. */
  readonly first?: number;
  readonly signal?: AbortSignal;
}

/** A token and how likely it was. */
export interface TokenLogprob {
  readonly id: number;
  /** Natural logarithm of the probability under the model's raw logits. */
  readonly logprob: number;
}

/** Why an answer ended: by the model, a stop string, its limit, or a signal. */
export type FinishReason = 'end' | 'stop' | 'length' | 'aborted';

/** A token with its text, or the end with what the answer cost. */
export type GenerateEvent =
  | {
      readonly kind: 'token';
      readonly id: number;
      readonly logprob: number;
      /** Text that became certain with this token; possibly empty. */
      readonly text: string;
      /** How the vocabulary spells the token, if it is a special one: those are no text. It comes after `text`. */
      readonly special?: string;
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
  readonly model: Pick<
    Model,
    'architecture' | 'vocabularySize' | 'contextLength' | 'layers' | 'parameterCount' | 'matryoshka'
  >;
  readonly device: { readonly name: Device['name']; readonly threads: number };
  /** Longest sequence in tokens. */
  readonly contextLength: number;
  /** Whether the model brings a chat template; without one it continues the texts of messages, a line each. */
  readonly hasChatTemplate: boolean;
  /** How its answers are to be read: what of them is thoughts, and what calls. */
  readonly answerFormat: AnswerFormat;
}

export interface TokenText {
  /** As the vocabulary spells it where it stands for no text. */
  readonly text: string;
  /** Of a token within a character, a part of it; none of special tokens. */
  readonly bytes: Uint8Array;
}

export interface EngineStatus {
  readonly running: number;
  readonly waiting: number;
  /**
   * Tokens of the KV cache: what it holds at most, what requests use, what nobody uses but is still known, and what is known outside
   * of it.
   */
  readonly cache: { readonly capacity: number; readonly used: number; readonly known: number; readonly stored: number };
  /** Since the engine was loaded; `reusedTokens` of the prompts' tokens were known. */
  readonly totals: EngineTotals;
  /** Of the device, by kind; and of JavaScript in the thread of the engine, 0 where it has none of its own. */
  readonly memory: Readonly<Record<MemoryKind | 'javascript', number>>;
  /** Operations and bytes a second that the machine was measured to do; undefined where what steps ask for cannot be held to that. */
  readonly machine: { readonly operations: number; readonly bytes: number } | undefined;
  /** Of an engine that consists of several. */
  readonly replicas?: readonly ReplicaStatus[];
}

export interface ReplicaStatus {
  readonly ready: boolean;
  /** Requests that it has. */
  readonly requests: number;
  /** Times that it was opened again. */
  readonly restarts: number;
  /** Requests that had to leave it because it was lost. */
  readonly replays: number;
}

export interface EngineTotals extends StepTotals {
  /** What was known and had to make room; what of it went outside, and what came back. */
  readonly evictedTokens: number;
  readonly storedTokens: number;
  readonly fetchedTokens: number;
}

export interface StepTotals {
  readonly steps: number;
  readonly stepSeconds: number;
  /** Requests and tokens that were in steps, a request once a step. */
  readonly stepRequests: number;
  readonly stepTokens: number;
  /** What the steps asked of the machine: step-work.ts. */
  readonly operations: number;
  readonly bytes: number;
  readonly promptTokens: number;
  readonly reusedTokens: number;
  /** Requests whose prompt began with what was known. */
  readonly prefixHits: number;
  readonly generatedTokens: number;
  readonly preemptions: number;
}

export interface Engine extends EngineFacts, AsyncDisposable {
  /** Of an engine that consists of several: how many there are, and how many of them work now. */
  readonly replicas?: { readonly all: number; readonly ready: number };

  /**
   * Streams an answer. As many as the engine was opened for are computed together, others wait; who reads slowly delays nobody
   * else. Ends with one 'end' event unless it throws; breaking out of the loop stops the work, and so does disposing of the engine.
   * @throws IngotError 'InvalidArgument', 'ContextOverflow', 'Overloaded', 'OutOfMemory', 'UnsupportedOp', 'DeviceFault', 'DeviceLost';
   * 'DeadlineExceeded' after `queueSeconds`.
   */
  generate(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined>;

  /** The tokens of a prompt, however many. @throws IngotError 'InvalidArgument', 'ParseError' of chat templates. */
  encode(prompt: Prompt): Promise<readonly number[]>;

  /** The text of tokens; special ones are left out. */
  decode(ids: readonly number[]): Promise<string>;

  /** What each of some tokens stands for by itself. */
  tokenTexts(ids: readonly number[]): Promise<readonly TokenText[]>;

  /**
   * Natural log-probabilities of the tokens of a text, each given all before it.
   * @throws IngotError 'InvalidArgument', 'ContextOverflow', 'Aborted'.
   */
  score(text: Prompt, options?: ScoreOptions): Promise<Float64Array>;

  /** The logits that `score` is computed from: a row of the vocabulary's size for each token that is scored. */
  logits(text: Prompt, options?: ScoreOptions): Promise<Float32Array>;

  /** What it is doing, and has done since it was loaded. */
  status(): Promise<EngineStatus>;

  /**
   * The vector of a text, of length 1, by models that embed texts.
   * @throws IngotError 'InvalidArgument' for other models, 'ContextOverflow', 'Aborted'.
   */
  embed(text: Prompt, signal?: AbortSignal): Promise<Float32Array>;

  /** @throws IngotError 'DeviceFault' if blocks of the KV pools were lost or shared. Only true when idle. */
  checkIntegrity(): Promise<void>;
}
