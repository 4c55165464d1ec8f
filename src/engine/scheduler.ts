/**
 * Which tokens of which sequences the next step computes: a pure function of the sequences. Sequences that decode come
 * first (one token each), prompts fill what is left of the step.
 */
import type { StepLimits } from '../composites/step.ts';

export interface Sequence {
  /** Row of the state `counts`; below maxSequences, distinct among the live. */
  readonly row: number;
  /** Prompt and answer so far. */
  readonly tokens: number[];
  /** Tokens whose keys and values are in the cache. */
  computed: number;
  /** Its blocks of the KV pools, in order. */
  readonly blocks: number[];
}

export interface StepEntry {
  readonly sequence: Sequence;
  /** Tokens start .. start + count of the sequence are computed. */
  readonly start: number;
  readonly count: number;
  /** Whether the last of them is sampled: the sequence has no further tokens. */
  readonly samples: boolean;
}

export function planStep(
  sequences: readonly Sequence[],
  limits: Pick<StepLimits, 'maxTokens' | 'maxSequences' | 'maxRows'>,
): readonly StepEntry[] {
  const left = (sequence: Sequence) => sequence.tokens.length - sequence.computed;
  const waiting = sequences.filter((sequence) => left(sequence) > 0).sort((a, b) => left(a) - left(b));
  const entries: StepEntry[] = [];
  let budget = limits.maxTokens;
  let rows = limits.maxRows;
  for (const sequence of waiting.slice(0, limits.maxSequences)) {
    const count = Math.min(left(sequence), budget);
    const samples = count === left(sequence);
    if (count === 0 || (samples && rows === 0)) break;
    entries.push({ sequence, start: sequence.computed, count, samples });
    budget -= count;
    if (samples) rows--;
  }
  return entries;
}
