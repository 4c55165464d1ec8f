/**
 * Plans, submits and reads steps as long as there is a request. Where it pays, the device has the next step before the tokens of the
 * one before are looked at (its input says "what row 2 of the previous step sampled"), so that it never waits for JavaScript.
 */
import { IngotError, isIngotError, type StopSignal } from '../base/errors.ts';
import { previouslySampled } from '../composites/step.ts';
import type { BlockManager } from './blocks.ts';
import type { StepTotals } from './engine.ts';
import { likeliest } from './logits.ts';
import type { Runner, RunningStep, StepResult } from './runner.ts';
import { type PlannedStep, planStep } from './scheduler.ts';
import { emptyState, enqueue, remove, restart } from './scheduler-state.ts';
import type { CachedSequence, Sequence, StepEntry } from './sequence.ts';
import type { Spill } from './spill.ts';
import type { StepCost, StepLoad } from './step-cost.ts';
import { type StepRecord, stepRecord } from './step-trace.ts';
import type { StepWork } from './step-work.ts';
import type { Task } from './task.ts';
import { yieldToEvents } from './yield.ts';

export interface StepLoopOptions {
  readonly runner: Runner;
  readonly blocks: BlockManager;
  readonly cost: StepCost;
  readonly work: StepWork;
  readonly spill: Spill;
  /** Steps that the device has at the same time. */
  readonly runsAhead: number;
  readonly pace: number;
  readonly vocabularySize: number;
  /** Raised when the engine is closed. */
  readonly closing: AbortSignal;
  /** Blocks that are used by others than requests. */
  readonly otherTables: () => Iterable<readonly number[]>;
  readonly onStep?: (record: StepRecord) => void;
}

/** Steps that are counted at once at most: after each of them weights have pushed the code that counts out of the caches. */
const countedAtOnce = 16;

/** A step on its way. */
interface Flight {
  readonly planned: PlannedStep;
  /** One an entry. */
  readonly tasks: readonly Task[];
  readonly running: RunningStep;
  readonly submitted: number;
  /** Microseconds without work before it. */
  readonly gap: number;
  /** Microseconds, where somebody wants to see it. */
  readonly predicted: number | undefined;
}

export class StepLoop {
  readonly #options: StepLoopOptions;
  readonly #state = emptyState();
  readonly #tasks = new Map<Sequence, Task>();
  readonly #totals = {
    ...{ steps: 0, stepSeconds: 0, stepRequests: 0, stepTokens: 0, operations: 0, bytes: 0 },
    ...{ promptTokens: 0, reusedTokens: 0, prefixHits: 0, generatedTokens: 0, preemptions: 0 },
  };
  readonly #flights: Flight[] = [];
  /** Steps that are over, with milliseconds, and are to be counted before anybody asks what steps take. */
  readonly #uncounted: { readonly flight: Flight; readonly milliseconds: number }[] = [];
  /** Settles when no request is computed. */
  #working: Promise<void> = Promise.resolve();
  /** Requests with a new token that nobody has read. */
  readonly #untold: Task[] = [];
  #isLooping = false;
  #lastEnd = 0;
  /** Since when there is something to do. */
  #busySince = 0;
  /** Why nothing can be computed any more. */
  #fault: unknown;
  /** Ends the sleep of whoever waits for something to change. */
  #awake: () => void = () => {};
  #change: Promise<void> = Promise.resolve();

  constructor(options: StepLoopOptions) {
    this.#options = options;
    this.#sleep();
  }

  get running(): number {
    return this.#state.running.length;
  }

  get waiting(): number {
    return this.#state.waiting.length;
  }

  get totals(): StepTotals {
    this.#countUp();
    return { ...this.#totals };
  }

  /** Settles when something may have changed; undefined where nothing is computed. */
  get change(): Promise<void> | undefined {
    return this.#tasks.size > 0 ? this.#change : undefined;
  }

  /** @throws IngotError 'DeviceFault' if the engine was found to be damaged. */
  add(task: Task): void {
    if (this.#fault !== undefined) throw this.#fault;
    this.#tasks.set(task.sequence, task);
    enqueue(this.#state, task.sequence);
    this.stir();
  }

  /** What has changed may let a step be planned. */
  stir(): void {
    this.#awake();
    if (this.#isLooping) return;
    this.#isLooping = true;
    this.#busySince = performance.now();
    this.#working = this.#loop().finally(() => {
      this.#isLooping = false;
      // Whoever came while the loop ended.
      if (this.#tasks.size > 0 && !this.#options.closing.aborted) this.stir();
    });
  }

  /** Settles when the steps that run are over. */
  async settled(): Promise<void> {
    this.#awake();
    await this.#working;
  }

  /** @throws IngotError 'DeviceFault'. */
  checkIntegrity(): void {
    const own = [...this.#tasks.keys()].map(({ blocks }) => blocks);
    this.#options.blocks.checkIntegrity([...own, ...this.#options.otherTables()]);
  }

  #sleep(): void {
    this.#change = new Promise((resolve) => {
      this.#awake = () => {
        resolve();
        this.#sleep();
      };
    });
  }

  async #loop(): Promise<void> {
    try {
      while (await this.#turn());
      this.checkIntegrity();
    } catch (error) {
      if (this.#tasks.size === 0) this.#fault = error;
      await this.#drop();
      this.#tell();
      for (const task of [...this.#tasks.values()]) this.#refuse(task, error);
    }
  }

  /** False when nothing is left to do. */
  async #turn(): Promise<boolean> {
    // Before the plan: who comes while it is made is not in it.
    const change = this.#change;
    this.#reap();
    while (this.#flights.length < this.#options.runsAhead && (await this.#next()));
    if (this.#flights.length === 0 || this.#uncounted.length >= countedAtOnce) this.#countUp();
    this.#tell();
    const [first] = this.#flights;
    if (first !== undefined) {
      await yieldToEvents();
      await this.#finish(first);
      return true;
    }
    if (this.#tasks.size === 0) return false;
    await this.#wait(change);
    return true;
  }

  /** Readers go on when the device has its next step. */
  #tell(): void {
    for (const task of this.#untold.splice(0)) task.tell();
  }

  /** Until something changes, or somebody has waited for too long. */
  async #wait(change: Promise<void>): Promise<void> {
    const deadline = Math.min(...this.#state.waiting.map((sequence) => sequence.deadline));
    const timer = Number.isFinite(deadline)
      ? setTimeout(() => this.#awake(), Math.max(0, deadline - performance.now()) + 1)
      : undefined;
    await change;
    clearTimeout(timer);
    this.#busySince = performance.now();
  }

  /** Ends the requests that nobody waits for, and forgets those that are over. */
  #reap(): void {
    for (const task of [...this.#tasks.values()]) {
      if (task.aborted) task.end('aborted');
      if (task.ended) this.#forget(task);
    }
  }

  #forget({ sequence }: Task): void {
    remove(this.#state, sequence, this.#options.blocks);
    this.#tasks.delete(sequence);
  }

  #refuse(task: Task, error: unknown): void {
    task.fail(error);
    this.#forget(task);
  }

  /** Plans a step and submits it, unless there is none. */
  async #next(): Promise<boolean> {
    const { runner, blocks, spill, pace } = this.#options;
    const now = performance.now();
    const planned = planStep(this.#state, {
      limits: runner.limits,
      blocks,
      cost: (load) => this.#predict(load),
      fetchCost: (count) => spill.predict(count),
      pace,
      now,
    });
    for (const sequence of planned.expired) {
      const waited = 'the request has waited for longer than the queue allows';
      this.#refuse(this.#taskOf(sequence), new IngotError('DeadlineExceeded', waited, { hint: 'Try again later.' }));
    }
    this.#totals.preemptions += planned.preempted.length;
    // What leaves is read before anything is written into its blocks.
    const flushed = spill.flush();
    for (const fetch of planned.fetches) spill.fetch(fetch);
    try {
      await flushed;
      if (planned.entries.length === 0) return false;
      this.#flights.push(await this.#submit(planned));
    } catch (error) {
      await this.#recover(error, planned);
    }
    return true;
  }

  async #submit(planned: PlannedStep): Promise<Flight> {
    const { runner, onStep } = this.#options;
    const { entries, admitted, copies, number } = planned;
    for (const { sequence, reused } of admitted) {
      const task = this.#taskOf(sequence);
      // One that goes on after it was preempted was counted before.
      if (task.begin(reused)) {
        this.#totals.promptTokens += task.promptTokens;
        this.#totals.reusedTokens += Math.min(reused, task.promptTokens);
        if (reused > 0) this.#totals.prefixHits++;
      }
      runner.begin(sequence.row ?? 0, sequence.tokens, task.promptTokens);
    }
    for (const { from, to } of copies) await runner.pools.copy(from, to);
    const tasks = entries.map(({ sequence }) => this.#taskOf(sequence));
    const running = await runner.submit(
      entries,
      tasks.map(({ sampling }) => sampling),
      tasks.some(({ request }) => (request.topLogprobs ?? 0) > 0),
    );
    let row = 0;
    entries.forEach(({ sequence, samples }, i) => {
      if (!samples) return;
      sequence.tokens.push(previouslySampled(row++));
      sequence.pendingStep = number;
      sequence.complete = !tasks[i].wantsMore;
    });
    const submitted = performance.now();
    const gap = this.#flights.length > 0 ? 0 : 1000 * (submitted - Math.max(this.#lastEnd, this.#busySince));
    return { planned, tasks, running, submitted, predicted: onStep && this.#predict(planned.load), gap };
  }

  /** Microseconds, by all steps that are over. */
  #predict(load: StepLoad): number {
    this.#countUp();
    return this.#options.cost.predict(load);
  }

  #taskOf(sequence: Sequence): Task {
    const task = this.#tasks.get(sequence);
    if (task === undefined) throw new IngotError('DeviceFault', 'a step was planned for a request that is over');
    return task;
  }

  async #finish(flight: Flight): Promise<void> {
    let result: StepResult | undefined;
    let failure: unknown;
    let unwanted = false;
    const signal = this.#signal();
    try {
      result = await flight.running.result(signal);
    } catch (error) {
      failure = error;
      unwanted = signal.aborted;
    }
    this.#flights.shift();
    if (result !== undefined) this.#take(flight, result);
    else if (!isIngotError(failure, 'Aborted')) await this.#recover(failure, flight.planned);
    // It ended with other work of the device that was cancelled (Device.wait).
    else if (!unwanted) await this.#again();
  }

  /** Raised when nobody waits for any of the steps on their way. */
  #signal(): StopSignal {
    const { closing } = this.#options;
    const unwanted = () => this.#flights.every(({ tasks }) => tasks.every(({ aborted, ended }) => aborted || ended));
    return {
      get aborted() {
        return closing.aborted || unwanted();
      },
      reason: closing.reason,
    };
  }

  /**
   * A step went wrong. The newest of its requests is refused with the reason, the others are computed again: one that asks for too
   * much does not end them all, and if it was another, there is one less.
   * @throws what it was given where nothing can be computed any more.
   */
  async #recover(error: unknown, { entries }: PlannedStep): Promise<void> {
    if (!isIngotError(error) || error.code === 'DeviceLost' || error.code === 'RankLost') throw error;
    await this.#again();
    const [newest]: (Sequence | undefined)[] = entries.map(({ sequence }) => sequence).sort((a, b) => b.id - a.id);
    const task = newest && this.#tasks.get(newest);
    if (newest === undefined) throw error;
    if (task !== undefined) this.#refuse(task, error);
  }

  /** What steps have taken, for the plans of later ones, and for whoever asks. */
  #countUp(): void {
    const { cost, onStep } = this.#options;
    for (const { flight, milliseconds } of this.#uncounted.splice(0)) {
      const { planned, predicted = 0, gap } = flight;
      cost.observe(planned.load, 1000 * milliseconds);
      onStep?.(stepRecord(planned, { predicted, took: 1000 * milliseconds, gap }));
      this.count(planned.entries, milliseconds / 1000);
    }
  }

  /** A step is over, of requests or of texts. */
  count(entries: readonly StepEntry<CachedSequence>[], seconds: number): void {
    const { operations, bytes } = this.#options.work.of(entries);
    this.#totals.steps++;
    this.#totals.stepSeconds += seconds;
    this.#totals.stepRequests += entries.length;
    this.#totals.stepTokens += entries.reduce((sum, { count }) => sum + count, 0);
    this.#totals.operations += operations;
    this.#totals.bytes += bytes;
  }

  /** Computes all requests again, as far as their blocks are not known. */
  async #again(): Promise<void> {
    await this.#drop();
    restart(this.#state, this.#options.blocks);
  }

  /** Ends the steps on their way. */
  async #drop(): Promise<void> {
    for (const { running } of this.#flights.splice(0)) await running.drop();
  }

  /** Tells the requests of a step what it made. */
  #take(flight: Flight, { ids, logprobs, logits }: StepResult): void {
    const { blocks, vocabularySize } = this.#options;
    const { planned, tasks, submitted } = flight;
    const { number, entries } = planned;
    const end = performance.now();
    this.#uncounted.push({ flight, milliseconds: end - Math.max(submitted, this.#lastEnd) });
    this.#lastEnd = end;
    const top = (at: number, wanted: number) => {
      if (logits === undefined || wanted === 0) return undefined;
      const own = logits.subarray(at * vocabularySize, (at + 1) * vocabularySize);
      return likeliest(own, wanted, own[ids[at]] - logprobs[at]);
    };
    let row = 0;
    entries.forEach(({ sequence, start, count, samples }, i) => {
      const task = tasks[i];
      const at = samples ? row++ : -1;
      // It was preempted, or is over, and its blocks are others' now.
      if (sequence.row !== undefined && start + count <= sequence.computed) {
        blocks.publish(sequence.blocks, sequence.tokens, start + count, sequence.cacheOwner);
      }
      if (at < 0 || task.ended) return;
      this.#totals.generatedTokens++;
      const last = start + count;
      sequence.tokens[last] = ids[at];
      if (sequence.pendingStep === number) sequence.pendingStep = undefined;
      const { topLogprobs = 0 } = task.request;
      task.accept(ids[at], logprobs[at], top(at, topLogprobs));
      this.#untold.push(task);
    });
  }
}
