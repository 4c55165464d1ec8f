/**
 * Several engines with the same model as one. A request goes to the one that choose-replica.ts says. What was said of each answer is
 * kept while it is made: where its engine is lost, another goes on after the last token that was said, with the same text, since neither draws nor
 * bits depend on where a token is computed. Whoever reads sees a pause.
 */
import { IngotError } from '../base/errors.ts';
import { answerTokens, chooseReplica } from './choose-replica.ts';
import type {
  Engine,
  EngineFacts,
  EngineStatus,
  EngineTotals,
  GenerateEvent,
  GenerateRequest,
  LoadHooks,
  Prompt,
  ScoreOptions,
  TokenText,
} from './engine.ts';
import { chainOf, continued, pieceTokens } from './known-prefixes.ts';
import { Replica, type ReplicaEvent, type ReplicaSource, type Session } from './replica.ts';
import { StatisticsClock } from './statistics.ts';
import { addedStatus, addedTotals, noTotals } from './status.ts';

export interface ReplicasOptions extends Omit<LoadHooks, 'onLost'> {
  /** Requests that each computes together at most. */
  readonly sequences: number;
  /** Requests of all of them that wait at most; more are refused. */
  readonly queue: number;
  /** What they have in common: disposed when all are closed. */
  readonly shelf?: Disposable;
  /** What happens to which replica after all are open. */
  readonly onReplica?: (replica: number, event: ReplicaEvent) => void;
}

/** Times that a request goes on elsewhere at most: one that ends engines must not end them all, again and again. */
const mostReplays = 3;
/** Milliseconds that requests wait at most while no replica works. */
const patience = 60_000;

/** A request, or another question, as far as the choice is concerned. */
interface Work {
  /** What is known of its beginning. */
  readonly chain: readonly number[];
  readonly signal: AbortSignal | undefined;
  /** An answer is more than its prompt; a question about words weighs nothing. */
  readonly kind: 'answer' | 'text' | 'words';
}

interface Slot {
  readonly replica: Replica;
  readonly requests: Set<Place>;
  lastChosen: number;
  replays: number;
}

/** A request at a replica. */
interface Place extends Disposable {
  readonly slot: Slot;
  readonly session: Session;
  /** Tokens of the prompt that have to be computed still. */
  ahead: number;
  /** Whether two replicas were lost under it. Only one such request is at a replica: others with it cannot be taken for what it is. */
  readonly suspect: boolean;
  readonly kind: Work['kind'];
}

/** Opens them all. @throws IngotError as loading does; nothing stays open. */
export async function openReplicas(sources: readonly ReplicaSource[], options: ReplicasOptions): Promise<Engine> {
  const replicas = new Replicas(sources, options);
  try {
    await replicas.open(options);
    return replicas;
  } catch (error) {
    await replicas[Symbol.asyncDispose]();
    throw error;
  }
}

class Replicas implements Engine {
  readonly #options: ReplicasOptions;
  readonly #slots: readonly Slot[];
  #facts: EngineFacts | undefined;
  #choices = 0;
  /** Of engines that are lost. */
  #gone: EngineTotals = noTotals;
  /** When the last that worked was lost. */
  #downSince = 0;
  #isClosed = false;
  /** Told when a request may find a place that found none. */
  readonly #waiting = new Set<() => void>();

  constructor(sources: readonly ReplicaSource[], options: ReplicasOptions) {
    this.#options = options;
    this.#slots = sources.map((source, i) => {
      const requests = new Set<Place>();
      const replica = new Replica(
        source,
        () => requests.size,
        (event) => this.#take(i, event),
      );
      return { replica, requests, lastChosen: 0, replays: 0 };
    });
  }

  async open({ signal, onProgress }: Pick<LoadHooks, 'signal' | 'onProgress'>): Promise<void> {
    const progress = this.#slots.map(() => ({ done: 0, total: 0 }));
    const sum = (of: 'done' | 'total') => progress.reduce((all, one) => all + one[of], 0);
    const opening = this.#slots.map(({ replica }, i) =>
      replica.open({
        ...(signal && { signal }),
        ...(onProgress && {
          onProgress(done: number, total: number) {
            progress[i] = { done, total };
            onProgress(sum('done'), sum('total'));
          },
        }),
      }),
    );
    const sessions = await Promise.all(opening);
    this.#facts = sessions[0].engine;
  }

  async *generate(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined> {
    const { prompt, cacheOwner = '', signal } = request;
    const clock = new StatisticsClock();
    const begun = [...(request.begun ?? [])];
    let said = '';
    this.#refuseTooMany();
    for (let replays = 0; ; replays++) {
      using place = await this.#place({ chain: chainOf(prompt, cacheOwner), signal, kind: 'answer' }, replays);
      if (place === undefined) {
        yield { kind: 'end', text: '', reason: 'aborted', statistics: clock.read() };
        return;
      }
      const { session } = place;
      using answers = session.wait();
      const events = session.engine.generate({ ...request, begun });
      try {
        for (;;) {
          const { done, value: event } = await answers.for(() => events.next());
          if (done) return;
          said += event.text;
          if (event.kind === 'end') {
            session.known.add(chainOf(continued(prompt, begun, said), cacheOwner));
            yield replays === 0 ? event : { ...event, statistics: clock.around(event.statistics) };
            return;
          }
          place.ahead = 0;
          begun.push(event.id);
          clock.token();
          yield event;
        }
      } catch (error) {
        this.#checkReplay(place, replays, error);
      } finally {
        const left = events.return();
        // One that is lost need not answer.
        if (session.loss === undefined) await left;
        else left.catch(() => {});
      }
    }
  }

  /** A question that may be asked again. */
  async #once<T>(
    { prompt, signal }: { readonly prompt?: Prompt; readonly signal?: AbortSignal | undefined },
    question: (engine: Engine) => Promise<T>,
  ): Promise<T> {
    const kind = prompt === undefined ? 'words' : 'text';
    const chain = prompt === undefined ? [] : chainOf(prompt, '');
    for (let replays = 0; ; replays++) {
      using place = await this.#place({ chain, signal, kind }, replays);
      if (place === undefined) throw new IngotError('Aborted', 'the work was cancelled', { cause: signal?.reason });
      const { session } = place;
      try {
        return await session.ask(() => question(session.engine));
      } catch (error) {
        this.#checkReplay(place, replays, error);
      }
    }
  }

  encode(prompt: Prompt): Promise<readonly number[]> {
    return this.#once({}, (engine) => engine.encode(prompt));
  }

  decode(ids: readonly number[]): Promise<string> {
    return this.#once({}, (engine) => engine.decode(ids));
  }

  tokenTexts(ids: readonly number[]): Promise<readonly TokenText[]> {
    return this.#once({}, (engine) => engine.tokenTexts(ids));
  }

  score(text: Prompt, options: ScoreOptions = {}): Promise<Float64Array> {
    return this.#once({ prompt: text, signal: options.signal }, (engine) => engine.score(text, options));
  }

  logits(text: Prompt, options: ScoreOptions = {}): Promise<Float32Array> {
    return this.#once({ prompt: text, signal: options.signal }, (engine) => engine.logits(text, options));
  }

  embed(text: Prompt, signal?: AbortSignal): Promise<Float32Array> {
    return this.#once({ prompt: text, signal }, (engine) => engine.embed(text, signal));
  }

  async checkIntegrity(): Promise<void> {
    await Promise.all(this.#sessions.map((session) => session.ask(() => session.engine.checkIntegrity())));
  }

  async status(): Promise<EngineStatus> {
    const asked = this.#sessions;
    await Promise.all(
      asked.map(async (session) => {
        // One that is lost meanwhile is among those that are gone.
        session.status = await session.ask(() => session.engine.status()).catch(() => session.status);
      }),
    );
    const status = addedStatus(asked.filter(({ loss }) => loss === undefined).map((session) => session.status));
    const replicas = this.#slots.map(({ replica, requests, replays }) => {
      return { ready: replica.session !== undefined, requests: requests.size, restarts: replica.restarts, replays };
    });
    return { ...status, totals: addedTotals([status.totals, this.#gone]), replicas };
  }

  get replicas(): { readonly all: number; readonly ready: number } {
    return { all: this.#slots.length, ready: this.#sessions.length };
  }

  get #opened(): EngineFacts {
    if (this.#facts === undefined) throw new IngotError('InvalidArgument', 'the engines are not open yet');
    return this.#facts;
  }

  get model(): EngineFacts['model'] {
    return this.#opened.model;
  }

  get device(): EngineFacts['device'] {
    return { name: this.#opened.device.name, threads: this.#opened.device.threads * this.#slots.length };
  }

  get contextLength(): number {
    return this.#opened.contextLength;
  }

  get hasChatTemplate(): boolean {
    return this.#opened.hasChatTemplate;
  }

  get answerFormat(): EngineFacts['answerFormat'] {
    return this.#opened.answerFormat;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#slots.map(({ replica }) => replica[Symbol.asyncDispose]()));
    this.#options.shelf?.[Symbol.dispose]();
    this.#wake();
  }

  /** Those that work. */
  get #sessions(): readonly Session[] {
    return this.#slots.flatMap(({ replica: { session } }) => (session === undefined ? [] : [session]));
  }

  #take(slot: number, event: ReplicaEvent): void {
    if (event.kind === 'lost') this.#gone = addedTotals([this.#gone, event.last.totals]);
    if (event.kind === 'lost' && this.#sessions.length === 0) this.#downSince = performance.now();
    this.#options.onReplica?.(slot, event);
    // Those that wait go on, or hear that there is nothing to wait for.
    if (event.kind !== 'failed') this.#wake();
  }

  /** @throws IngotError 'Overloaded'. Those that find a place at once wait for nobody. */
  #refuseTooMany(): void {
    const requests = this.#slots.reduce((sum, slot) => sum + slot.requests.size, 0) + this.#waiting.size;
    const places = this.#options.sequences * this.#sessions.length;
    if (requests < places + this.#options.queue) return;
    throw new IngotError('Overloaded', `${requests - places} requests are waiting already`, {
      hint: 'Try again later.',
    });
  }

  /** @throws what ended a request, unless that was the loss of its replica, and it may go on elsewhere. */
  #checkReplay({ session, slot }: Place, replays: number, error: unknown): void {
    if (session.loss === undefined) throw error;
    slot.replays++;
    if (replays < mostReplays) return;
    throw new IngotError(
      'RequestFault',
      `the request was begun ${replays + 1} times, and each time what computed it was lost: ${session.loss.message}`,
      { cause: session.loss },
    );
  }

  /**
   * A place for a request, as soon as there is one; undefined where its signal is raised before.
   * @throws IngotError 'InvalidArgument' when all is closed, 'DeviceLost' where no replica has come back for long; the last loss
   * where none ever will.
   */
  async #place(work: Work, replays: number): Promise<Place | undefined> {
    for (;;) {
      if (this.#isClosed) throw new IngotError('InvalidArgument', 'the engine is closed');
      if (work.signal?.aborted) return undefined;
      const place = this.#choose(work, replays > 1);
      if (place !== undefined) return place;
      const over = this.#slots.map(({ replica }) => replica.over);
      if (!over.includes(undefined)) throw over.at(-1);
      const left = this.#sessions.length > 0 ? patience : this.#downSince + patience - performance.now();
      if (left <= 0) {
        const hint = 'The log says why.';
        throw new IngotError('DeviceLost', `no replica of the model has worked for ${patience / 1000} s`, { hint });
      }
      await this.#change(left, work.signal);
    }
  }

  #choose(work: Work, suspect: boolean): Place | undefined {
    const tokens = pieceTokens * work.chain.length;
    const loads = this.#slots.map(({ replica: { session }, requests, lastChosen }) => ({
      ready: session !== undefined && !(suspect && [...requests].some((other) => other.suspect)),
      requests: requests.size,
      places: this.#options.sequences,
      ahead: [...requests].reduce((sum, { ahead, kind }) => sum + ahead + (kind === 'answer' ? answerTokens : 0), 0),
      known: session?.known.known(work.chain) ?? 0,
      lastChosen,
    }));
    const chosen = chooseReplica(loads, tokens);
    const slot = chosen === undefined ? undefined : this.#slots[chosen];
    const session = slot?.replica.session;
    if (chosen === undefined || slot === undefined || session === undefined) return undefined;
    const place: Place = {
      ...{ slot, session, suspect, kind: work.kind },
      ahead: tokens - loads[chosen].known,
      [Symbol.dispose]: () => {
        slot.requests.delete(place);
        if (suspect) this.#wake();
      },
    };
    if (work.kind !== 'words') {
      slot.requests.add(place);
      slot.lastChosen = ++this.#choices;
    }
    if (work.kind === 'answer') session.known.add(work.chain);
    return place;
  }

  /** Settles when a place may have become free, at the latest after so many milliseconds. */
  async #change(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(wake, milliseconds);
      const waiting = this.#waiting;
      waiting.add(wake);
      signal?.addEventListener('abort', wake);
      function wake() {
        clearTimeout(timer);
        waiting.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      }
    });
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
