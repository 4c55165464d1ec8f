/**
 * An engine that is opened again when it is lost, each time under a higher epoch. Whatever an older epoch still says is heard by nobody:
 * who waits for it is told of the loss when that is known, before anything else can come.
 */
import { IngotError, isIngotError } from '../base/errors.ts';
import type { Engine, EngineFacts, EngineStatus, LoadHooks } from './engine.ts';
import { KnownPrefixes } from './known-prefixes.ts';

export interface ReplicaSource {
  /** Why it is opened once, and none in its place when it is lost. */
  readonly once?: string;
  /** Opens the engine: at the start, and after each loss. @throws IngotError as loading does. */
  open(epoch: number, hooks: LoadHooks): Promise<Engine>;
}

export type ReplicaEvent =
  /** `requests`: that go on elsewhere; `last`: what it had said of itself. */
  | {
      readonly kind: 'lost';
      readonly epoch: number;
      readonly error: IngotError;
      readonly requests: number;
      readonly last: EngineStatus;
      /** Whether one is opened in its place. */
      readonly returns: boolean;
    }
  | { readonly kind: 'failed'; readonly epoch: number; readonly error: unknown }
  | { readonly kind: 'restored'; readonly epoch: number; readonly seconds: number };

/** Milliseconds before the second try to open it, which double with each, up to the most. */
const firstPause = 100;
const longestPause = 30_000;
/** Milliseconds that a lost engine has to give its memory back before the next is opened. */
const patience = 5000;

/** An engine during one epoch. */
export class Session {
  readonly engine: Engine;
  readonly epoch: number;
  readonly known: KnownPrefixes;
  readonly begin = performance.now();
  /** Milliseconds that it took to come: of opening it, and of waiting before that. */
  readonly took: number;
  /** What it said last of itself. */
  status: EngineStatus;
  /** Why it is over. */
  loss: IngotError | undefined;
  readonly #waiting = new Set<Waiting>();
  readonly #onLoss: (session: Session) => void;

  constructor(engine: Engine, epoch: number, status: EngineStatus, took: number, onLoss: (session: Session) => void) {
    this.took = took;
    this.engine = engine;
    this.epoch = epoch;
    this.status = status;
    this.known = new KnownPrefixes(status.cache.capacity);
    this.#onLoss = onLoss;
  }

  /** What the engine answers. @throws `loss` once it is lost, and what the engine throws. */
  async ask<T>(question: () => Promise<T>): Promise<T> {
    using waiting = this.wait();
    return await waiting.for(question);
  }

  /** For whoever asks again and again. */
  wait(): Waiting {
    const waiting: Waiting = new Waiting(this, () => this.#waiting.delete(waiting));
    this.#waiting.add(waiting);
    return waiting;
  }

  /** The engine is gone. */
  lose(why: IngotError): void {
    if (this.loss !== undefined) return;
    this.loss = why;
    this.#onLoss(this);
    for (const waiting of this.#waiting) waiting.tell(why);
  }
}

/** Somebody who waits for one answer of a session after another. */
class Waiting implements Disposable {
  readonly #session: Session;
  readonly #leave: () => void;
  /** That the session is lost. */
  tell: (why: IngotError) => void = () => {};

  constructor(session: Session, leave: () => void) {
    this.#session = session;
    this.#leave = leave;
  }

  /** @throws as `Session.ask`. What the engine says after a loss nobody hears. */
  for<T>(question: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#session.loss !== undefined) throw this.#session.loss;
      this.tell = reject;
      question().then(resolve, (error) => {
        if (isIngotError(error, 'DeviceLost') || isIngotError(error, 'RankLost')) this.#session.lose(error);
        reject(error);
      });
    });
  }

  [Symbol.dispose](): void {
    this.#leave();
  }
}

type OpenHooks = Pick<LoadHooks, 'signal' | 'onProgress'>;

export class Replica implements AsyncDisposable {
  readonly #source: ReplicaSource;
  readonly #report: (event: ReplicaEvent) => void;
  readonly #requests: () => number;
  readonly #closing = new AbortController();
  #session: Session | undefined;
  #over: IngotError | undefined;
  #epoch = 0;
  #facts: string | undefined;
  /** Losses and failures in a row. */
  #failures = 0;
  #opening: Promise<void> = Promise.resolve();
  #restarting: Promise<void> = Promise.resolve();

  /** `requests`: those that it has. */
  constructor(source: ReplicaSource, requests: () => number, report: (event: ReplicaEvent) => void) {
    this.#source = source;
    this.#requests = requests;
    this.#report = report;
  }

  /** The engine, while it works. */
  get session(): Session | undefined {
    return this.#session;
  }

  /** Why there will be none any more. */
  get over(): IngotError | undefined {
    return this.#over;
  }

  get restarts(): number {
    return Math.max(0, this.#epoch - 1);
  }

  /** @throws IngotError as loading does. */
  open(hooks: OpenHooks = {}): Promise<Session> {
    return this.#openSince(performance.now(), hooks);
  }

  #openSince(asked: number, hooks: OpenHooks): Promise<Session> {
    const opened = this.#open(asked, hooks);
    this.#opening = opened.then(
      () => {},
      () => {},
    );
    return opened;
  }

  async #open(asked: number, { signal, ...hooks }: OpenHooks): Promise<Session> {
    const epoch = ++this.#epoch;
    let loss: IngotError | undefined;
    let session: Session | undefined;
    const onLost = (error: IngotError) => {
      loss = error;
      session?.lose(error);
    };
    const signals = [this.#closing.signal, ...(signal === undefined ? [] : [signal])];
    const engine = await this.#source.open(epoch, { ...hooks, signal: AbortSignal.any(signals), onLost });
    try {
      const status = await engine.status();
      if (loss !== undefined) throw loss;
      this.#checkSame(engine);
      if (this.#closing.signal.aborted) throw new IngotError('Aborted', 'the engine is closed');
      session = new Session(engine, epoch, status, performance.now() - asked, (lost) => this.#lose(lost));
      this.#session = session;
      return session;
    } catch (error) {
      await engine[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** @throws IngotError 'FileChanged' if another model lies where the first was: answers could not go on with it. */
  #checkSame({ model, contextLength, hasChatTemplate, answerFormat }: EngineFacts): void {
    const facts = JSON.stringify([model, contextLength, hasChatTemplate, answerFormat]);
    this.#facts ??= facts;
    if (facts === this.#facts) return;
    throw new IngotError('FileChanged', 'the model is another than at the start', { hint: 'Start anew with it.' });
  }

  #lose(session: Session): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    if (this.#closing.signal.aborted || session.loss === undefined) return;
    // At most half of the time goes into coming back.
    if (performance.now() - session.begin > session.took) this.#failures = 0;
    const { epoch, loss, status: last } = session;
    const { once: hint } = this.#source;
    if (hint !== undefined) this.#over = new IngotError(loss.code, loss.message, { hint, cause: loss });
    const error = this.#over ?? loss;
    this.#report({ kind: 'lost', epoch, error, requests: this.#requests(), last, returns: hint === undefined });
    this.#restarting = hint === undefined ? this.#restart(session) : closed(session);
  }

  async #restart(lost: Session): Promise<void> {
    const begin = performance.now();
    const gone = closed(lost);
    await this.#pause(patience, gone);
    while (!this.#closing.signal.aborted) {
      const asked = performance.now();
      const pause = this.#failures === 0 ? 0 : firstPause * 2 ** (this.#failures - 1);
      this.#failures++;
      await this.#pause(Math.min(pause, longestPause));
      if (this.#closing.signal.aborted) break;
      try {
        const { epoch } = await this.#openSince(asked, {});
        this.#report({ kind: 'restored', epoch, seconds: (performance.now() - begin) / 1000 });
        return;
      } catch (error) {
        if (!this.#closing.signal.aborted) this.#report({ kind: 'failed', epoch: this.#epoch, error });
      }
    }
    await gone;
  }

  /** Until so many milliseconds are over, `other` has settled, or it is closed. Keeps no process alive. */
  async #pause(milliseconds: number, other?: Promise<void>): Promise<void> {
    const { signal } = this.#closing;
    await new Promise<void>((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, milliseconds);
      timer.unref?.();
      signal.addEventListener('abort', end);
      if (signal.aborted) end();
      void other?.then(end);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#opening;
    await this.#session?.engine[Symbol.asyncDispose]();
    await this.#restarting;
  }
}

/** Settles when a lost engine has given back what it still can. */
async function closed({ engine }: Session): Promise<void> {
  await Promise.resolve(engine[Symbol.asyncDispose]()).catch(() => {});
}
