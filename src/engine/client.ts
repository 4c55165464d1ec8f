/** The asking side of an engine in a worker: the same engine, seen through a port. */
import { type ErrorMessage, receivedError } from '../base/error-message.ts';
import { IngotError } from '../base/errors.ts';
import type {
  Engine,
  EngineFacts,
  EngineStatus,
  GenerateEvent,
  GenerateRequest,
  LoadHooks,
  Prompt,
  ScoreOptions,
  TokenText,
} from './engine.ts';
import { type Answer, type Call, type Port, type ToClient, type ToHost, window } from './messages.ts';

/** The port of whoever started the worker. */
export interface WorkerPort<In, Out> extends Port<In, Out> {
  /** Whether the worker is for other engines when this one is closed. */
  readonly stays: boolean;
  /** Whether the worker keeps the process alive. At first it does. */
  hold(on: boolean): void;
  /** Nobody asks any more. `isWell`: the engine was closed; the worker is ended, whatever it does, if not. */
  end(isWell: boolean): Promise<void>;
  /** Called once, if the worker ends by itself: with what it threw, or how it went. */
  onLost(report: (cause: unknown) => void): void;
}

/** Loads an engine in the worker behind `port`, which is the engine's from now on. @throws IngotError as loading does. */
export async function connectEngine<S>(
  port: WorkerPort<ToClient, ToHost<S>>,
  settings: S,
  { signal, ...hooks }: LoadHooks = {},
): Promise<Engine> {
  const calls = new Calls(port, hooks);
  try {
    const answer = await calls.ask({ kind: 'load', settings }, signal);
    if (answer.kind !== 'loaded') throw unexpected(answer);
    return new EngineClient(calls, answer.facts);
  } catch (error) {
    await calls.close();
    throw error;
  }
}

function receivedLoss(message: ErrorMessage): IngotError {
  const error = receivedError(message);
  return error instanceof IngotError ? error : new IngotError('DeviceLost', error.message, { cause: error });
}

function unexpected({ kind }: Answer): IngotError {
  return new IngotError('DeviceFault', `the engine's worker answers with "${kind}" to another question`);
}

class EngineClient<S> implements Engine {
  readonly model: EngineFacts['model'];
  readonly device: EngineFacts['device'];
  readonly contextLength: number;
  readonly hasChatTemplate: boolean;
  readonly answerFormat: EngineFacts['answerFormat'];
  readonly #calls: Calls<S>;

  constructor(calls: Calls<S>, { model, device, contextLength, hasChatTemplate, answerFormat }: EngineFacts) {
    this.#calls = calls;
    this.model = model;
    this.device = device;
    this.contextLength = contextLength;
    this.hasChatTemplate = hasChatTemplate;
    this.answerFormat = answerFormat;
  }

  async *generate({ signal, ...request }: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined> {
    const call = this.#calls.start({ kind: 'generate', request }, signal);
    try {
      for (let events = await call.events(); events.length > 0; events = await call.events()) {
        yield* events;
        call.read(events.length);
      }
    } finally {
      await call.leave();
    }
  }

  async encode(prompt: Prompt): Promise<readonly number[]> {
    const answer = await this.#calls.ask({ kind: 'encode', prompt });
    if (answer.kind !== 'encoded') throw unexpected(answer);
    return answer.ids;
  }

  async decode(ids: readonly number[]): Promise<string> {
    const answer = await this.#calls.ask({ kind: 'decode', ids });
    if (answer.kind !== 'decoded') throw unexpected(answer);
    return answer.text;
  }

  async tokenTexts(ids: readonly number[]): Promise<readonly TokenText[]> {
    const answer = await this.#calls.ask({ kind: 'tokenTexts', ids });
    if (answer.kind !== 'tokenTexts') throw unexpected(answer);
    return answer.tokens;
  }

  async status(): Promise<EngineStatus> {
    const answer = await this.#calls.ask({ kind: 'status' });
    if (answer.kind !== 'status') throw unexpected(answer);
    return answer.status;
  }

  async score(text: Prompt, { signal, ...options }: ScoreOptions = {}): Promise<Float64Array> {
    const answer = await this.#calls.ask({ kind: 'score', text, options }, signal);
    if (answer.kind !== 'scored') throw unexpected(answer);
    return answer.logprobs;
  }

  async logits(text: Prompt, { signal, ...options }: ScoreOptions = {}): Promise<Float32Array> {
    const answer = await this.#calls.ask({ kind: 'logits', text, options }, signal);
    if (answer.kind !== 'logits') throw unexpected(answer);
    return answer.rows;
  }

  async embed(text: Prompt, signal?: AbortSignal): Promise<Float32Array> {
    const answer = await this.#calls.ask({ kind: 'embed', text }, signal);
    if (answer.kind !== 'embedded') throw unexpected(answer);
    return answer.embedding;
  }

  async checkIntegrity(): Promise<void> {
    await this.#calls.ask({ kind: 'checkIntegrity' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#calls.close();
  }
}

/** All calls of one port. While there are any, the worker keeps the process alive. */
class Calls<S> {
  readonly #port: WorkerPort<ToClient, ToHost<S>>;
  readonly #pending = new Map<number, PendingCall>();
  #nextId = 1;
  /** Why there can be no more calls. */
  #over: IngotError | undefined;
  #closing: Promise<void> | undefined;

  constructor(port: WorkerPort<ToClient, ToHost<S>>, { onProgress, onLost }: Pick<LoadHooks, 'onProgress' | 'onLost'>) {
    this.#port = port;
    port.listen((message) => {
      switch (message.kind) {
        case 'progress':
          return onProgress?.(message.done, message.total);
        case 'lost':
          return onLost?.(receivedLoss(message.error));
        case 'events':
          for (const { id, events } of message.said) this.#pending.get(id)?.hear(events);
          return;
        default:
          return this.#pending.get(message.id)?.take(message);
      }
    });
    port.onLost((cause) => {
      const how = cause instanceof Error ? cause.message : String(cause);
      const error = new IngotError('DeviceLost', `the engine's worker ended: ${how}`, { cause });
      this.#end(error);
      onLost?.(error);
    });
  }

  start(call: Call<S>, signal?: AbortSignal): PendingCall {
    if (this.#over !== undefined) throw this.#over;
    const id = this.#nextId++;
    const abort = () => this.#port.send({ kind: 'abort', id });
    const read = (events: number) => this.#port.send({ kind: 'read', id, events });
    const pending = new PendingCall(abort, read, () => {
      signal?.removeEventListener('abort', abort);
      this.#pending.delete(id);
      if (this.#pending.size === 0) this.#port.hold(false);
    });
    this.#port.send({ kind: 'call', id, call, aborted: signal?.aborted ?? false });
    this.#pending.set(id, pending);
    this.#port.hold(true);
    signal?.addEventListener('abort', abort, { once: true });
    return pending;
  }

  ask(call: Call<S>, signal?: AbortSignal): Promise<Answer> {
    return this.start(call, signal).answer;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    let isWell = true;
    try {
      const closed = this.ask({ kind: 'close', stays: this.#port.stays });
      this.#over ??= new IngotError('InvalidArgument', 'the engine is closed');
      await closed;
    } catch {
      // The worker is gone already, or in no state to go on.
      isWell = false;
    }
    await this.#port.end(isWell);
  }

  #end(why: IngotError): void {
    this.#over = why;
    for (const pending of [...this.#pending.values()]) pending.fail(why);
  }
}

/** A call that was sent and may still be answered. */
class PendingCall {
  readonly answer: Promise<Answer>;
  readonly abort: () => void;
  readonly #read: (events: number) => void;
  readonly #settle: (outcome: Answer | Error) => void;
  #events: GenerateEvent[] = [];
  #ended = false;
  /** Events that were read, and of which the worker was not told. */
  #untold = 0;
  /** Tells `events` that there is something new. */
  #wake: () => void = () => {};

  constructor(abort: () => void, read: (events: number) => void, onEnd: () => void) {
    this.abort = abort;
    this.#read = read;
    let settle: (outcome: Answer | Error) => void = () => {};
    this.answer = new Promise((resolve, reject) => {
      settle = (outcome) => (outcome instanceof Error ? reject(outcome) : resolve(outcome));
    });
    // Whoever left does not want to know.
    this.answer.catch(() => {});
    this.#settle = (outcome) => {
      this.#ended = true;
      onEnd();
      settle(outcome);
      this.#wake();
    };
  }

  hear(events: readonly GenerateEvent[]): void {
    this.#events.push(...events);
    this.#wake();
  }

  take(message: Extract<ToClient, { kind: 'answer' | 'failed' }>): void {
    switch (message.kind) {
      case 'answer':
        this.#settle(message.answer);
        return;
      case 'failed':
        this.#settle(receivedError(message.error));
        return;
      default:
        message satisfies never;
    }
  }

  fail(error: Error): void {
    this.#settle(error);
  }

  /** What has come since the last time, as soon as there is anything; nothing when the call has ended. */
  async events(): Promise<readonly GenerateEvent[]> {
    while (this.#events.length === 0) {
      if (this.#ended) {
        await this.answer;
        return [];
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#events.splice(0);
  }

  /** So many events were read. The worker need not know at once. */
  read(events: number): void {
    this.#untold += events;
    if (this.#untold < window / 4) return;
    this.#read(this.#untold);
    this.#untold = 0;
  }

  /** Ends the call if it still runs, and waits for that. */
  async leave(): Promise<void> {
    if (!this.#ended) this.abort();
    await this.answer.catch(() => {});
  }
}
