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
  readonly #begunTokens: number;
  #reusedTokens = 0;
  #begin: number | undefined;
  #first: number | undefined;
  #last = 0;
  #tokens = 0;

  /** `begunTokens`: tokens of the answer that were made elsewhere. */
  constructor(promptTokens = 0, begunTokens = 0) {
    this.#promptTokens = promptTokens;
    this.#begunTokens = begunTokens;
  }

  /** It is computed from now on. False if it was before: it was preempted. */
  begin(reusedTokens: number): boolean {
    if (this.#begin !== undefined) return false;
    this.#reusedTokens = Math.min(reusedTokens, this.#promptTokens);
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
    return this.#times(now, {
      promptTokens: this.#promptTokens,
      reusedTokens: this.#reusedTokens,
      generatedTokens: this.#begunTokens + this.#tokens,
      queueSeconds: ((this.#begin ?? now) - this.#start) / 1000,
    });
  }

  /** The counts of the last of several clocks of one answer, each of which began after the one before; with the times of this one, which saw all of it. */
  around({ totalSeconds, promptTokens, reusedTokens, generatedTokens, queueSeconds }: Statistics): Statistics {
    const now = performance.now();
    // One that had said something has left the queue.
    const begin = Math.min(this.#first ?? now, now - 1000 * (totalSeconds - queueSeconds));
    const counts = { promptTokens, reusedTokens, generatedTokens };
    return this.#times(now, { ...counts, queueSeconds: (begin - this.#start) / 1000 });
  }

  #times(now: number, counts: Omit<Statistics, 'totalSeconds'>): Statistics {
    const { promptTokens, reusedTokens } = counts;
    const base = { ...counts, totalSeconds: (now - this.#start) / 1000 };
    if (this.#first === undefined) return base;
    const ttftSeconds = (this.#first - this.#start) / 1000;
    const first = { ...base, ttftSeconds, prefillTokensPerSecond: (promptTokens - reusedTokens) / ttftSeconds };
    if (this.#tokens < 2) return first;
    const tbotSeconds = (this.#last - this.#first) / 1000 / (this.#tokens - 1);
    return { ...first, tbotSeconds, decodeTokensPerSecond: 1 / tbotSeconds };
  }
}
