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

/** How much the latest step counts. */
const weight = 0.1;

export class StepCost {
  readonly #facts: StepFacts;
  /** Of steps with 1, 2, up to 4, up to 8 tokens, and so on: what they took over their estimate; undefined where none was seen. */
  readonly #corrections: (number | undefined)[] = [];

  constructor(facts: StepFacts) {
    this.#facts = facts;
  }

  /** Microseconds. */
  predict(load: StepLoad): number {
    return this.#estimate(load) * this.#correction(sizeOf(load));
  }

  /** What a step has taken, in microseconds. */
  observe(load: StepLoad, microseconds: number): void {
    const size = sizeOf(load);
    const ratio = microseconds / this.#estimate(load);
    const before = this.#corrections[size];
    this.#corrections[size] = before === undefined ? ratio : (1 - weight) * before + weight * ratio;
  }

  /** Of the nearest size that was seen, of two the smaller: so the next larger steps are tried when smaller ones turn out cheap. */
  #correction(size: number): number {
    for (let distance = 0; distance <= this.#corrections.length + size; distance++) {
      const found = this.#corrections[size - distance] ?? this.#corrections[size + distance];
      if (found !== undefined) return found;
    }
    return 1;
  }

  #estimate({ tokens, contextTokens }: StepLoad): number {
    const { weightBytes, parameterCount, kvBytesPerToken, readBytesPerSecond, operationsPerSecond } = this.#facts;
    const reading = weightBytes / readBytesPerSecond;
    const computing = (2 * parameterCount * tokens) / operationsPerSecond;
    const attending = (kvBytesPerToken * contextTokens) / readBytesPerSecond;
    return 1e6 * (Math.max(reading, computing) + attending);
  }
}

function sizeOf({ tokens }: StepLoad): number {
  return 32 - Math.clz32(Math.max(0, tokens - 1));
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
