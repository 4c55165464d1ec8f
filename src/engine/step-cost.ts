/**
 * Predicts how long a step takes: weights are read once, tokens are multiplied with them, those that are sampled with the head, too,
 * and contexts are attended to. Estimates by the machine's figures are corrected by what steps have taken: a factor for products of
 * each size, in between interpolated, and one for attention. What a step took beside its prediction changes the factors that it was made
 * of, those most of which least is known (a Kalman filter whose factors err independently: Haykin, Adaptive Filter Theory, chapter 14): what
 * steps with prompts take says little of steps without, which were seen often, and a size that was seen once, when all was cold, is soon put right.
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

/** A step that was quick by chance leaves a factor at least this much of it: from 0 none would come back. */
const leastKept = 0.5;

/** By how much of itself what a step takes is chance. */
const noise = 0.1;

/** What may have changed of a factor from one step to the next, squared as `doubt` is: of one that is seen in each a fifth comes from the latest step. */
const drift = 0.05 * noise ** 2;

/** What a prediction is made of: this factor times so many microseconds. */
interface Part {
  readonly factor: Factor;
  readonly microseconds: number;
}

interface Factor {
  /** Undefined where no step was seen. */
  value: number | undefined;
  /** By how much of itself it may be off, squared; 1 of one that nothing is known of. */
  doubt: number;
}

export class StepCost {
  readonly #facts: StepFacts;
  /** Of products of 1, 2, 4, 8 tokens, and so on. */
  readonly #products: Factor[] = [];
  readonly #attention: Factor = { value: 1, doubt: 1 };

  constructor(facts: StepFacts) {
    this.#facts = facts;
  }

  /** Microseconds. */
  predict(load: StepLoad): number {
    return this.#sum(this.#parts(load));
  }

  #sum(parts: readonly Part[]): number {
    let sum = 0;
    for (const { factor, microseconds } of parts) sum += this.#valueOf(factor) * microseconds;
    return sum;
  }

  /** What a step has taken, in microseconds. */
  observe(load: StepLoad, took: number): void {
    const parts = this.#parts(load);
    const off = took / this.#sum(parts);
    // A size that is new is as far off as the whole step was.
    const values = parts.map(({ factor }) => factor.value ?? off * this.#valueOf(factor));
    for (let i = 0; i < parts.length; i++) parts[i].factor.value = values[i];
    const predicted = this.#sum(parts);
    const doubts = parts.map(({ factor, microseconds }, i) => factor.doubt * (values[i] * microseconds) ** 2);
    // What is far off by chance counts less.
    const chance = noise ** 2 * predicted * Math.max(took, predicted);
    const all = doubts.reduce((sum, doubt) => sum + doubt, chance);
    for (const each of this.#products) each.doubt = Math.min(1, each.doubt + drift);
    this.#attention.doubt = Math.min(1, this.#attention.doubt + drift);
    for (let i = 0; i < parts.length; i++) {
      const { factor, microseconds } = parts[i];
      const gain = doubts[i] / all;
      factor.value = Math.max(leastKept * values[i], values[i] + (gain * (took - predicted)) / microseconds);
      factor.doubt *= 1 - gain;
    }
    const sizes = parts.filter(({ factor }) => factor !== this.#attention);
    if (sizes.length > 1) this.#bound();
  }

  /**
   * Steps of twice the tokens take as long at least and twice as long at most: what is known best says so of the sizes beside it. Of two sizes
   * that were only seen mixed, one could be too high by what the other is too low, and keep prompts from larger steps for ever.
   */
  #bound(): void {
    const doubts = this.#products.map(({ value, doubt }) => (value === undefined ? Number.POSITIVE_INFINITY : doubt));
    const surest = doubts.indexOf(Math.min(...doubts));
    const hold = (size: number, beside: number, low: number, high: number) => {
      const factor = this.#products[size];
      if (factor.value === undefined) return;
      const most = (this.#valueOf(this.#products[beside]) * this.#microseconds(beside)) / this.#microseconds(size);
      factor.value = Math.min(high * most, Math.max(low * most, factor.value));
    };
    for (let size = surest + 1; size < doubts.length; size++) hold(size, size - 1, 1, 2);
    for (let size = surest - 1; size >= 0; size--) hold(size, size + 1, 0.5, 1);
  }

  /** By the machine's figures, of products of 2 ** `size` tokens. */
  #microseconds(size: number): number {
    const { weightBytes, layerElements, headElements, readBytesPerSecond, operationsPerSecond } = this.#facts;
    const elements = 2 ** size * (layerElements + headElements);
    return 1e6 * Math.max(weightBytes / readBytesPerSecond, (2 * elements) / operationsPerSecond);
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
    const { layerElements, headElements, kvBytesPerToken, readBytesPerSecond } = this.#facts;
    const elements = layerElements * tokens + headElements * rows;
    const size = Math.max(0, Math.log2(elements / (layerElements + headElements)));
    const below = Math.floor(size);
    while (this.#products.length < below + 2) this.#products.push({ value: undefined, doubt: 1 });
    const products = this.#microseconds(size);
    const share = size - below;
    return [
      { factor: this.#products[below], microseconds: (1 - share) * products },
      { factor: this.#products[below + 1], microseconds: share * products },
      { factor: this.#attention, microseconds: (1e6 * kvBytesPerToken * contextTokens) / readBytesPerSecond },
    ].filter(({ microseconds }) => microseconds > 0);
  }
}

/** How much the latest fetch counts. */
const latest = 0.2;

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
    this.#microsecondsPerByte = (1 - latest) * this.#microsecondsPerByte + latest * seen;
  }
}
