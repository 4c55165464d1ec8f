/** What the scheduler knows of the sequences that wait and run, and how that changes besides by steps that are planned (scheduler.ts). */
import type { BlockManager } from './blocks.ts';
import type { Sequence } from './sequence.ts';

export interface SchedulerState {
  /** The number of the step that is planned next. */
  step: number;
  /** That were in steps so far. */
  tokens: number;
  readonly waiting: Sequence[];
  readonly running: Sequence[];
  /** Tokens that each owner with a sequence has had. */
  readonly served: Map<string, number>;
}

export function emptyState(): SchedulerState {
  return { step: 0, tokens: 0, waiting: [], running: [], served: new Map() };
}

/** A new sequence waits. An owner that comes back is not owed what it did not ask for. */
export function enqueue(state: SchedulerState, sequence: Sequence): void {
  const { waiting, running, served } = state;
  const active = new Set([...waiting, ...running].map(({ owner }) => owner));
  if (!active.has(sequence.owner)) {
    const least = Math.min(...[...active].map((owner) => served.get(owner) ?? 0));
    const before = served.get(sequence.owner) ?? 0;
    served.set(sequence.owner, Number.isFinite(least) ? Math.max(before, least) : before);
  }
  for (const owner of served.keys()) if (owner !== sequence.owner && !active.has(owner)) served.delete(owner);
  sequence.since = state.tokens;
  waiting.push(sequence);
}

/** A sequence has ended, whatever it was doing. */
export function remove(state: SchedulerState, sequence: Sequence, blocks: BlockManager): void {
  for (const list of [state.waiting, state.running]) {
    const at = list.indexOf(sequence);
    if (at >= 0) list.splice(at, 1);
  }
  blocks.release(sequence.blocks);
  sequence.row = undefined;
}

/** Whatever was submitted is lost: those that run give back what they had, and wait. */
export function restart(state: SchedulerState, blocks: BlockManager): void {
  for (const sequence of [...state.running]) preempt(state, sequence, blocks);
  for (const sequence of state.waiting) {
    while ((sequence.tokens.at(-1) ?? 0) < 0) sequence.tokens.pop();
    sequence.pendingStep = undefined;
    sequence.complete = false;
  }
}

/** What a sequence that runs has had of memory is for others; it waits. */
export function preempt({ running, waiting }: SchedulerState, sequence: Sequence, blocks: BlockManager): void {
  running.splice(running.indexOf(sequence), 1);
  waiting.push(sequence);
  blocks.release(sequence.blocks);
  sequence.computed = 0;
  sequence.row = undefined;
  sequence.fetched = false;
}
