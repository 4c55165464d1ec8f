/**
 * What one generation cost. Clocks start when the engine takes the request: the queue is left when its first tokens go into a
 * step, TTFT ends when the first token is known, TBOT is the mean of the gaps between tokens after it.
 */

export interface Statistics {
  readonly promptTokens: number;
  /** Of the prompt's tokens, those that earlier requests had computed. */
  readonly reusedTokens: number;
  readonly generatedTokens: number;
  /** Until others made room. */
  readonly queueSeconds: number;
  /** Time to first token; undefined if none was made. */
  readonly ttftSeconds?: number;
  /** Mean time between output tokens; undefined below two. */
  readonly tbotSeconds?: number;
  readonly totalSeconds: number;
  /** Generated tokens after the first, over the time since it. */
  readonly decodeTokensPerSecond?: number;
  readonly prefillTokensPerSecond?: number;
}

export class StatisticsClock {
  readonly #start = performance.now();
  readonly #promptTokens: number;
  #reusedTokens = 0;
  #begin: number | undefined;
  #first: number | undefined;
  #last = 0;
  #tokens = 0;

  constructor(promptTokens: number) {
    this.#promptTokens = promptTokens;
  }

  /** It is computed from now on. False if it was before: it was preempted. */
  begin(reusedTokens: number): boolean {
    if (this.#begin !== undefined) return false;
    this.#reusedTokens = reusedTokens;
    this.#begin = performance.now();
    return true;
  }

  token(): void {
    this.#last = performance.now();
    this.#first ??= this.#last;
    this.#tokens++;
  }

  read(): Statistics {
    const now = performance.now();
    const [promptTokens, reusedTokens] = [this.#promptTokens, this.#reusedTokens];
    const base = {
      promptTokens,
      reusedTokens,
      generatedTokens: this.#tokens,
      queueSeconds: ((this.#begin ?? now) - this.#start) / 1000,
      totalSeconds: (now - this.#start) / 1000,
    };
    if (this.#first === undefined) return base;
    const ttftSeconds = (this.#first - this.#start) / 1000;
    const first = { ...base, ttftSeconds, prefillTokensPerSecond: (promptTokens - reusedTokens) / ttftSeconds };
    if (this.#tokens < 2) return first;
    const tbotSeconds = (this.#last - this.#first) / 1000 / (this.#tokens - 1);
    return { ...first, tbotSeconds, decodeTokensPerSecond: 1 / tbotSeconds };
  }
}
