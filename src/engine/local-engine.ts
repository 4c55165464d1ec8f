/**
 * The engine on the thread that asks. Where it pays, the device has the next step before the tokens of the one before are
 * looked at (its input says "what row 0 of the previous step sampled"), so that it never waits for JavaScript.
 */
import { IngotError, isIngotError, type StopSignal, throwIfAborted } from '../base/errors.ts';
import { previouslySampled, type StepLimits } from '../composites/step.ts';
import type { Device } from '../devices/device.ts';
import type { Program } from '../ir/program.ts';
import type { Model } from '../models/model.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { BlockManager } from './blocks.ts';
import type {
  Engine,
  EngineOptions,
  FinishReason,
  GenerateEvent,
  GenerateRequest,
  LoadHooks,
  Prompt,
  TokenLogprob,
} from './engine.ts';
import { Runner, type RunningStep } from './runner.ts';
import { checkSampling, greedy, type SamplingParameters } from './sampling.ts';
import { planStep, type Sequence } from './scheduler.ts';
import { StatisticsClock } from './statistics.ts';
import { StopStrings } from './stop-strings.ts';

export interface LocalEngineOptions extends EngineOptions, LoadHooks {
  /** Sees each program that is compiled, before the first pass and after each. */
  readonly onPass?: (pass: string, program: Program) => void;
}

const blockSize = 16;
/** A step on its way. */
interface Step {
  readonly running: RunningStep;
  /** Where in its sequence the token goes that it samples; undefined if it samples none. */
  readonly samples: number | undefined;
}

/** A request that was checked. */
interface Task {
  readonly prompt: readonly number[];
  readonly request: GenerateRequest;
  readonly sampling: SamplingParameters;
}

export class LocalEngine implements Engine {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly device: Engine['device'];
  readonly contextLength: number;
  readonly #runner: Runner;
  readonly #blocks: BlockManager;
  readonly #runsAhead: number;
  readonly #closing = new AbortController();
  /** Ends the waiting of those whose turn has not come. */
  readonly #waiting = new Set<() => void>();
  #turn: Promise<void> = Promise.resolve();
  /** Settles when no step is waited for. */
  #working: Promise<unknown> = Promise.resolve();

  private constructor(device: Device, model: Model, tokenizer: Tokenizer, contextLength: number, runner: Runner) {
    this.device = { name: device.name, threads: device.hardware.threads };
    this.#runsAhead = device.runsAhead;
    this.model = model;
    this.tokenizer = tokenizer;
    this.contextLength = contextLength;
    this.#runner = runner;
    this.#blocks = new BlockManager(runner.limits.blockCount, blockSize);
  }

  /**
   * @throws IngotError 'TokenizerMismatch', 'ContextOverflow', 'OutOfMemory' before anything is read if weights and KV cannot
   * fit, 'FileChanged', 'UnsupportedOp', 'Aborted'. Nothing stays allocated.
   */
  static async load(
    device: Device,
    model: Model,
    tokenizer: Tokenizer,
    options: LocalEngineOptions = {},
  ): Promise<LocalEngine> {
    if (tokenizer.vocabularySize > model.vocabularySize) {
      throw new IngotError(
        'TokenizerMismatch',
        `the tokenizer has ${tokenizer.vocabularySize} tokens, the model only ${model.vocabularySize}`,
        { hint: 'Use the tokenizer that came with this model.' },
      );
    }
    const { kv = 'f32', contextLength: wanted, ...rest } = options;
    const contextLength = chooseContext(wanted, model, tokenizer);
    const limits = stepLimits(contextLength);
    const runner = await Runner.load(device, model, { limits, kv, ...rest });
    return new LocalEngine(device, model, tokenizer, contextLength, runner);
  }

  async *generate(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined> {
    const task = this.#check(request);
    const release = await this.#takeTurn();
    const sequence: Sequence = { row: 0, tokens: [...task.prompt], computed: 0, blocks: [] };
    const ahead: Step[] = [];
    try {
      yield* this.#run(task, sequence, ahead);
    } finally {
      await Promise.all(ahead.map(({ running }) => running.drop()));
      this.#blocks.release(sequence.blocks);
      release();
    }
  }

  /** Leaves in `ahead` what was submitted and not waited for. */
  async *#run(task: Task, sequence: Sequence, ahead: Step[]): AsyncGenerator<GenerateEvent, void, undefined> {
    const { prompt, request } = task;
    const { topLogprobs = 0, ignoreEnd = false } = request;
    const signal = this.#stopSignal(request.signal);
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
    if (!signal.aborted) this.#runner.begin(sequence.row, prompt);
    for (;;) {
      if (signal.aborted) return yield end('aborted', rest());
      while (ahead.length < this.#runsAhead && this.#wantsStep(task, sequence))
        ahead.push(await this.#submit(task, sequence));
      const step = ahead[0];
      if (step === undefined) return yield end('length', rest());
      await yieldToEvents();
      const result = await this.#result(step.running.result(signal), signal);
      ahead.shift();
      if (result === undefined) return yield end('aborted', rest());
      if (step.samples === undefined) continue;
      const [id] = result.ids;
      clock.token();
      sequence.tokens[step.samples] = id;
      if (!ignoreEnd && this.tokenizer.endOfGeneration.has(id)) return yield end('end', rest());
      const { text, stopped } = stops.push(stream.push(id));
      const top = result.logits === undefined ? undefined : likeliest(result.logits, topLogprobs);
      yield { kind: 'token', id, logprob: result.logprobs[0], text, ...(top !== undefined && { top }) };
      if (stopped !== undefined) return yield end('stop');
    }
  }

  /** Raised by the request's own signal, and when the engine is closed. */
  #stopSignal(own: AbortSignal | undefined): StopSignal {
    const closing = this.#closing.signal;
    return {
      get aborted() {
        return closing.aborted || own?.aborted === true;
      },
      get reason(): unknown {
        return own?.reason ?? closing.reason;
      },
    };
  }

  /** Whether there is more to compute after the steps that are on their way. */
  #wantsStep({ prompt, request }: Task, { tokens, computed }: Sequence): boolean {
    if (request.maxTokens === 0) return false;
    if (computed < prompt.length) return true;
    return tokens.length - prompt.length < request.maxTokens && tokens.length < this.contextLength;
  }

  async #submit({ request, sampling }: Task, sequence: Sequence): Promise<Step> {
    const entries = planStep([sequence], this.#runner.limits);
    const [{ start, count, samples }] = entries;
    this.#blocks.grow(sequence.blocks, start + count);
    const running = await this.#runner.submit(entries, [sampling], (request.topLogprobs ?? 0) > 0);
    sequence.computed += count;
    if (!samples) return { running, samples: undefined };
    return { running, samples: sequence.tokens.push(previouslySampled(0)) - 1 };
  }

  async score(text: Prompt, signal?: AbortSignal): Promise<Float64Array> {
    const { prompt: ids } = this.#check({ prompt: text, maxTokens: 0 });
    const stop = this.#stopSignal(signal);
    const release = await this.#takeTurn();
    const sequence: Sequence = { row: 0, tokens: [...ids], computed: 0, blocks: [] };
    try {
      const logprobs = new Float64Array(ids.length - 1);
      while (sequence.computed < logprobs.length) {
        await yieldToEvents();
        throwIfAborted(stop);
        const start = sequence.computed;
        const count = Math.min(this.#runner.limits.maxRows, logprobs.length - start);
        this.#blocks.grow(sequence.blocks, start + count);
        const entry = { sequence, start, count, samples: false };
        const logits = await this.#result(this.#runner.score(entry, stop), stop);
        if (logits === undefined) continue;
        for (let i = 0; i < count; i++) {
          const row = logits.subarray(i * this.model.vocabularySize, (i + 1) * this.model.vocabularySize);
          logprobs[start + i] = row[ids[start + i + 1]] - logSumExp(row);
        }
        sequence.computed += count;
      }
      return logprobs;
    } finally {
      this.#blocks.release(sequence.blocks);
      release();
    }
  }

  async checkIntegrity(): Promise<void> {
    this.#blocks.checkIntegrity([]);
  }

  #check(request: GenerateRequest): Task {
    const { maxTokens, topLogprobs = 0 } = request;
    const { vocabularySize } = this.model;
    if (this.#closing.signal.aborted) throw new IngotError('InvalidArgument', 'the engine is closed');
    const prompt = encodePrompt(request.prompt, this.tokenizer, this.contextLength);
    const stranger = prompt.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
    if (stranger !== undefined)
      throw new IngotError('InvalidArgument', `the prompt holds ${stranger}, which is no token`);
    if (!Number.isInteger(maxTokens) || maxTokens < 0) {
      throw new IngotError('InvalidArgument', `maxTokens is ${maxTokens}; it must be a whole number from 0`);
    }
    if (!Number.isInteger(topLogprobs) || topLogprobs < 0 || topLogprobs > vocabularySize) {
      throw new IngotError(
        'InvalidArgument',
        `topLogprobs is ${topLogprobs}; it must be from 0 to the vocabulary's size`,
      );
    }
    const sampling = { ...greedy, ...request.sampling };
    checkSampling(sampling, vocabularySize, this.#runner.limits.maxBias);
    return { prompt, request, sampling };
  }

  /** Waits until the requests before this one are done, or the engine is closed; the result ends this one's turn. */
  async #takeTurn(): Promise<() => void> {
    const before = this.#turn;
    let release: () => void = () => {};
    this.#turn = new Promise((resolve) => {
      release = resolve;
    });
    await new Promise<void>((resolve) => {
      const go = () => {
        this.#waiting.delete(go);
        resolve();
      };
      this.#waiting.add(go);
      void before.then(go);
    });
    return release;
  }

  /** What a step made, or undefined if it was left because of `signal`. */
  async #result<T>(result: Promise<T>, signal: StopSignal): Promise<T | undefined> {
    this.#working = result.catch(() => {});
    try {
      return await result;
    } catch (error) {
      if (signal.aborted && isIngotError(error, 'Aborted')) return undefined;
      throw error;
    }
  }

  /** Waits for the step that is waited for, which is left, and for nobody who reads. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    for (const go of this.#waiting) go();
    await this.#working;
    await this.#runner[Symbol.asyncDispose]();
  }
}

/** @throws IngotError 'InvalidArgument', 'ContextOverflow' before anything is read. */
function chooseContext(wanted: EngineOptions['contextLength'], model: Model, tokenizer: Tokenizer): number {
  const longest = model.contextLength;
  if (wanted === undefined) return longest;
  if (typeof wanted === 'object') {
    return Math.min(longest, encodePrompt(wanted.prompt, tokenizer, longest).length + wanted.maxTokens);
  }
  if (!Number.isInteger(wanted) || wanted < 1) {
    throw new IngotError('InvalidArgument', `contextLength is ${wanted}; it must be a whole number from 1`);
  }
  if (wanted <= longest) return wanted;
  throw new IngotError('ContextOverflow', `a context of ${wanted} tokens is asked for, the model holds ${longest}`, {
    hint: 'Ask for fewer tokens.',
  });
}

function encodePrompt(prompt: Prompt, tokenizer: Tokenizer, contextLength: number): readonly number[] {
  const ids = typeof prompt === 'string' ? tokenizer.encode(prompt) : prompt;
  if (ids.length === 0) throw new IngotError('InvalidArgument', 'the prompt is empty');
  if (ids.length <= contextLength) return ids;
  throw new IngotError('ContextOverflow', `the prompt has ${ids.length} tokens, the context holds ${contextLength}`, {
    hint: 'Shorten the prompt.',
  });
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
