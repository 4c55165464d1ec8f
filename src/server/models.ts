/**
 * The models behind one address. Each is loaded when it is first asked for, and the least recently used go where memory ends; a
 * request holds the model that answers it by a lease, so none loses it. What has to go is decided by a function of plain values,
 * and one load is carried out after another.
 */
import { IngotError, isIngotError } from '../base/errors.ts';
import type { Engine, EngineStatus } from '../engine/engine.ts';
import type { ReplicaEvent } from '../engine/replica.ts';
import { ApiError } from './failure.ts';
import { TokenTexts } from './token-texts.ts';

export interface ModelSource {
  /** What clients call it. */
  readonly name: string;
  /** Memory that it will take, as far as that is known before it is loaded. */
  readonly bytes: number;
  /** `onReplica`: told what happens to which of the engines that it consists of. @throws IngotError as loading does. */
  open(signal: AbortSignal, onReplica: (replica: number, event: ReplicaEvent) => void): Promise<Engine>;
}

export interface ModelsOptions {
  /** Bytes of all loaded models together, at most. One alone may try to take more: the device says whether it can. */
  readonly memory?: number;
}

export type ModelEvent =
  | {
      readonly kind: 'loaded';
      readonly model: string;
      readonly engine: Engine;
      readonly seconds: number;
      readonly bytes: number;
    }
  /** `last`: what it had done, where it still could say so. */
  | { readonly kind: 'left'; readonly model: string; readonly engine: Engine; readonly last: EngineStatus | undefined }
  | { readonly kind: 'failed'; readonly model: string; readonly error: unknown }
  /** Something happened to one of the engines that a model has. */
  | { readonly kind: 'replica'; readonly model: string; readonly replica: number; readonly event: ReplicaEvent };

/** The right to one model for the time of one request. */
export interface Lease extends Disposable {
  readonly model: string;
  readonly engine: Engine;
  readonly texts: TokenTexts;
  /** Raised when the work has to end: its client went away, or the server's time is over. */
  readonly signal: AbortSignal;
  /** Ends the work. */
  abort(): void;
}

/** A model that is in memory. */
interface Resident {
  readonly engine: Engine;
  readonly texts: TokenTexts;
  readonly bytes: number;
  readonly leases: Set<Lease>;
  /** How that was said. */
  loaded: ModelEvent | undefined;
  /** Called when the last lease has ended. */
  onIdle: () => void;
}

interface Entry {
  readonly source: ModelSource;
  /** What it took when it was loaded last; until then what is known of it. */
  bytes: number;
  lastUse: number;
  resident: Resident | undefined;
  /** Requests that wait until it is loaded. */
  readonly waiting: Set<Waiter>;
  /** Whether a load of it was asked for. */
  queued: boolean;
}

interface Waiter {
  grant(resident: Resident): void;
  refuse(error: unknown): void;
}

/** What a decision about memory looks at. */
export interface Loaded {
  readonly model: string;
  readonly bytes: number;
  /** A count that grows with every use. */
  readonly lastUse: number;
  readonly busy: boolean;
}

/** Which models have to go so that `bytes` more fit: the idle ones first, the least recently used first among them. */
export function whoLeaves(loaded: readonly Loaded[], bytes: number, memory: number): readonly string[] {
  const order = [...loaded].sort((a, b) => Number(a.busy) - Number(b.busy) || a.lastUse - b.lastUse);
  let total = loaded.reduce((sum, each) => sum + each.bytes, bytes);
  const leaving: string[] = [];
  for (const each of order) {
    if (total <= memory) break;
    leaving.push(each.model);
    total -= each.bytes;
  }
  return leaving;
}

export class Models implements AsyncDisposable {
  readonly #entries = new Map<string, Entry>();
  readonly #memory: number;
  readonly #listeners: ((event: ModelEvent) => void)[] = [];
  readonly #ending = new AbortController();
  readonly #leases = new Set<Lease>();
  /** Residents that nobody new gets, until their leases end. */
  readonly #leaving = new Set<Promise<void>>();
  /** Loads, one after another. */
  #loads: Promise<void> = Promise.resolve();
  #uses = 0;
  #ready = false;
  #draining = false;

  /** The first is the one of requests that name none. */
  constructor(sources: readonly ModelSource[], { memory = Number.POSITIVE_INFINITY }: ModelsOptions = {}) {
    for (const source of sources) {
      const { name, bytes } = source;
      this.#entries.set(name, {
        source,
        bytes,
        lastUse: 0,
        resident: undefined,
        waiting: new Set(),
        queued: false,
      });
    }
    this.#memory = memory;
  }

  /** What happens from now on, and to what is loaded already what had. */
  onEvent(listener: (event: ModelEvent) => void): void {
    this.#listeners.push(listener);
    for (const { resident } of this.#entries.values()) if (resident?.loaded !== undefined) listener(resident.loaded);
  }

  #say(event: ModelEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  get names(): readonly string[] {
    return [...this.#entries.keys()];
  }

  /** Whether a request would be taken and its model be there, or brought. */
  get state(): 'loading' | 'ready' | 'draining' {
    if (this.#draining) return 'draining';
    const { all, ready } = this.replicas;
    return this.#ready && (all === 0 || ready > 0) ? 'ready' : 'loading';
  }

  /** Engines of the models that are loaded, and how many of them work. */
  get replicas(): { readonly all: number; readonly ready: number } {
    const each = [...this.#entries.values()].flatMap(({ resident }) =>
      resident === undefined ? [] : [resident.engine.replicas ?? { all: 1, ready: 1 }],
    );
    return each.reduce((sum, { all, ready }) => ({ all: sum.all + all, ready: sum.ready + ready }), {
      all: 0,
      ready: 0,
    });
  }

  /** The engine of a model, where it is loaded. */
  loaded(name: string): Engine | undefined {
    return this.#entries.get(name)?.resident?.engine;
  }

  /** Requests that wait until it is loaded. */
  waiting(name: string): number {
    return this.#entries.get(name)?.waiting.size ?? 0;
  }

  /** @throws ApiError 404. */
  check(name: string | undefined): string {
    const { names } = this;
    if (name === undefined) return names[0];
    if (this.#entries.has(name)) return name;
    const known = names.slice(0, 16).map((each) => JSON.stringify(each));
    throw new ApiError(
      404,
      `there is no model ${JSON.stringify(name.slice(0, 256))}; this server has ${known.join(', ')}${names.length > 16 ? ', ...' : ''}`,
      { param: 'model', code: 'model_not_found' },
    );
  }

  /**
   * A model, loaded if it is not. @throws ApiError 404 for one that is not served, 503 for one that cannot be loaded;
   * IngotError 'Aborted'.
   */
  async acquire(name: string | undefined, signal: AbortSignal): Promise<Lease> {
    const entry = this.#entries.get(this.check(name));
    if (entry === undefined || this.#draining) throw new IngotError('Aborted', 'the server is shutting down');
    const lease = entry.resident === undefined ? await this.#wait(entry, signal) : this.#grant(entry, entry.resident);
    const abort = () => lease.abort();
    signal.addEventListener('abort', abort, { once: true });
    lease.signal.addEventListener('abort', () => signal.removeEventListener('abort', abort), { once: true });
    if (signal.aborted) lease.abort();
    return lease;
  }

  /** Does something short with a model. @throws as `acquire`, and what the work throws. */
  async use<T>(name: string | undefined, signal: AbortSignal, work: (lease: Lease) => Promise<T>): Promise<T> {
    using lease = await this.acquire(name, signal);
    return await work(lease);
  }

  #grant(entry: Entry, resident: Resident): Lease {
    const controller = new AbortController();
    entry.lastUse = ++this.#uses;
    const lease: Lease = {
      model: entry.source.name,
      engine: resident.engine,
      texts: resident.texts,
      signal: controller.signal,
      abort: () => controller.abort(),
      [Symbol.dispose]: () => {
        resident.leases.delete(lease);
        this.#leases.delete(lease);
        // Whoever listens to the client's signal for it lets go.
        controller.abort();
        if (resident.leases.size === 0) resident.onIdle();
      },
    };
    resident.leases.add(lease);
    this.#leases.add(lease);
    return lease;
  }

  /** In the queue of a model that is not loaded. Who goes away leaves it. */
  #wait(entry: Entry, signal: AbortSignal): Promise<Lease> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        entry.waiting.delete(waiter);
        reject(new IngotError('Aborted', 'the request was left before its model was loaded'));
      };
      const waiter = {
        grant: (resident: Resident) => {
          signal.removeEventListener('abort', leave);
          resolve(this.#grant(entry, resident));
        },
        refuse: (error: unknown) => {
          signal.removeEventListener('abort', leave);
          reject(error);
        },
      };
      if (signal.aborted) return leave();
      signal.addEventListener('abort', leave, { once: true });
      entry.waiting.add(waiter);
      this.#load(entry);
    });
  }

  /** Brings a model in, after those that are asked for already. */
  #load(entry: Entry): void {
    if (entry.queued) return;
    entry.queued = true;
    this.#loads = this.#loads.then(async () => {
      entry.queued = false;
      if (entry.waiting.size > 0) await this.#loadNow(entry);
    });
  }

  async #loadNow(entry: Entry): Promise<void> {
    const model = entry.source.name;
    const begin = performance.now();
    let resident: Resident;
    try {
      resident = await this.#bring(entry);
    } catch (error) {
      const refusal = this.#refusal(entry, error);
      for (const waiter of takeAll(entry.waiting)) waiter.refuse(refusal);
      return;
    }
    entry.resident = resident;
    entry.bytes = resident.bytes;
    this.#ready = true;
    // All of them at once, before the next load may ask the model to go.
    for (const waiter of takeAll(entry.waiting)) waiter.grant(resident);
    const { engine, bytes } = resident;
    resident.loaded = { kind: 'loaded', model, engine, seconds: (performance.now() - begin) / 1000, bytes };
    this.#say(resident.loaded);
    // It may have taken more than was known.
    await this.#makeRoom(entry);
  }

  #refusal({ source: { name } }: Entry, error: unknown): unknown {
    if (this.#ending.signal.aborted) return new IngotError('Aborted', 'the server is shutting down');
    // Of the first load its caller tells.
    if (this.#uses > 0) this.#say({ kind: 'failed', model: name, error });
    const why = error instanceof IngotError ? ` (${error.code})` : '';
    return new ApiError(503, `the model ${JSON.stringify(name)} cannot be loaded now${why}`, {
      code: 'model_unavailable',
      cause: error,
    });
  }

  async #bring(entry: Entry): Promise<Resident> {
    await this.#makeRoom(entry);
    const engine = await this.#open(entry);
    const { memory } = await engine.status();
    const bytes = memory.weights + memory.state + memory.scratch;
    return { engine, texts: new TokenTexts(engine), bytes, leases: new Set(), loaded: undefined, onIdle: () => {} };
  }

  async #makeRoom({ source: { name }, bytes }: Entry): Promise<void> {
    const others = this.#residents().filter(({ model }) => model !== name);
    await Promise.all(whoLeaves(others, bytes, this.#memory).map((each) => this.#dismiss(each)));
  }

  /** Where memory ends before its cap others go, one after another. */
  async #open(entry: Entry): Promise<Engine> {
    for (;;) {
      try {
        const model = entry.source.name;
        return await entry.source.open(this.#ending.signal, (replica, event) =>
          this.#say({ kind: 'replica', model, replica, event }),
        );
      } catch (error) {
        const [first] = whoLeaves(this.#residents(), Number.POSITIVE_INFINITY, 0);
        if (first === undefined || !isIngotError(error, 'OutOfMemory')) throw error;
        await this.#dismiss(first);
      }
    }
  }

  #residents(): readonly Loaded[] {
    return [...this.#entries].flatMap(([model, { resident, lastUse }]) =>
      resident === undefined ? [] : [{ model, bytes: resident.bytes, lastUse, busy: resident.leases.size > 0 }],
    );
  }

  /** Nobody new gets the model; when those have ended that have it, its memory is free. */
  async #dismiss(name: string): Promise<void> {
    const entry = this.#entries.get(name);
    const resident = entry?.resident;
    if (entry === undefined || resident === undefined) return;
    entry.resident = undefined;
    const left = this.#leave(name, resident);
    this.#leaving.add(left);
    await left;
    this.#leaving.delete(left);
  }

  async #leave(name: string, resident: Resident): Promise<void> {
    if (resident.leases.size > 0) {
      await new Promise<void>((resolve) => {
        resident.onIdle = resolve;
      });
    }
    const last = await resident.engine.status().catch(() => undefined);
    try {
      await resident.engine[Symbol.asyncDispose]();
    } catch (error) {
      this.#say({ kind: 'failed', model: name, error });
    }
    this.#say({ kind: 'left', model: name, engine: resident.engine, last });
  }

  /** Loads a model before anybody asks for it. @throws IngotError as loading does. */
  async preload(name = this.names[0]): Promise<void> {
    try {
      using _ = await this.acquire(name, this.#ending.signal);
    } catch (error) {
      throw error instanceof ApiError && error.cause !== undefined ? error.cause : error;
    }
  }

  /** Refuses new requests, and settles when those that run have ended; at `deadline`, in milliseconds from now, they are made to. */
  async drain(deadline = Number.POSITIVE_INFINITY): Promise<void> {
    this.#draining = true;
    const end = () => {
      this.#ending.abort();
      for (const lease of this.#leases) lease.abort();
    };
    const timer = deadline === Number.POSITIVE_INFINITY ? undefined : setTimeout(end, deadline);
    for (const name of this.names) void this.#dismiss(name);
    await this.#loads;
    for (const name of this.names) void this.#dismiss(name);
    await Promise.all(this.#leaving);
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.drain(0);
  }
}

function takeAll<T>(from: Set<T>): readonly T[] {
  const all = [...from];
  from.clear();
  return all;
}
