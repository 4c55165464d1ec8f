/**
 * Requests to tokens: `Engine.load` a model on a device, `generate` text as it comes. One sequence at a time; requests
 * that come meanwhile wait their turn.
 */
import { IngotError, throwIfAborted } from '../base/errors.ts';
import type { StepLimits } from '../composites/step.ts';
import type { Device } from '../devices/device.ts';
import type { Program } from '../ir/program.ts';
import { type KvElement, kvBytesPerToken, type Model } from '../models/model.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { BlockManager } from './blocks.ts';
import { Runner } from './runner.ts';
import { checkSampling, greedy, type SamplingParameters } from './sampling.ts';
import { planStep, type Sequence } from './scheduler.ts';
import { type Statistics, StatisticsClock } from './statistics.ts';
import { StopStrings } from './stop-strings.ts';

export interface EngineOptions {
  /** Longest sequence, prompt and answer, in tokens; the model's own context if absent. KV memory follows from it. */
  readonly contextLength?: number;
  readonly kv?: KvElement;
  readonly signal?: AbortSignal;
  /** Called while weights are read, in bytes of the file. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Sees each program that is compiled, before the first pass and after each. */
  readonly onPass?: (pass: string, program: Program) => void;
}

export interface GenerateRequest {
  /** Token ids; at least one. */
  readonly prompt: readonly number[];
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

const blockSize = 16;

export class Engine implements AsyncDisposable {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  /** Longest sequence in tokens. */
  readonly contextLength: number;
  readonly #runner: Runner;
  readonly #blocks: BlockManager;
  #turn: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(model: Model, tokenizer: Tokenizer, contextLength: number, runner: Runner) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.contextLength = contextLength;
    this.#runner = runner;
    this.#blocks = new BlockManager(runner.limits.blockCount, blockSize);
  }

  /**
   * @throws IngotError 'TokenizerMismatch', 'OutOfMemory' before anything is read if weights and KV cannot fit,
   * 'FileChanged', 'UnsupportedOp', 'Aborted'. Nothing stays allocated.
   */
  static async load(device: Device, model: Model, tokenizer: Tokenizer, options: EngineOptions = {}): Promise<Engine> {
    if (tokenizer.vocabularySize > model.vocabularySize) {
      throw new IngotError(
        'TokenizerMismatch',
        `the tokenizer has ${tokenizer.vocabularySize} tokens, the model only ${model.vocabularySize}`,
        { hint: 'Use the tokenizer that came with this model.' },
      );
    }
    const { kv = 'f32', contextLength = model.contextLength, ...rest } = options;
    const limits = stepLimits(contextLength);
    checkMemory(device, model, kv, limits);
    const runner = await Runner.load(device, model, { limits, kv, ...rest });
    return new Engine(model, tokenizer, contextLength, runner);
  }

  /**
   * Streams an answer. Ends with one 'end' event unless it throws; breaking out of the loop, or the signal, stops the
   * work with the step that runs. @throws IngotError 'InvalidArgument', 'ContextOverflow', 'UnsupportedOp', 'DeviceFault'.
   */
  async *generate(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined> {
    const sampling = this.#check(request);
    const release = await this.#takeTurn();
    const sequence: Sequence = { row: 0, tokens: [...request.prompt], computed: 0, blocks: [] };
    try {
      yield* this.#run(request, sampling, sequence);
    } finally {
      this.#blocks.release(sequence.blocks);
      release();
    }
  }

  async *#run(
    request: GenerateRequest,
    sampling: SamplingParameters,
    sequence: Sequence,
  ): AsyncGenerator<GenerateEvent, void, undefined> {
    const { prompt, maxTokens, topLogprobs = 0, signal, ignoreEnd = false } = request;
    const clock = new StatisticsClock(prompt.length);
    const stops = new StopStrings(request.stop ?? []);
    // A text that begins here has no space before its first word.
    const stream = this.tokenizer.stream({ continuation: this.tokenizer.decode(prompt) !== '' });
    const end = (reason: FinishReason, text = ''): GenerateEvent => {
      return { kind: 'end', reason, text, statistics: clock.read() };
    };
    const rest = () => {
      const { text, stopped } = stops.push(stream.end());
      return stopped === undefined ? text + stops.end() : text;
    };
    this.#runner.begin(sequence.row, prompt);
    for (let generated = 0; generated < maxTokens; ) {
      if (signal?.aborted) return yield end('aborted', rest());
      const entries = planStep([sequence], this.#runner.limits);
      const [entry] = entries;
      this.#blocks.grow(sequence.blocks, entry.start + entry.count);
      const result = await this.#runner.sample(entries, [sampling], topLogprobs > 0);
      sequence.computed += entry.count;
      await yieldToEvents();
      if (!entry.samples) continue;
      const [id] = result.ids;
      clock.token();
      generated++;
      sequence.tokens.push(id);
      if (!ignoreEnd && this.tokenizer.endOfGeneration.has(id)) return yield end('end', rest());
      const { text, stopped } = stops.push(stream.push(id));
      const top = result.logits === undefined ? undefined : likeliest(result.logits, topLogprobs);
      yield { kind: 'token', id, logprob: result.logprobs[0], text, ...(top !== undefined && { top }) };
      if (stopped !== undefined) return yield end('stop');
      if (sequence.tokens.length >= this.contextLength) break;
    }
    yield end('length', rest());
  }

  /**
   * Natural log-probabilities of `ids[1..]`, each given all before it: [ids.length - 1].
   * @throws IngotError 'ContextOverflow', 'Aborted'.
   */
  async score(ids: readonly number[], signal?: AbortSignal): Promise<Float64Array> {
    this.#check({ prompt: ids, maxTokens: 0 });
    const release = await this.#takeTurn();
    const sequence: Sequence = { row: 0, tokens: [...ids], computed: 0, blocks: [] };
    try {
      const logprobs = new Float64Array(ids.length - 1);
      while (sequence.computed < logprobs.length) {
        throwIfAborted(signal);
        const start = sequence.computed;
        const count = Math.min(this.#runner.limits.maxRows, logprobs.length - start);
        this.#blocks.grow(sequence.blocks, start + count);
        const logits = await this.#runner.score({ sequence, start, count, samples: false });
        for (let i = 0; i < count; i++) {
          const row = logits.subarray(i * this.model.vocabularySize, (i + 1) * this.model.vocabularySize);
          logprobs[start + i] = row[ids[start + i + 1]] - logSumExp(row);
        }
        sequence.computed += count;
        await yieldToEvents();
      }
      return logprobs;
    } finally {
      this.#blocks.release(sequence.blocks);
      release();
    }
  }

  /** @throws IngotError 'DeviceFault' if blocks of the KV pools were lost or shared. Only true when idle. */
  checkIntegrity(): void {
    this.#blocks.checkIntegrity([]);
  }

  #check({ prompt, maxTokens, sampling, topLogprobs = 0 }: GenerateRequest): SamplingParameters {
    if (this.#closed) throw new IngotError('InvalidArgument', 'the engine is closed');
    if (prompt.length === 0) throw new IngotError('InvalidArgument', 'the prompt is empty');
    const stranger = prompt.find((id) => !Number.isInteger(id) || id < 0 || id >= this.model.vocabularySize);
    if (stranger !== undefined)
      throw new IngotError('InvalidArgument', `the prompt holds ${stranger}, which is no token`);
    if (!Number.isInteger(maxTokens) || maxTokens < 0) {
      throw new IngotError('InvalidArgument', `maxTokens is ${maxTokens}; it must be a whole number from 0`);
    }
    if (!Number.isInteger(topLogprobs) || topLogprobs < 0 || topLogprobs > this.model.vocabularySize) {
      throw new IngotError(
        'InvalidArgument',
        `topLogprobs is ${topLogprobs}; it must be from 0 to the vocabulary's size`,
      );
    }
    if (prompt.length > this.contextLength) {
      throw new IngotError(
        'ContextOverflow',
        `the prompt has ${prompt.length} tokens, the context holds ${this.contextLength}`,
        { hint: 'Shorten the prompt.' },
      );
    }
    const parameters = { ...greedy, ...sampling };
    checkSampling(parameters, this.model.vocabularySize, this.#runner.limits.maxBias);
    return parameters;
  }

  /** Waits until the requests before this one are done; the result ends this one's turn. */
  async #takeTurn(): Promise<() => void> {
    const before = this.#turn;
    let release: () => void = () => {};
    this.#turn = new Promise((resolve) => {
      release = resolve;
    });
    await before;
    return release;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#turn;
    await this.#runner[Symbol.asyncDispose]();
  }
}

/** What one step may hold. */
export function stepLimits(contextLength: number): StepLimits {
  const blocksPerSequence = Math.ceil(contextLength / blockSize);
  return {
    maxTokens: 128,
    maxSequences: 1,
    maxRows: 16,
    blockSize,
    blockCount: blocksPerSequence,
    blocksPerSequence,
    maxBias: 512,
  };
}

/** @throws IngotError 'OutOfMemory' if weights and KV pools are more than the device has. */
function checkMemory(device: Device, model: Model, kv: KvElement, limits: StepLimits): void {
  const weights = [...model.weights.values()].reduce((sum, weight) => sum + device.packedBytes(weight), 0);
  const pools = limits.blockCount * limits.blockSize * kvBytesPerToken(model, kv);
  const { memoryBytes } = device.hardware;
  if (weights + pools <= memoryBytes) return;
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  throw new IngotError(
    'OutOfMemory',
    `the model needs ${gib(weights)} for weights and ${gib(pools)} for the KV cache; the ${device.name} device has ${gib(memoryBytes)}`,
    { device: device.name, hint: 'Use a smaller model or a shorter context.' },
  );
}

/** Lets timers, input and output have their turn between steps, whatever the device blocks. */
function yieldToEvents(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve);
    else setTimeout(resolve, 0);
  });
}

function logSumExp(row: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const value of row) max = Math.max(max, value);
  let sum = 0;
  for (const value of row) sum += Math.exp(value - max);
  return max + Math.log(sum);
}

/** The `count` likeliest tokens of a row of logits, ties to the lower id. */
function likeliest(logits: Float32Array, count: number): readonly TokenLogprob[] {
  const total = logSumExp(logits);
  const ids = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
  return ids.slice(0, count).map((id) => ({ id, logprob: logits[id] - total }));
}
