/**
 * The engine on the thread that asks. Where it pays, the device has the next step before the tokens of the one before are
 * looked at (its input says "what row 0 of the previous step sampled"), so that it never waits for JavaScript.
 */
import { IngotError, isIngotError, type StopSignal, throwIfAborted } from '../base/errors.ts';
import { previouslySampled, type StepLimits } from '../composites/step.ts';
import type { Device } from '../devices/device.ts';
import type { Program } from '../ir/program.ts';
import { type KvElement, kvBytesPerToken, type Model } from '../models/model.ts';
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
  ScoreOptions,
} from './engine.ts';
import { likeliest, logSumExp } from './logits.ts';
import { chooseContext, encodePrompt, fitting } from './prompt.ts';
import { Runner, type RunningStep } from './runner.ts';
import { checkSampling, greedy, type SamplingParameters } from './sampling.ts';
import { planStep, type Sequence } from './scheduler.ts';
import { StatisticsClock } from './statistics.ts';
import { StopStrings } from './stop-strings.ts';

export interface LocalEngineOptions extends EngineOptions, LoadHooks {
  /** Sees each program that is compiled, before the first pass and after each. */
  readonly onPass?: (pass: string, program: Program) => void;
  /** A Jinja program, as model files carry it. */
  readonly chatTemplate?: string;
}

const blockSize = 16;
/** A step on its way. */
interface Step {
  readonly running: RunningStep;
  /** Where in its sequence the token goes that it samples; undefined if it samples none. */
  readonly samples: number | undefined;
  /** Tokens of its sequence whose keys and values are in the cache when it is done. */
  readonly computes: number;
}

/** Tokens whose keys and values are in the cache, and the blocks that hold them. */
interface Kept {
  readonly tokens: readonly number[];
  readonly blocks: number[];
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
  readonly #chatTemplate: string | undefined;
  readonly #runner: Runner;
  readonly #blocks: BlockManager;
  readonly #runsAhead: number;
  readonly #closing = new AbortController();
  /** Ends the waiting of those whose turn has not come. */
  readonly #waiting = new Set<() => void>();
  /** What the last request left in the cache, if it was asked to. */
  #kept: Kept = { tokens: [], blocks: [] };
  #turn: Promise<void> = Promise.resolve();
  /** Settles when no step is waited for. */
  #working: Promise<unknown> = Promise.resolve();

  private constructor(
    device: Device,
    model: Model,
    tokenizer: Tokenizer,
    {
      contextLength,
      chatTemplate,
      runner,
    }: { contextLength: number; chatTemplate: string | undefined; runner: Runner },
  ) {
    this.#chatTemplate = chatTemplate;
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
    const { kv = 'f32', contextLength: wanted, chatTemplate, ...rest } = options;
    const contextLength = chooseContext(wanted, model, (prompt) => encodePrompt(prompt, tokenizer, chatTemplate));
    const limits = stepLimits(contextLength);
    checkMemory(device, model, kv, limits);
    const runner = await Runner.load(device, model, { limits, kv, ...rest });
    return new LocalEngine(device, model, tokenizer, { contextLength, chatTemplate, runner });
  }

  async *generate(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined> {
    const task = this.#check(request);
    const release = await this.#takeTurn();
    const sequence = this.#begin(task.prompt, task.prompt.length - 1);
    const ahead: Step[] = [];
    const done = { computed: sequence.computed };
    try {
      yield* this.#run(task, sequence, ahead, done);
    } finally {
      await Promise.all(ahead.map(({ running }) => running.drop()));
      this.#leave(sequence, request.keep === true ? done.computed : 0);
      release();
    }
  }

  /** A sequence that takes over what is kept, as far as it begins with the same tokens, and at most `most` of them. */
  #begin(prompt: readonly number[], most: number): Sequence {
    const { tokens, blocks } = this.#kept;
    let same = 0;
    while (same < Math.min(tokens.length, prompt.length, most) && tokens[same] === prompt[same]) same++;
    this.#blocks.release(blocks.splice(Math.ceil(same / blockSize)));
    this.#kept = { tokens: [], blocks: [] };
    return { row: 0, tokens: [...prompt], computed: same, blocks };
  }

  /** Ends a sequence and keeps its first tokens. */
  #leave({ tokens, blocks }: Sequence, keep: number): void {
    this.#blocks.release(blocks.splice(Math.ceil(keep / blockSize)));
    this.#kept = { tokens: tokens.slice(0, keep), blocks };
  }

  /** Leaves in `ahead` what was submitted and not waited for, and in `done` how many tokens are in the cache. */
  async *#run(
    task: Task,
    sequence: Sequence,
    ahead: Step[],
    done: { computed: number },
  ): AsyncGenerator<GenerateEvent, void, undefined> {
    const { prompt, request } = task;
    const { topLogprobs = 0, ignoreEnd = false } = request;
    const signal = this.#stopSignal(request.signal);
    const clock = new StatisticsClock(prompt.length, sequence.computed);
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
      done.computed = step.computes;
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
    const computes = start + count;
    if (!samples) return { running, computes, samples: undefined };
    return { running, computes, samples: sequence.tokens.push(previouslySampled(0)) - 1 };
  }

  async score(text: Prompt, options: ScoreOptions = {}): Promise<Float64Array> {
    const { prompt: ids } = this.#check({ prompt: text, maxTokens: 0 });
    const { first = 1 } = options;
    const logprobs = new Float64Array(Math.max(0, ids.length - first));
    await this.#eachRow(ids, options, (row, token) => {
      logprobs[token - first] = row[ids[token]] - logSumExp(row);
    });
    return logprobs;
  }

  async logits(text: Prompt, options: ScoreOptions = {}): Promise<Float32Array> {
    const { prompt: ids } = this.#check({ prompt: text, maxTokens: 0 });
    const { first = 1 } = options;
    const { vocabularySize } = this.model;
    const rows = new Float32Array(Math.max(0, ids.length - first) * vocabularySize);
    await this.#eachRow(ids, options, (row, token) => rows.set(row, (token - first) * vocabularySize));
    return rows;
  }

  /** What the model says before each token from `first` on. Tokens before them are computed in larger steps. */
  async #eachRow(
    ids: readonly number[],
    { first = 1, keep = false, signal }: ScoreOptions,
    visit: (row: Float32Array, token: number) => void,
  ): Promise<void> {
    if (!Number.isInteger(first) || first < 1) {
      throw new IngotError('InvalidArgument', `the first token to score is ${first}; it must be from 1`);
    }
    const stop = this.#stopSignal(signal);
    const release = await this.#takeTurn();
    const sequence = this.#begin(ids, first - 1);
    const { maxTokens, maxRows } = this.#runner.limits;
    try {
      while (sequence.computed < ids.length - 1) {
        await yieldToEvents();
        throwIfAborted(stop);
        const start = sequence.computed;
        const wanted = start >= first - 1;
        const count = wanted ? Math.min(maxRows, ids.length - 1 - start) : Math.min(maxTokens, first - 1 - start);
        this.#blocks.grow(sequence.blocks, start + count);
        const entry = { sequence, start, count, samples: false };
        const logits = await this.#result(this.#runner.score(entry, stop, wanted), stop);
        if (logits === undefined) continue;
        const size = this.model.vocabularySize;
        for (let i = 0; wanted && i < count; i++) visit(logits.subarray(i * size, (i + 1) * size), start + i + 1);
        sequence.computed += count;
      }
    } finally {
      this.#leave(sequence, keep ? sequence.computed : 0);
      release();
    }
  }

  async checkIntegrity(): Promise<void> {
    this.#blocks.checkIntegrity([this.#kept.blocks]);
  }

  get hasChatTemplate(): boolean {
    return this.#chatTemplate !== undefined;
  }

  async encode(prompt: Prompt): Promise<readonly number[]> {
    return this.#encode(prompt);
  }

  #encode(prompt: Prompt): readonly number[] {
    return encodePrompt(prompt, this.tokenizer, this.#chatTemplate);
  }

  #check(request: GenerateRequest): Task {
    const { maxTokens, topLogprobs = 0 } = request;
    const { vocabularySize } = this.model;
    if (this.#closing.signal.aborted) throw new IngotError('InvalidArgument', 'the engine is closed');
    const prompt = fitting(this.#encode(request.prompt), this.contextLength);
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
