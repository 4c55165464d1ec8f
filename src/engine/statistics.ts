/**
 * What one generation cost. Clocks start when the engine takes the request: TTFT ends when the first token is known,
 * TBOT is the mean of the gaps between tokens after it.
 */

export interface Statistics {
  readonly promptTokens: number;
  /** Of the prompt's tokens, those that were computed for the request before. */
  readonly reusedTokens: number;
  readonly generatedTokens: number;
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
  readonly #reusedTokens: number;
  #first: number | undefined;
  #last = 0;
  #tokens = 0;

  constructor(promptTokens: number, reusedTokens: number) {
    this.#promptTokens = promptTokens;
    this.#reusedTokens = reusedTokens;
  }

  token(): void {
    this.#last = performance.now();
    this.#first ??= this.#last;
    this.#tokens++;
  }

  read(): Statistics {
    const totalSeconds = (performance.now() - this.#start) / 1000;
    const [promptTokens, reusedTokens] = [this.#promptTokens, this.#reusedTokens];
    const base = { promptTokens, reusedTokens, generatedTokens: this.#tokens, totalSeconds };
    if (this.#first === undefined) return base;
    const ttftSeconds = (this.#first - this.#start) / 1000;
    const first = { ...base, ttftSeconds, prefillTokensPerSecond: (promptTokens - reusedTokens) / ttftSeconds };
    if (this.#tokens < 2) return first;
    const tbotSeconds = (this.#last - this.#first) / 1000 / (this.#tokens - 1);
    return { ...first, tbotSeconds, decodeTokensPerSecond: 1 / tbotSeconds };
  }
}
