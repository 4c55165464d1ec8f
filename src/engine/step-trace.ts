/** What a step held and took, for whoever wants to see how requests share the machine: a record a step, a line of JSON each. */
import type { PlannedStep } from './scheduler.ts';

export interface StepRecord {
  readonly step: number;
  readonly entries: readonly {
    /** Requests are numbered as they come. */
    readonly request: number;
    /** The first of its tokens that are computed, and how many are. */
    readonly start: number;
    readonly count: number;
    /** Whether the next one is sampled. */
    readonly samples: boolean;
  }[];
  /** Requests that gave their blocks back before it. */
  readonly preempted: readonly number[];
  /** Blocks that were copied before it, from one request to another. */
  readonly copied: number;
  /** Microseconds, as the scheduler expected them. */
  readonly predicted: number;
  /** Microseconds from its submission, or the end of the step before it, until its results were read. */
  readonly took: number;
  /** Microseconds for which the device had nothing to do before it, though there was something. */
  readonly gap: number;
}

export function stepRecord(
  { number, entries, preempted, copies }: PlannedStep,
  times: Pick<StepRecord, 'predicted' | 'took' | 'gap'>,
): StepRecord {
  return {
    step: number,
    entries: entries.map(({ sequence: { id }, start, count, samples }) => ({ request: id, start, count, samples })),
    preempted: preempted.map(({ id }) => id),
    copied: copies.length,
    predicted: Math.round(times.predicted),
    took: Math.round(times.took),
    gap: Math.round(times.gap),
  };
}
