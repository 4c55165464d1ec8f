/**
 * Predicts how long a step takes: weights are read once, tokens are multiplied with all of them, contexts are read. Estimates by
 * the machine's figures are corrected by what steps have taken.
 */

/** What a step computes. */
export interface StepLoad {
  readonly tokens: number;
  /** Sequences in it. */
  readonly rows: number;
  /** Tokens that its tokens see, all together. */
  readonly contextTokens: number;
}

export interface StepFacts {
  readonly weightBytes: number;
  readonly parameterCount: number;
  readonly kvBytesPerToken: number;
  readonly readBytesPerSecond: number;
  readonly operationsPerSecond: number;
}

/** Steps with more tokens than this are bound by arithmetic, others by reading: each kind has its own correction. */
const fewTokens = 8;
/** How much the latest step counts. */
const weight = 0.1;

export class StepCost {
  readonly #facts: StepFacts;
  readonly #correction = { few: 1, many: 1 };
  readonly #seen = { few: false, many: false };

  constructor(facts: StepFacts) {
    this.#facts = facts;
  }

  /** Microseconds. */
  predict(load: StepLoad): number {
    return this.#estimate(load) * this.#correction[kindOf(load)];
  }

  /** What a step has taken, in microseconds. */
  observe(load: StepLoad, microseconds: number): void {
    const kind = kindOf(load);
    const ratio = microseconds / this.#estimate(load);
    // Nobody knows how far the machine's figures are from the truth: the first step says it.
    this.#correction[kind] = this.#seen[kind] ? (1 - weight) * this.#correction[kind] + weight * ratio : ratio;
    this.#seen[kind] = true;
    if (!this.#seen.few || !this.#seen.many) this.#correction[kind === 'few' ? 'many' : 'few'] = ratio;
  }

  #estimate({ tokens, contextTokens }: StepLoad): number {
    const { weightBytes, parameterCount, kvBytesPerToken, readBytesPerSecond, operationsPerSecond } = this.#facts;
    const reading = weightBytes / readBytesPerSecond;
    const computing = (2 * parameterCount * tokens) / operationsPerSecond;
    const attending = (kvBytesPerToken * contextTokens) / readBytesPerSecond;
    return 1e6 * (Math.max(reading, computing) + attending);
  }
}

function kindOf({ tokens }: StepLoad): 'few' | 'many' {
  return tokens <= fewTokens ? 'few' : 'many';
}

/** Predicts how long blocks take to come from outside of the pools. */
export class FetchCost {
  readonly #blockBytes: number;
  /** Until it is known better: 1 GB/s, as disks have it. */
  #microsecondsPerByte = 1e-3;

  constructor(blockBytes: number) {
    this.#blockBytes = blockBytes;
  }

  /** Microseconds. */
  predict(blocks: number): number {
    return this.#blockBytes * blocks * this.#microsecondsPerByte;
  }

  observe(blocks: number, microseconds: number): void {
    const seen = microseconds / (this.#blockBytes * blocks);
    this.#microsecondsPerByte = (1 - weight) * this.#microsecondsPerByte + weight * seen;
  }
}
