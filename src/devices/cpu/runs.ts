/**
 * The runs of the CPU device in their order: those that wait for memory, those that the team has, and how each of the others
 * ended. While one works, the next one's inputs lie in memory of their own already, so that the team goes on without a gap.
 */
import { IngotError, type StopSignal } from '../../base/errors.ts';
import type { DimValues } from '../../ir/types.ts';
import type { Profiler } from './profile.ts';
import type { CpuBound, CpuExecutable } from './resources.ts';
import type { LargeResults } from './results.ts';
import type { Team, TeamTicket } from './team.ts';
import type { Workplace } from './workplace.ts';

export type Results = ReadonlyMap<string, ArrayBufferView>;
type Outcome = { readonly results: Results; readonly loan: Loan } | { readonly error: unknown };
/** Large results that JavaScript has. */
interface Loan {
  readonly bound: CpuBound;
  readonly results: LargeResults;
  readonly holds: readonly Disposable[];
}
/** In the order of `CpuExecutable.inputs`. */
type Inputs = readonly Uint8Array[];

interface Run {
  readonly id: number;
  readonly bound: CpuBound;
  readonly dims: DimValues;
}

interface WaitingRun extends Run {
  readonly inputs: Inputs;
}

interface StartedRun extends Run {
  readonly place: Workplace;
  readonly ticket: TeamTicket;
  readonly start: number;
}

/**
 * How long JavaScript stands still at most, in milliseconds, while its thread waits for a run. Each turn between takes a core from a
 * thread that computes.
 */
const waitSlice = 50;
/** Runs that the team has at most: one that works, and the next. */
const startedRuns = 2;

export class RunQueue {
  readonly #team: Team;
  readonly #waiting: WaitingRun[] = [];
  readonly #started: StartedRun[] = [];
  readonly #outcomes = new Map<number, Outcome>();
  /** Results that somebody has, until the next is waited for. */
  #lent: Loan[] = [];
  #nextId = 1;
  readonly #profiler: Profiler;
  #lastEnd = 0;

  constructor(team: Team, profiler: Profiler) {
    this.#team = team;
    this.#profiler = profiler;
  }

  /** The number of the run. Copies the inputs. */
  submit(bound: CpuBound, inputs: Inputs, dims: DimValues): number {
    const run = { id: this.#nextId++, bound, dims, inputs };
    bound.hold();
    if (this.#waiting.length > 0 || !this.#start(run)) {
      this.#waiting.push({ ...run, inputs: inputs.map((bytes) => bytes.slice()) });
    }
    return run.id;
  }

  /** Hands a run to the team, unless the memory that it needs is in use. */
  #start({ id, bound, inputs, dims }: WaitingRun): boolean {
    const place = this.#started.length < startedRuns ? bound.freePlace() : undefined;
    if (place === undefined) return false;
    bound.executable.inputs.forEach(({ type, where }, i) => {
      const bytes = inputs[i];
      if (where !== undefined && bytes.length > 0) place.bytes(where, type, bytes.length).set(bytes);
    });
    const tokens = this.#profiler.records ? contextTokens(bound.executable, inputs) : 0;
    place.instance.begin({ dims, contextTokens: tokens }, place.results);
    place.busy = true;
    // Before it begins: this thread may stand still once the others are awake.
    const start = performance.now();
    const ticket = this.#team.submit(place.instance.list);
    this.#started.push({ id, bound, dims, place, ticket, start });
    return true;
  }

  /** As `Device.wait`. */
  async wait(id: number, deadline: number, signal: StopSignal | undefined): Promise<Results> {
    this.#takeBack();
    this.#startWaiting();
    while (!this.#outcomes.has(id)) {
      const run = this.#started[0];
      if (run === undefined && this.#waiting.some((waiting) => waiting.id === id)) {
        throw new IngotError('OutOfMemory', 'there is no memory for results of the run beside those of others', {
          device: 'cpu',
          hint: 'Wait for the runs before it first.',
        });
      }
      if (run === undefined) {
        throw new IngotError('InvalidArgument', `ticket ${id} is not pending`, { device: 'cpu' });
      }
      if (performance.now() > deadline) {
        throw new IngotError('DeadlineExceeded', 'the deadline passed before the run was waited for', {
          device: 'cpu',
        });
      }
      const own = run.id === id ? signal : undefined;
      const isOldest = () => this.#started[0] === run;
      // Events have their turn between slices, in which somebody else may have waited for it.
      while (!own?.aborted && isOldest() && !this.#sleep(run, deadline)) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (isOldest()) this.#finish(run, deadline, own);
    }
    const outcome = this.#outcomes.get(id) as Outcome;
    this.#outcomes.delete(id);
    if ('error' in outcome) throw outcome.error;
    this.#lent.push(outcome.loan);
    return outcome.results;
  }

  #takeBack(): void {
    for (const { bound, results, holds } of this.#lent.splice(0)) {
      for (const hold of holds) hold[Symbol.dispose]();
      bound.giveBack(results);
    }
  }

  /** Stands still for a slice: whether the run has ended then, or the deadline has passed. */
  #sleep({ ticket }: StartedRun, deadline: number): boolean {
    const now = performance.now();
    return now >= deadline || this.#team.sleep(ticket, Math.min(deadline, now + waitSlice));
  }

  /** Waits for the oldest run, keeps what it made, and starts what waits. Blocks JavaScript. */
  #finish(run: StartedRun, deadline: number, signal?: StopSignal): void {
    this.#outcomes.set(run.id, this.#outcome(run, deadline, signal));
    const end = performance.now();
    this.#profiler.ran(Math.max(run.start, this.#lastEnd), end);
    run.place.instance.end();
    this.#lastEnd = end;
    this.#started.shift();
    run.place.busy = false;
    run.bound.release();
    this.#startWaiting();
  }

  #startWaiting(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#start(next); next = this.#waiting[0]) {
      this.#waiting.shift();
    }
  }

  #outcome(run: StartedRun, deadline: number, signal: StopSignal | undefined): Outcome {
    const failed = (code: 'Aborted' | 'DeadlineExceeded', message: string, cause?: unknown): Outcome => {
      return { error: new IngotError(code, message, { device: 'cpu', cause }) };
    };
    try {
      // Where this throws somebody may write to the results for ever: nobody gets their memory any more.
      const how = this.#team.wait(run.ticket, signal?.aborted ? 0 : deadline);
      if (how === 'done') return lendResults(run);
      run.bound.giveBack(run.place.results);
      const lost = run.bound.lost();
      if (lost !== undefined) return { error: lost };
      switch (how) {
        case 'stopped':
          return failed('Aborted', 'the run was stopped with the one before it');
        case 'timeout':
          if (signal?.aborted) return failed('Aborted', 'the run was cancelled', signal.reason);
          return failed('DeadlineExceeded', 'the deadline passed during a run');
        default:
          return how satisfies never;
      }
    } catch (error) {
      return { error };
    }
  }

  /** Waits for all runs. Blocks JavaScript. */
  drain(): void {
    for (let run = this.#started[0]; run !== undefined; run = this.#started[0]) {
      this.#finish(run, Number.POSITIVE_INFINITY);
    }
  }

  /** Runs that have not begun never do. */
  close(): void {
    for (const { bound } of this.#waiting.splice(0)) bound.release();
    this.drain();
    this.#lent = [];
  }
}

/** What a run made, but for what is state: a copy of small results, and large ones as they lie. */
function lendResults({ bound, place, dims }: StartedRun): Outcome {
  const { results } = place;
  const named = new Map<string, ArrayBufferView>();
  const holds: Disposable[] = [];
  const { outputs } = bound.executable;
  const sizes = bound.executable.bytesIn(dims).outputs;
  for (const [i, { name, type, where }] of outputs.entries()) {
    if (where === undefined) continue;
    const length = sizes[i];
    const bytes = length === 0 ? new Uint8Array() : place.bytes(where, type, length);
    const large = where.base === 'result' ? results[where.index] : undefined;
    if (large !== undefined) holds.push(large.hold());
    named.set(name, large === undefined ? bytes.slice() : bytes);
  }
  return { results: named, loan: { bound, results, holds } };
}

/** Tokens in the contexts of a step of a model (composites/step.ts); 0 of other programs. */
function contextTokens(executable: CpuExecutable, inputs: Inputs): number {
  const lengths = inputs[executable.inputs.findIndex(({ name }) => name === 'ctxLen')] as Uint8Array | undefined;
  if (lengths === undefined) return 0;
  return new Int32Array(lengths.buffer, lengths.byteOffset, lengths.length >> 2).reduce((sum, n) => sum + n, 0);
}
