/**
 * The engine on the thread that asks. Requests are computed together, in steps that scheduler.ts plans. Where it pays, the device
 * has the next step before the tokens of the one before are looked at (its input says "what row 2 of the previous step
 * sampled"), so that it never waits for JavaScript.
 */
import { IngotError, isIngotError, type StopSignal } from '../base/errors.ts';
import { previouslySampled, type StepLimits } from '../composites/step.ts';
import type { Device } from '../devices/device.ts';
import type { Program } from '../ir/program.ts';
import { type KvElement, kvBytesPerToken, type Model, type ModelResult } from '../models/model.ts';
import { type AnswerFormat, answerFormat, plainText } from '../tokenizer/answers/formats.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { BlockManager } from './blocks.ts';
import type {
  Engine,
  EngineOptions,
  EngineStatus,
  GenerateEvent,
  GenerateRequest,
  LoadHooks,
  Prompt,
  ScoreOptions,
  TokenText,
} from './engine.ts';
import { likeliest } from './logits.ts';
import { chooseContext, encodePrompt, fitting } from './prompt.ts';
import { Runner, type RunningStep, type StepResult } from './runner.ts';
import { checkSampling, greedy } from './sampling.ts';
import { emptyState, enqueue, type PlannedStep, planStep, remove, type Sequence, type StepEntry } from './scheduler.ts';
import { StepCost, type StepLoad } from './step-cost.ts';
import { Task } from './task.ts';
import { Texts } from './texts.ts';
import { yieldToEvents } from './yield.ts';

export interface LocalEngineOptions extends EngineOptions, LoadHooks {
  /** Sees each program that is compiled, before the first pass and after each. */
  readonly onPass?: (pass: string, program: Program) => void;
  /** A Jinja program, as model files carry it. */
  readonly chatTemplate?: string;
}

const blockSize = 16;

/** With prompts in it a step may take twice as long: streams that run keep half of their pace. */
const pace = 2;

/** A step on its way. */
interface Flight {
  readonly planned: PlannedStep;
  /** One an entry. */
  readonly tasks: readonly Task[];
  readonly running: RunningStep;
  readonly submitted: number;
}

export class LocalEngine implements Engine {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly device: Engine['device'];
  readonly contextLength: number;
  readonly answerFormat: AnswerFormat;
  readonly #chatTemplate: string | undefined;
  readonly #device: Device;
  readonly #queue: number;
  readonly #totals = { steps: 0, stepSeconds: 0, promptTokens: 0, reusedTokens: 0, generatedTokens: 0, preemptions: 0 };
  readonly #runner: Runner;
  readonly #blocks: BlockManager;
  readonly #cost: StepCost;
  readonly #runsAhead: number;
  readonly #closing = new AbortController();
  readonly #state = emptyState();
  readonly #tasks = new Map<Sequence, Task>();
  readonly #texts: Texts;
  /** Settles when no request is computed. */
  #working: Promise<void> = Promise.resolve();
  #isLooping = false;
  #nextId = 0;
  #lastEnd = 0;
  /** Ends the sleep of whoever waits for something to change. */
  #awake: () => void = () => {};
  #change: Promise<void> = Promise.resolve();

  private constructor(
    device: Device,
    model: Model,
    tokenizer: Tokenizer,
    {
      contextLength,
      chatTemplate,
      runner,
      kv,
      queue,
    }: {
      contextLength: number;
      chatTemplate: string | undefined;
      runner: Runner;
      kv: KvElement;
      queue: number;
    },
  ) {
    this.#chatTemplate = chatTemplate;
    this.answerFormat = chatTemplate === undefined ? plainText : answerFormat(chatTemplate, tokenizer);
    this.device = { name: device.name, threads: device.hardware.threads };
    this.#device = device;
    this.#queue = queue;
    this.#runsAhead = device.runsAhead;
    this.model = model;
    this.tokenizer = tokenizer;
    this.contextLength = contextLength;
    this.#runner = runner;
    this.#blocks = new BlockManager(runner.limits.blockCount, blockSize);
    const { readBytesPerSecond, operationsPerSecond } = device.hardware;
    this.#cost = new StepCost({
      weightBytes: [...model.weights.values()].reduce((sum, weight) => sum + device.packedBytes(weight), 0),
      parameterCount: model.parameterCount,
      kvBytesPerToken: kvBytesPerToken(model, kv),
      readBytesPerSecond,
      operationsPerSecond: operationsPerSecond.f32 ?? 1e9,
    });
    this.#sleep();
    this.#texts = new Texts(runner, this.#blocks, model.vocabularySize, {
      room: () => (this.#tasks.size > 0 ? this.#change : undefined),
      released: () => this.#awake(),
    });
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
    const { kv = 'f32', contextLength: wanted, sequences = 1, queue = Number.POSITIVE_INFINITY, ...other } = options;
    const { chatTemplate, ...rest } = other;
    const contextLength = chooseContext(wanted, model, (prompt) => encodePrompt(prompt, tokenizer, chatTemplate));
    const limits = stepLimits(contextLength, sequences, model.wholeSequences);
    const runner = await Runner.load(device, model, { limits, kv, ...rest });
    return new LocalEngine(device, model, tokenizer, { contextLength, chatTemplate, runner, kv, queue });
  }

  async *generate(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined> {
    this.#needs('sample', 'it embeds texts and generates none');
    const task = this.#open(request);
    if (request.maxTokens === 0) task.end('length');
    else {
      // Those that find room at once wait for nobody.
      const room = this.#runner.limits.maxSequences - this.#state.running.length;
      if (this.#state.waiting.length >= this.#queue + room) {
        throw new IngotError('Overloaded', `${this.#state.waiting.length} requests are waiting already`, {
          hint: 'Try again later.',
        });
      }
      this.#tasks.set(task.sequence, task);
      enqueue(this.#state, task.sequence);
      this.#stir();
    }
    yield* task.events();
  }

  /** What has changed may let a step be planned. */
  #stir(): void {
    this.#awake();
    if (this.#isLooping) return;
    this.#isLooping = true;
    this.#working = this.#loop().finally(() => {
      this.#isLooping = false;
      // Whoever came while the loop ended.
      if (this.#tasks.size > 0 && !this.#closing.signal.aborted) this.#stir();
    });
  }

  #sleep(): void {
    this.#change = new Promise((resolve) => {
      this.#awake = () => {
        resolve();
        this.#sleep();
      };
    });
  }

  /** Plans, submits and reads steps as long as there is a request. */
  async #loop(): Promise<void> {
    const flights: Flight[] = [];
    try {
      for (;;) {
        this.#reap();
        while (flights.length < this.#runsAhead) {
          const flight = await this.#submit();
          if (flight === undefined) break;
          flights.push(flight);
        }
        const [first] = flights;
        if (first !== undefined) {
          await yieldToEvents();
          const result = await this.#result(first, flights);
          flights.shift();
          if (result !== undefined) this.#take(first, result);
        } else if (this.#tasks.size === 0) {
          return;
        } else {
          await this.#change;
        }
      }
    } catch (error) {
      for (const flight of flights) await flight.running.drop();
      for (const task of [...this.#tasks.values()]) {
        task.fail(error);
        this.#forget(task);
      }
    }
  }

  /** Ends the requests that nobody waits for, and forgets those that are over. */
  #reap(): void {
    for (const task of [...this.#tasks.values()]) {
      if (task.aborted) task.end('aborted');
      if (task.ended) this.#forget(task);
    }
  }

  #forget({ sequence }: Task): void {
    remove(this.#state, sequence, this.#blocks);
    this.#tasks.delete(sequence);
  }

  async #submit(): Promise<Flight | undefined> {
    const planned = planStep(this.#state, {
      limits: this.#runner.limits,
      blocks: this.#blocks,
      cost: (load) => this.#cost.predict(load),
      pace,
    });
    const tasks = planned.entries.map(({ sequence }) => this.#taskOf(sequence));
    for (const { sequence, reused } of planned.admitted) {
      const task = this.#taskOf(sequence);
      task.begin(reused);
      this.#totals.promptTokens += sequence.tokens.length;
      this.#totals.reusedTokens += reused;
      this.#runner.begin(sequence.row ?? 0, sequence.tokens, task.promptTokens);
    }
    this.#totals.preemptions += planned.preempted.length;
    if (tasks.length === 0) return undefined;
    const { entries } = planned;
    const running = await this.#runner.submit(
      entries,
      tasks.map(({ sampling }) => sampling),
      tasks.some(({ request }) => (request.topLogprobs ?? 0) > 0),
    );
    let row = 0;
    entries.forEach(({ sequence, samples }, i) => {
      if (!samples) return;
      sequence.tokens.push(previouslySampled(row++));
      sequence.pendingStep = planned.number;
      sequence.complete = !tasks[i].wantsMore;
    });
    return { planned, tasks, running, submitted: performance.now() };
  }

  #taskOf(sequence: Sequence): Task {
    const task = this.#tasks.get(sequence);
    if (task === undefined) throw new IngotError('DeviceFault', 'a step was planned for a request that is over');
    return task;
  }

  /** What a step made, or undefined if it was left because nobody waits for any of the steps on their way. */
  async #result({ running }: Flight, flights: readonly Flight[]): Promise<StepResult | undefined> {
    const closing = this.#closing.signal;
    const unwanted = () => flights.every(({ tasks }) => tasks.every(({ aborted, ended }) => aborted || ended));
    const signal: StopSignal = {
      get aborted() {
        return closing.aborted || unwanted();
      },
      reason: closing.reason,
    };
    try {
      return await running.result(signal);
    } catch (error) {
      if (isIngotError(error, 'Aborted')) return undefined;
      throw error;
    }
  }

  /** Tells the requests of a step what it made. */
  #take({ planned: { number, entries }, tasks, submitted }: Flight, { ids, logprobs, logits }: StepResult): void {
    const end = performance.now();
    const milliseconds = end - Math.max(submitted, this.#lastEnd);
    this.#cost.observe(loadOf(entries), 1000 * milliseconds);
    this.#totals.steps++;
    this.#totals.stepSeconds += milliseconds / 1000;
    this.#totals.generatedTokens += ids.length;
    this.#lastEnd = end;
    let row = 0;
    entries.forEach(({ sequence, start, count, samples }, i) => {
      const task = tasks[i];
      const at = samples ? row++ : -1;
      // It was preempted, or is over, and its blocks are others' now.
      if (sequence.row !== undefined && start + count <= sequence.computed) {
        this.#blocks.publish(sequence.blocks, sequence.tokens, start + count, sequence.cacheOwner);
      }
      if (at < 0 || task.ended) return;
      const last = start + count;
      sequence.tokens[last] = ids[at];
      if (sequence.pendingStep === number) sequence.pendingStep = undefined;
      const size = this.model.vocabularySize;
      const { topLogprobs = 0 } = task.request;
      const top =
        logits && topLogprobs > 0 ? likeliest(logits.subarray(at * size, (at + 1) * size), topLogprobs) : undefined;
      task.accept(ids[at], logprobs[at], top);
    });
  }

  async score(text: Prompt, { first = 1, signal }: ScoreOptions = {}): Promise<Float64Array> {
    this.#needs('logits', 'it embeds texts and generates none');
    return this.#texts.score(this.#fit(text), first, this.#stopSignal(signal));
  }

  async logits(text: Prompt, { first = 1, signal }: ScoreOptions = {}): Promise<Float32Array> {
    this.#needs('logits', 'it embeds texts and generates none');
    return this.#texts.logits(this.#fit(text), first, this.#stopSignal(signal));
  }

  async embed(text: Prompt, signal?: AbortSignal): Promise<Float32Array> {
    this.#needs('embedding', 'it generates text and embeds none');
    return this.#texts.embed(this.#fit(text), this.#stopSignal(signal));
  }

  /** @throws IngotError 'InvalidArgument' unless the model computes this. */
  #needs(result: ModelResult, instead: string): void {
    if (this.model.results.includes(result)) return;
    throw new IngotError('InvalidArgument', `a ${this.model.architecture} model does not do that: ${instead}`);
  }

  async decode(ids: readonly number[]): Promise<string> {
    return this.tokenizer.decode(ids.map((id) => this.#known(id)));
  }

  async tokenTexts(ids: readonly number[]): Promise<readonly TokenText[]> {
    return ids.map((id) => {
      const bytes = this.tokenizer.tokenBytes(this.#known(id));
      return { text: bytes.length === 0 ? this.tokenizer.tokenText(id) : this.tokenizer.decode([id]), bytes };
    });
  }

  /** @throws IngotError 'InvalidArgument' for what is no token. */
  #known(id: number): number {
    if (Number.isInteger(id) && id >= 0 && id < this.tokenizer.vocabularySize) return id;
    throw new IngotError('InvalidArgument', `${id} is no token`);
  }

  async status(): Promise<EngineStatus> {
    const { blockCount, freeBlocks, idleBlocks } = this.#blocks;
    const { weights, state, scratch } = this.#device.memory();
    return {
      running: this.#state.running.length,
      waiting: this.#state.waiting.length,
      cache: {
        capacity: blockCount * blockSize,
        used: (blockCount - freeBlocks) * blockSize,
        known: idleBlocks * blockSize,
      },
      totals: { ...this.#totals },
      memory: { weights: weights.now, state: state.now, scratch: scratch.now },
    };
  }

  async checkIntegrity(): Promise<void> {
    this.#blocks.checkIntegrity([...[...this.#tasks.keys()].map(({ blocks }) => blocks), ...this.#texts.tables]);
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

  /** The tokens of a prompt that the model can take. */
  #fit(prompt: Prompt): readonly number[] {
    if (this.#closing.signal.aborted) throw new IngotError('InvalidArgument', 'the engine is closed');
    const ids = fitting(this.#encode(prompt), this.contextLength);
    const { vocabularySize } = this.model;
    const stranger = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
    if (stranger === undefined) return ids;
    throw new IngotError('InvalidArgument', `the prompt holds ${stranger}, which is no token`);
  }

  #open(request: GenerateRequest): Task {
    const { maxTokens, topLogprobs = 0, priority = 0, owner = '', cacheOwner = '' } = request;
    const { vocabularySize } = this.model;
    const prompt = this.#fit(request.prompt);
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
    const sequence: Sequence = {
      id: this.#nextId++,
      priority,
      owner,
      cacheOwner,
      tokens: [...prompt],
      pendingStep: undefined,
      complete: false,
      computed: 0,
      blocks: [],
      row: undefined,
      paused: false,
    };
    return new Task({
      sequence,
      request,
      sampling,
      tokenizer: this.tokenizer,
      signal: this.#stopSignal(request.signal),
      contextLength: this.contextLength,
      onRead: () => this.#stir(),
    });
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

  /** Waits for the steps that run, which are left, and for nobody who reads. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#awake();
    await this.#working;
    await this.#texts.settled();
    await this.#runner[Symbol.asyncDispose]();
  }
}

function loadOf(entries: readonly StepEntry[]): StepLoad {
  let [tokens, contextTokens] = [0, 0];
  for (const { start, count } of entries) {
    tokens += count;
    contextTokens += count * start + (count * (count + 1)) / 2;
  }
  return { tokens, rows: entries.length, contextTokens };
}

/** What one step may hold. All sequences together may be as long as their contexts. */
export function stepLimits(contextLength: number, sequences = 1, wholeSequences = false): StepLimits {
  const blocksPerSequence = Math.ceil(contextLength / blockSize);
  return {
    maxTokens: wholeSequences ? contextLength : Math.max(128, sequences),
    maxSequences: sequences,
    maxRows: Math.max(16, sequences),
    blockSize,
    blockCount: blocksPerSequence * sequences,
    blocksPerSequence,
    maxBias: 512,
  };
}
