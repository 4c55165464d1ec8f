/** Texts while they are computed, as steps see them. */

export interface CachedSequence {
  /** Prompt and answer so far. What a step on its way samples is `previouslySampled(row)` until it is known. */
  readonly tokens: number[];
  /** Tokens whose keys and values are in the cache, or will be when what was submitted is done. */
  computed: number;
  /** Its blocks of the KV pools, in order. */
  readonly blocks: number[];
  /** Row of the state `counts`, distinct among those that run; undefined while it waits. */
  row: number | undefined;
}

/** The text of a request. */
export interface Sequence extends CachedSequence {
  /** Smaller is older. */
  readonly id: number;
  /** Tokens that had been computed for all when it came. */
  since: number;
  /** Higher goes first. */
  readonly priority: number;
  /** Among whom time is shared fairly. */
  readonly owner: string;
  /** Whose blocks may serve it, and whom its own may serve. */
  readonly cacheOwner: string;
  /** Entries of the step's list of logit biases that it takes where it samples. */
  readonly biases: number;
  /** When it is refused unless it has begun, in milliseconds of the caller's clock. */
  readonly deadline: number;
  /** The step that samples the last token, where that is not known yet: it can be used in the next step alone. */
  pendingStep: number | undefined;
  /** Wants no step now: its reader is slow. */
  paused: boolean;
  /** Wants no step any more: all that it may have is sampled, or is by a step on its way. */
  complete: boolean;
  /** Has been computed at some time, whatever became of that. */
  begun: boolean;
  /** What it begins with was fetched from outside of the pools; not again before it has begun. */
  fetched: boolean;
}

export interface StepEntry<S extends CachedSequence = Sequence> {
  readonly sequence: S;
  /** Tokens start .. start + count of the sequence are computed. */
  readonly start: number;
  readonly count: number;
  /** Whether the last of them is sampled: the sequence has no further tokens. */
  readonly samples: boolean;
  /** Where its blocks lie in the pools of each window of the limits (blocks.ts); none if absent. */
  readonly windowTables?: readonly (readonly number[])[];
}
