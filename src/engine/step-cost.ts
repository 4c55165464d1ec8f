/**
 * Predicts how long a step takes: weights are read once, tokens are multiplied with them, those that are sampled with the head, too,
 * and contexts are attended to. Estimates by the machine's figures are corrected by what steps have taken: a factor for products of
 * each size, in between interpolated, and one for attention. What a step took beside its prediction changes the factors that it was made
 * of by their parts in it (normalized least mean squares: Haykin, Adaptive Filter Theory, chapter 6).
 */

/** What a step computes. */
export interface StepLoad {
  readonly tokens: number;
  /** Tokens that are sampled. */
  readonly rows: number;
  /** Tokens that its tokens see, all together. */
  readonly contextTokens: number;
}

export interface StepFacts {
  /** Of all weights that a step reads. */
  readonly weightBytes: number;
  /** Elements that every token is multiplied with, and those that each sampled one is. */
  readonly layerElements: number;
  readonly headElements: number;
  readonly kvBytesPerToken: number;
  readonly readBytesPerSecond: number;
  readonly operationsPerSecond: number;
}

/** How much the latest step counts. */
const weight = 0.2;

/** A step that was quick by chance leaves a factor at least this much of it: from 0 none would come back. */
const leastKept = 0.5;

/** What a prediction is made of: this factor times so many microseconds. */
interface Part {
  readonly factor: Factor;
  readonly microseconds: number;
}

interface Factor {
  /** Undefined where no step was seen. */
  value: number | undefined;
  seen: number;
}

export class StepCost {
  readonly #facts: StepFacts;
  /** Of products of 1, 2, 4, 8 tokens, and so on. */
  readonly #products: Factor[] = [];
  readonly #attention: Factor = { value: 1, seen: 0 };

  constructor(facts: StepFacts) {
    this.#facts = facts;
  }

  /** Microseconds. */
  predict(load: StepLoad): number {
    return this.#parts(load).reduce((sum, { factor, microseconds }) => sum + this.#valueOf(factor) * microseconds, 0);
  }

  /** What a step has taken, in microseconds. */
  observe(load: StepLoad, took: number): void {
    const parts = this.#parts(load);
    const off = took / this.predict(load);
    // A size that is new is as far off as the whole step was.
    const values = parts.map(({ factor }) => factor.value ?? off * this.#valueOf(factor));
    for (const [i, { factor }] of parts.entries()) factor.value = values[i];
    const missed = took - this.predict(load);
    const norm = parts.reduce((sum, { microseconds }) => sum + microseconds ** 2, 0);
    for (const [i, { factor, microseconds }] of parts.entries()) {
      const rate = Math.max(weight, 1 / ++factor.seen);
      factor.value = Math.max(leastKept * values[i], values[i] + (rate * missed * microseconds) / norm);
    }
  }

  /** Where none was seen that of the nearest size, of two the smaller: so larger steps are tried when smaller ones turn out cheap. */
  #valueOf(factor: Factor): number {
    if (factor.value !== undefined) return factor.value;
    const at = this.#products.indexOf(factor);
    for (let distance = 1; distance <= this.#products.length; distance++) {
      const found = this.#products[at - distance]?.value ?? this.#products[at + distance]?.value;
      if (found !== undefined) return found;
    }
    return 1;
  }

  #parts({ tokens, rows, contextTokens }: StepLoad): readonly Part[] {
    const { weightBytes, layerElements, headElements, kvBytesPerToken, readBytesPerSecond, operationsPerSecond } =
      this.#facts;
    const elements = layerElements * tokens + headElements * rows;
    const size = Math.max(0, Math.log2(elements / (layerElements + headElements)));
    const below = Math.floor(size);
    while (this.#products.length < below + 2) this.#products.push({ value: undefined, seen: 0 });
    const products = 1e6 * Math.max(weightBytes / readBytesPerSecond, (2 * elements) / operationsPerSecond);
    const share = size - below;
    return [
      { factor: this.#products[below], microseconds: (1 - share) * products },
      { factor: this.#products[below + 1], microseconds: share * products },
      { factor: this.#attention, microseconds: (1e6 * kvBytesPerToken * contextTokens) / readBytesPerSecond },
    ].filter(({ microseconds }) => microseconds > 0);
  }
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
