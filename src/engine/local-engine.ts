/** The engine on the thread that asks: checks what is asked, and has it computed by step-loop.ts and texts.ts. */
import { IngotError, type StopSignal } from '../base/errors.ts';
import type { Device } from '../devices/device.ts';
import type { Program } from '../ir/program.ts';
import type { Model, ModelResult } from '../models/model.ts';
import type { KvFormat } from '../numerics/kv-format.ts';
import { type AnswerFormat, answerFormat, plainText } from '../tokenizer/answers/formats.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { BlockManager } from './blocks.ts';
import { Embedder } from './embedder.ts';
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
import type { Weights } from './pack-weights.ts';
import { type ChatTemplates, chooseContext, encodePrompt, fitting } from './prompt.ts';
import { openTask } from './request.ts';
import { Runner } from './runner.ts';
import { type BlockSlots, Spill } from './spill.ts';
import { StepCost } from './step-cost.ts';
import { blockSize, stepLimits } from './step-limits.ts';
import { StepLoop } from './step-loop.ts';
import type { StepRecord } from './step-trace.ts';
import { StepWork } from './step-work.ts';
import { Texts } from './texts.ts';

export interface LocalEngineOptions extends EngineOptions, LoadHooks, ChatTemplates {
  /** Sees each program that is compiled, before the first pass and after each. */
  readonly onPass?: (pass: string, program: Program) => void;
  /** Sees each step when it is done. */
  readonly onStep?: (record: StepRecord) => void;
  /** Packed already, or soon; they are the caller's, and stay longer than the engine. Without them it packs its own. */
  readonly weights?: Promise<Weights>;
  /** Bytes of JavaScript now, where the engine has a thread of its own. */
  readonly javascriptBytes?: () => number;
  /** Opens memory outside of the KV pools, in pieces of so many bytes, for what they have no room for. */
  readonly slots?: (blockBytes: number) => Promise<BlockSlots>;
}

/** Streams that run keep half of their pace, whatever else comes: predictions may be off by a little. */
const defaultPace = 1.75;

interface Parts extends Pick<LocalEngineOptions, 'onStep' | 'javascriptBytes'> {
  readonly templates: ChatTemplates;
  readonly contextLength: number;
  readonly runner: Runner;
  readonly slots: BlockSlots | undefined;
  readonly kv: KvFormat;
  readonly queue: number;
  readonly queueSeconds: number;
  readonly pace: number;
}

/** An engine on the thread that asks, with a device of the caller's. */
export class LocalEngine implements Engine {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly device: Engine['device'];
  readonly contextLength: number;
  readonly answerFormat: AnswerFormat;
  readonly #templates: ChatTemplates;
  readonly #device: Device;
  readonly #queue: number;
  readonly #queueSeconds: number;
  readonly #javascriptBytes: () => number;
  readonly #runner: Runner;
  readonly #blocks: BlockManager;
  readonly #closing = new AbortController();
  readonly #slots: BlockSlots | undefined;
  readonly #spill: Spill;
  readonly #loop: StepLoop;
  readonly #texts: Texts;
  readonly #embedder: Embedder;
  readonly #work: StepWork;
  #nextId = 0;

  private constructor(device: Device, model: Model, tokenizer: Tokenizer, parts: Parts) {
    const {
      contextLength,
      templates,
      runner,
      slots,
      kv,
      queue,
      queueSeconds,
      pace,
      onStep,
      javascriptBytes = () => 0,
    } = parts;
    const template = templates.toolTemplate ?? templates.chatTemplate;
    this.#templates = templates;
    this.answerFormat = template === undefined ? plainText : answerFormat(template, tokenizer);
    this.device = { name: device.name, threads: device.hardware.threads };
    this.#device = device;
    this.#queue = queue;
    this.#queueSeconds = queueSeconds;
    this.#javascriptBytes = javascriptBytes;
    this.model = model;
    this.tokenizer = tokenizer;
    this.contextLength = contextLength;
    this.#runner = runner;
    this.#slots = slots;
    this.#blocks = new BlockManager(runner.limits, slots?.count);
    this.#spill = new Spill(this.#blocks, runner.pools, slots, () => this.#loop.stir());
    const { readBytesPerSecond, operationsPerSecond } = device.hardware;
    const kvBytesPerToken = model.kvBytes(kv, { blockCount: 1, blockSize: 1 });
    this.#work = new StepWork(device, model, kvBytesPerToken);
    const { layers, head } = this.#work;
    const cost = new StepCost({
      weightBytes: layers.bytes + head.bytes,
      layerElements: layers.elements,
      headElements: head.elements,
      kvBytesPerToken,
      readBytesPerSecond,
      operationsPerSecond: operationsPerSecond.f32 ?? 1e9,
    });
    this.#texts = new Texts(runner, this.#blocks, model.vocabularySize, this.#spill, {
      room: () => this.#loop.change,
      released: () => this.#loop.stir(),
    });
    this.#embedder = new Embedder(runner, this.#blocks, model.wholeSequences, (entries, seconds) =>
      this.#loop.count(entries, seconds),
    );
    this.#loop = new StepLoop({
      runner,
      blocks: this.#blocks,
      cost,
      work: this.#work,
      spill: this.#spill,
      runsAhead: device.runsAhead,
      pace,
      vocabularySize: model.vocabularySize,
      closing: this.#closing.signal,
      otherTables: () => [...this.#texts.tables, ...this.#embedder.tables],
      ...(onStep && { onStep }),
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
    const { pace = defaultPace, queue = Number.POSITIVE_INFINITY, queueSeconds = Number.POSITIVE_INFINITY } = options;
    if (!(pace >= 1)) throw new IngotError('InvalidArgument', `pace is ${pace}; it must be a number from 1`);
    const { templates, contextLength, ...given } = plan(model, tokenizer, options);
    const { slots: openSlots, onStep, javascriptBytes, kv } = { ...options, ...given };
    const runner = await Runner.load(device, model, given);
    let slots: BlockSlots | undefined;
    try {
      slots = await openSlots?.(runner.pools.blockBytes);
    } catch (error) {
      await runner[Symbol.asyncDispose]();
      throw error;
    }
    return new LocalEngine(device, model, tokenizer, {
      ...{ contextLength, templates, runner, slots, kv, queue, queueSeconds, pace },
      ...(onStep && { onStep }),
      ...(javascriptBytes && { javascriptBytes }),
    });
  }

  /** Compiles what `load` with the same options would, for a device that keeps what it made; reads no weight. */
  static async compileAhead(
    device: Device,
    model: Model,
    tokenizer: Tokenizer,
    options: LocalEngineOptions = {},
  ): Promise<void> {
    await Runner.compileAhead(device, model, plan(model, tokenizer, options));
  }

  async *generate(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined> {
    this.#needs('sample', 'it embeds texts and generates none');
    this.#checkIds(request.begun ?? [], 'the answer');
    const task = openTask(request, {
      id: this.#nextId++,
      prompt: this.#fit(request.prompt),
      tokenizer: this.tokenizer,
      vocabularySize: this.model.vocabularySize,
      contextLength: this.contextLength,
      maxBias: this.#runner.limits.maxBias,
      deadline: performance.now() + 1000 * this.#queueSeconds,
      signal: this.#stopSignal(request.signal),
      onRead: () => this.#loop.stir(),
    });
    if (request.maxTokens === 0) task.end('length');
    if (!task.ended) {
      // Those that find room at once wait for nobody.
      const { waiting, running } = this.#loop;
      if (waiting >= this.#queue + this.#runner.limits.maxSequences - running) {
        throw new IngotError('Overloaded', `${waiting} requests are waiting already`, { hint: 'Try again later.' });
      }
      this.#loop.add(task);
    }
    yield* task.events();
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
    return this.#embedder.embed(this.#fit(text), this.#stopSignal(signal));
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
    const { blockCount, freeBlocks, idleBlocks, storedBlocks, evicted } = this.#blocks;
    const { stored, fetched } = this.#spill.totals;
    const { weights, state, scratch } = this.#device.memory();
    const { running, waiting, totals } = this.#loop;
    return {
      running,
      waiting,
      cache: {
        capacity: blockCount * blockSize,
        used: (blockCount - freeBlocks) * blockSize,
        known: idleBlocks * blockSize,
        stored: storedBlocks * blockSize,
      },
      totals: {
        ...totals,
        evictedTokens: evicted * blockSize,
        storedTokens: stored * blockSize,
        fetchedTokens: fetched * blockSize,
      },
      memory: { weights: weights.now, state: state.now, scratch: scratch.now, javascript: this.#javascriptBytes() },
      machine: this.#work.limits,
    };
  }

  async checkIntegrity(): Promise<void> {
    this.#loop.checkIntegrity();
  }

  get hasChatTemplate(): boolean {
    return this.#templates.chatTemplate !== undefined;
  }

  async encode(prompt: Prompt): Promise<readonly number[]> {
    return this.#encode(prompt);
  }

  #encode(prompt: Prompt): readonly number[] {
    return encodePrompt(prompt, this.tokenizer, this.#templates);
  }

  /** The tokens of a prompt that the model can take. */
  #fit(prompt: Prompt): readonly number[] {
    if (this.#closing.signal.aborted) throw new IngotError('InvalidArgument', 'the engine is closed');
    const ids = fitting(this.#encode(prompt), this.contextLength);
    this.#checkIds(ids, 'the prompt');
    return ids;
  }

  /** @throws IngotError 'InvalidArgument' for what is no token. */
  #checkIds(ids: readonly number[], what: string): void {
    const { vocabularySize } = this.model;
    const stranger = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
    if (stranger === undefined) return;
    throw new IngotError('InvalidArgument', `${what} holds ${stranger}, which is no token`);
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
    await this.#loop.settled();
    await this.#texts.settled();
    await this.#embedder.settled();
    await this.#spill.settled();
    await this.#slots?.[Symbol.asyncDispose]();
    await this.#runner[Symbol.asyncDispose]();
  }
}

/** What follows from options before anything is loaded: what the runner gets, and what else they say of contexts. */
function plan(model: Model, tokenizer: Tokenizer, options: LocalEngineOptions) {
  if (tokenizer.vocabularySize > model.vocabularySize) {
    throw new IngotError(
      'TokenizerMismatch',
      `the tokenizer has ${tokenizer.vocabularySize} tokens, the model only ${model.vocabularySize}`,
      { hint: 'Use the tokenizer that came with this model.' },
    );
  }
  const { kv = 'f32', contextLength: wanted, sequences = 1, chatTemplate, toolTemplate, cacheTokens, slots } = options;
  const { numerics, signal, onProgress, onPass, weights, compilesAll } = options;
  const templates = { ...(chatTemplate && { chatTemplate }), ...(toolTemplate && { toolTemplate }) };
  const contextLength = chooseContext(wanted, model, (prompt) => encodePrompt(prompt, tokenizer, templates));
  // What layers with a window have let go cannot come back from outside of the pools.
  const limits = stepLimits(model, { contextLength, sequences, cacheTokens, keepsAll: slots !== undefined });
  return {
    ...{ templates, contextLength, limits, kv },
    ...(numerics && { numerics }),
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
    ...(onPass && { onPass }),
    ...(weights && { weights }),
    ...(compilesAll !== undefined && { compilesAll }),
  };
}
