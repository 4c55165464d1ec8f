/**
 * Times and costs of the launches of all bindings, put together by kernel. Native records (records.ts) add up as long as runs
 * have the same dimensions, on which costs depend; they are taken when those change.
 */
import type { Cost } from '../../compiler/cost.ts';
import type { DimValues } from '../../ir/types.ts';
import type { KernelProfile, KernelSpan, Profile, Timeline } from '../device.ts';
import type { LaunchList } from './team.ts';

/** What costs depend on besides the program. */
export interface RunFacts {
  readonly dims: DimValues;
  /** Tokens in the contexts of all sequences of the step; 0 of a program that is none. */
  readonly contextTokens: number;
}

/** What a launch is: a kernel, or a jump. */
export interface LaunchFacts {
  readonly kernel: string;
  cost(run: RunFacts): Cost;
  /** Of an exchange: bytes that go to other ranks. */
  sent?(run: RunFacts): number;
}

/** Jumps of branches and loops, all in one row. */
const jumps: LaunchFacts = {
  kernel: '(branches and loops)',
  cost: () => ({ bytes: 0, operations: 0, element: 'i32' }),
};

interface Row {
  calls: number;
  seconds: number;
  barrierSeconds: number;
  readonly threadSeconds: number[];
  sentBytes?: number;
  readonly cost: { bytes: number; operations: number; element: Cost['element'] };
}

/** What is kept of launches: nothing, what they took in all, or also when each was. */
export type Recorded = 'nothing' | 'sums' | 'timeline';

export class Profiler {
  /** Whether launches are recorded. */
  readonly records: boolean;
  /** Whether what was recorded is taken after every run. */
  readonly #timeline: { runs: Timeline['runs'][number][]; kernels: KernelSpan[] } | undefined;
  readonly #threads: number;
  readonly #recordings = new Set<Recording>();
  readonly #rows = new Map<string, Row>();
  #runs = 0;
  #seconds = 0;

  constructor(recorded: Recorded, threads: number) {
    this.records = recorded !== 'nothing';
    if (recorded === 'timeline') this.#timeline = { runs: [], kernels: [] };
    this.#threads = threads;
  }

  /** A run was on from `start` to `end`, in milliseconds of `performance.now()`. */
  ran(start: number, end: number): void {
    this.#runs++;
    this.#seconds += (end - start) / 1000;
    this.#timeline?.runs.push({ start, end });
  }

  /** `launches`: one an entry of the list, jumps undefined. */
  recording(list: LaunchList, launches: readonly (LaunchFacts | undefined)[]): Recording {
    const recording: Recording = new Recording(
      (run) => this.#add(list, launches, run),
      () => this.#recordings.delete(recording),
      this.#timeline !== undefined,
    );
    this.#recordings.add(recording);
    return recording;
  }

  #add(list: LaunchList, launches: readonly (LaunchFacts | undefined)[], run: RunFacts): void {
    for (const [i, { calls, busy, waited, began }] of list.records().entries()) {
      if (calls === 0) continue;
      const facts = launches[i] ?? jumps;
      const { kernel, cost: costOf } = facts;
      this.#timeline?.kernels.push(
        ...busy.map((seconds, thread): KernelSpan => {
          return { kernel, thread, start: began[thread], seconds: seconds / calls, waited: waited[thread] / calls };
        }),
      );
      const cost = costOf(run);
      let row = this.#rows.get(kernel);
      if (row === undefined) {
        const threadSeconds = new Array<number>(this.#threads).fill(0);
        row = { calls: 0, seconds: 0, barrierSeconds: 0, threadSeconds, cost: { ...cost, bytes: 0, operations: 0 } };
        this.#rows.set(kernel, row);
      }
      row.calls += calls;
      row.cost.bytes += calls * cost.bytes;
      row.cost.operations += calls * cost.operations;
      if (facts.sent !== undefined) row.sentBytes = (row.sentBytes ?? 0) + calls * facts.sent(run);
      for (let thread = 0; thread < this.#threads; thread++) {
        row.threadSeconds[thread] += busy[thread];
        row.barrierSeconds += waited[thread] / this.#threads;
        row.seconds += (busy[thread] + waited[thread]) / this.#threads;
      }
    }
  }

  /** Since the last call; while nothing runs. */
  take(): Profile {
    for (const recording of this.#recordings) recording.fold();
    const kernels = [...this.#rows].map(([kernel, row]): KernelProfile => ({ kernel, how: 'machine code', ...row }));
    const { runs, kernels: spans } = this.#timeline ?? {};
    const timeline = runs && spans && { timeline: { runs: runs.splice(0), kernels: spans.splice(0) } };
    const profile = { runs: this.#runs, seconds: this.#seconds, kernels, ...timeline };
    this.#rows.clear();
    this.#runs = 0;
    this.#seconds = 0;
    return profile;
  }
}

/** The runs of one binding. */
class Recording implements Disposable {
  readonly #add: (run: RunFacts) => void;
  readonly #end: () => void;
  readonly #everyRun: boolean;
  readonly #dims = new Map<string, number | undefined>();
  #contextTokens = 0;
  #runs = 0;

  constructor(add: (run: RunFacts) => void, end: () => void, everyRun: boolean) {
    this.#add = add;
    this.#end = end;
    this.#everyRun = everyRun;
  }

  /** Before a run, while none of this binding is on. */
  begin({ dims, contextTokens }: RunFacts): void {
    const entries = Object.entries(dims);
    if (entries.some(([sym, value]) => this.#dims.get(sym) !== value)) this.fold();
    for (const [sym, value] of entries) this.#dims.set(sym, value);
    this.#contextTokens += contextTokens;
    this.#runs++;
  }

  /** After a run. */
  end(): void {
    if (this.#everyRun) this.fold();
  }

  /** Puts what was recorded to the rest. While no run of this binding is on. */
  fold(): void {
    if (this.#runs === 0) return;
    this.#add({ dims: Object.fromEntries(this.#dims), contextTokens: this.#contextTokens / this.#runs });
    this.#contextTokens = 0;
    this.#runs = 0;
  }

  [Symbol.dispose](): void {
    this.fold();
    this.#end();
  }
}
