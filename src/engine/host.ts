/**
 * The worker's side of an engine in a worker: takes calls from a port, answers them. Tokens that come fast share messages, as those of
 * one step do, so that sending costs nothing next to making them; a generation whose reader is slow waits, so that nothing piles up.
 */
import { errorMessage } from '../base/error-message.ts';
import { IngotError } from '../base/errors.ts';
import type { Engine, GenerateEvent, LoadHooks } from './engine.ts';
import { type Answer, type Call, type Port, type ToClient, type ToHost, window } from './messages.ts';

/** Milliseconds between two messages with events, at least. */
const pause = 4;

/** The same between two messages about a load, each of which wakes a thread that packing weights has to make room for. */
const progressPause = 50;

/** An engine with all that it stands on. */
type Loaded = AsyncDisposable & { readonly engine: Engine };

/** `leave`: when all is closed, and the thread is to end. */
export function serveEngine<S>(
  port: Port<ToHost<S>, ToClient>,
  load: (settings: S, hooks: LoadHooks) => Promise<Loaded>,
  leave: () => void = () => {},
): void {
  const host = new Host(port, load, leave);
  port.listen((message) => host.take(message));
}

class Host<S> {
  readonly #port: Port<ToHost<S>, ToClient>;
  readonly #load: (settings: S, hooks: LoadHooks) => Promise<Loaded>;
  readonly #leave: () => void;
  readonly #outbox: Outbox;
  readonly #calls = new Map<number, { readonly work: RunningCall; readonly ended: Promise<void> }>();
  #loaded: Loaded | undefined;

  constructor(
    port: Port<ToHost<S>, ToClient>,
    load: (settings: S, hooks: LoadHooks) => Promise<Loaded>,
    leave: () => void,
  ) {
    this.#leave = leave;
    this.#port = port;
    this.#outbox = new Outbox(port);
    this.#load = load;
  }

  take(message: ToHost<S>): void {
    const { id } = message;
    switch (message.kind) {
      case 'call': {
        const work = new RunningCall(id, this.#outbox);
        if (message.aborted) work.abort();
        this.#calls.set(id, { work, ended: this.#answer(id, message.call, work) });
        return;
      }
      case 'read':
        this.#calls.get(id)?.work.read(message.events);
        return;
      case 'abort':
        this.#calls.get(id)?.work.abort();
        return;
      default:
        message satisfies never;
    }
  }

  async #answer(id: number, call: Call<S>, work: RunningCall): Promise<void> {
    try {
      this.#port.send({ kind: 'answer', id, answer: await this.#perform(id, call, work) });
    } catch (error) {
      this.#port.send({ kind: 'failed', id, error: errorMessage(error) });
    } finally {
      this.#calls.delete(id);
    }
  }

  async #perform(id: number, call: Call<S>, work: RunningCall): Promise<Answer> {
    switch (call.kind) {
      case 'load': {
        let shownAt = Number.NEGATIVE_INFINITY;
        const onProgress = (done: number, total: number) => {
          if (performance.now() - shownAt < progressPause && done < total) return;
          shownAt = performance.now();
          this.#port.send({ kind: 'progress', id, done, total });
        };
        const onLost = (error: IngotError) => this.#port.send({ kind: 'lost', error: errorMessage(error) });
        this.#loaded = await this.#load(call.settings, { signal: work.signal, onProgress, onLost });
        const { model, device, contextLength, hasChatTemplate, answerFormat } = this.#loaded.engine;
        const { architecture, vocabularySize, contextLength: longest, layers, parameterCount, matryoshka } = model;
        const facts = { architecture, vocabularySize, contextLength: longest, layers, parameterCount, matryoshka };
        const others = { contextLength, hasChatTemplate, answerFormat };
        return { kind: 'loaded', facts: { model: facts, device: { ...device }, ...others } };
      }
      case 'generate':
        await work.stream(this.#engine.generate({ ...call.request, signal: work.signal }));
        return { kind: 'done' };
      case 'encode':
        return { kind: 'encoded', ids: await this.#engine.encode(call.prompt) };
      case 'decode':
        return { kind: 'decoded', text: await this.#engine.decode(call.ids) };
      case 'tokenTexts':
        return { kind: 'tokenTexts', tokens: await this.#engine.tokenTexts(call.ids) };
      case 'status':
        return { kind: 'status', status: await this.#engine.status() };
      case 'score':
        return {
          kind: 'scored',
          logprobs: await this.#engine.score(call.text, { ...call.options, signal: work.signal }),
        };
      case 'logits':
        return { kind: 'logits', rows: await this.#engine.logits(call.text, { ...call.options, signal: work.signal }) };
      case 'embed':
        return { kind: 'embedded', embedding: await this.#engine.embed(call.text, work.signal) };
      case 'checkIntegrity':
        await this.#engine.checkIntegrity();
        return { kind: 'done' };
      case 'close': {
        const others = [...this.#calls].filter(([other]) => other !== id).map(([, other]) => other);
        for (const other of others) other.work.abort();
        await Promise.all(others.map(({ ended }) => ended));
        const loaded = this.#loaded;
        this.#loaded = undefined;
        await loaded?.[Symbol.asyncDispose]();
        if (!call.stays) this.#leave();
        return { kind: 'done' };
      }
      default:
        return call satisfies never;
    }
  }

  get #engine(): Engine {
    if (this.#loaded === undefined) throw new IngotError('InvalidArgument', 'no model is loaded');
    return this.#loaded.engine;
  }
}

/** Events of all generations on their way to the client. */
class Outbox {
  readonly #port: Pick<Port<never, ToClient>, 'send'>;
  readonly #waiting = new Map<number, GenerateEvent[]>();
  #sentAt = Number.NEGATIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(port: Pick<Port<never, ToClient>, 'send'>) {
    this.#port = port;
  }

  add(id: number, event: GenerateEvent): void {
    const waiting = this.#waiting.get(id);
    if (waiting !== undefined) waiting.push(event);
    else this.#waiting.set(id, [event]);
    if (performance.now() - this.#sentAt < pause) this.#timer ??= setTimeout(() => this.send(), pause);
    // The other generations of the same step are told of their tokens in this turn, too.
    else if (this.#waiting.size === 1) void Promise.resolve().then(() => this.send());
  }

  send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting.size === 0) return;
    this.#port.send({ kind: 'events', said: Array.from(this.#waiting, ([id, events]) => ({ id, events })) });
    this.#waiting.clear();
    this.#sentAt = performance.now();
  }
}

/** One call while it is worked on. */
class RunningCall {
  readonly #id: number;
  readonly #outbox: Outbox;
  readonly #controller = new AbortController();
  readonly signal = this.#controller.signal;
  #unread = 0;
  #goOn: () => void = () => {};

  constructor(id: number, outbox: Outbox) {
    this.#id = id;
    this.#outbox = outbox;
  }

  abort(): void {
    this.#controller.abort();
    this.#goOn();
  }

  read(events: number): void {
    this.#unread -= events;
    this.#goOn();
  }

  async stream(events: AsyncIterable<GenerateEvent>): Promise<void> {
    try {
      for await (const event of events) {
        this.#outbox.add(this.#id, event);
        this.#unread++;
        while (this.#unread >= window && !this.signal.aborted) {
          this.#outbox.send();
          await new Promise<void>((resolve) => {
            this.#goOn = resolve;
          });
        }
      }
    } finally {
      this.#outbox.send();
    }
  }
}
