/**
 * What a load did, in the terms of vLLM's `benchmark_serving`: TTFT from arrival to the first text; TBOT, there called TPOT, from the first
 * text to the end over the tokens after the first; end to end from arrival to the end; goodput, requests a second that kept
 * every limit of the SLO (DistServe, OSDI 2024). Arrival is when a request should have been sent, not when the client found time to:
 * a server that stalls cannot hide it by holding up those who measure (coordinated omission).
 */

/** One request; times in seconds after the beginning of the load. */
export interface Sample {
  readonly arrival: number;
  /** After waiting for room under the limit of concurrency. */
  readonly sent: number;
  /** First text; absent if there was none. */
  readonly first?: number;
  readonly end: number;
  readonly promptTokens: number;
  /** Of the prompt's, those that the server knew. */
  readonly cachedTokens: number;
  readonly outputTokens: number;
  /** Why there is no answer. */
  readonly error?: string;
}

/** Seconds. */
export interface Distribution {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** Seconds that an answer may take. */
export interface Slo {
  readonly ttft?: number;
  readonly tbot?: number;
}

export interface Summary {
  readonly requests: number;
  readonly failed: number;
  /** From the first arrival to the last end. */
  readonly seconds: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
  readonly requestsPerSecond: number;
  readonly outputTokensPerSecond: number;
  readonly totalTokensPerSecond: number;
  /** Requests under way at the same time at most. */
  readonly peakConcurrency: number;
  readonly ttft?: Distribution;
  readonly tbot?: Distribution;
  readonly total?: Distribution;
  readonly queue?: Distribution;
  /** Where there is an SLO: requests that kept it, a second and of all that arrived. */
  readonly goodput?: { readonly requestsPerSecond: number; readonly share: number };
}

export const ttftOf = ({ arrival, first, end }: Sample) => (first ?? end) - arrival;

/** Undefined of answers of fewer than two tokens. */
export function tbotOf({ first, end, outputTokens }: Sample): number | undefined {
  return first === undefined || outputTokens < 2 ? undefined : (end - first) / (outputTokens - 1);
}

export function summarize(samples: readonly Sample[], slo: Slo = {}): Summary {
  const answered = samples.filter(({ error }) => error === undefined);
  const begin = samples.reduce((least, { arrival }) => Math.min(least, arrival), Number.POSITIVE_INFINITY);
  const seconds = samples.reduce((most, { end }) => Math.max(most, end - begin), 0);
  const sum = (of: (sample: Sample) => number) => answered.reduce((total, sample) => total + of(sample), 0);
  const [promptTokens, outputTokens] = [sum((one) => one.promptTokens), sum((one) => one.outputTokens)];
  const perSecond = (count: number) => (seconds > 0 ? count / seconds : 0);
  const good = answered.filter((sample) => keeps(sample, slo)).length;
  const hasSlo = slo.ttft !== undefined || slo.tbot !== undefined;
  return {
    requests: samples.length,
    failed: samples.length - answered.length,
    seconds,
    promptTokens,
    cachedTokens: sum((one) => one.cachedTokens),
    outputTokens,
    requestsPerSecond: perSecond(answered.length),
    outputTokensPerSecond: perSecond(outputTokens),
    totalTokensPerSecond: perSecond(promptTokens + outputTokens),
    peakConcurrency: underWay(samples).reduce((most, { count }) => Math.max(most, count), 0),
    ttft: distribution(answered.map(ttftOf)),
    tbot: distribution(answered.map(tbotOf).filter((value) => value !== undefined)),
    total: distribution(answered.map(({ arrival, end }) => end - arrival)),
    queue: distribution(answered.map(({ arrival, sent }) => sent - arrival)),
    ...(hasSlo && { goodput: { requestsPerSecond: perSecond(good), share: good / samples.length } }),
  };
}

function keeps(sample: Sample, { ttft, tbot }: Slo): boolean {
  return (ttft === undefined || ttftOf(sample) <= ttft) && (tbot === undefined || (tbotOf(sample) ?? 0) <= tbot);
}

/** Undefined of nothing. */
export function distribution(values: readonly number[]): Distribution | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => percentile(sorted, share);
  const mean = sorted.reduce((total, value) => total + value, 0) / sorted.length;
  return { mean, p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99), max: sorted[sorted.length - 1] };
}

/** Between neighbours in a straight line, as numpy does it unless told otherwise. */
function percentile(sorted: readonly number[], share: number): number {
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  const next = sorted[Math.min(low + 1, sorted.length - 1)];
  return sorted[low] + (place - low) * (next - sorted[low]);
}

/** How many requests are under way from which moment on. */
export function underWay(samples: readonly Sample[]): readonly { readonly at: number; readonly count: number }[] {
  const changes = samples.flatMap(({ sent, end }) => [
    { at: sent, by: 1 },
    { at: end, by: -1 },
  ]);
  // One that ends at the moment at which another begins made room for it.
  changes.sort((a, b) => a.at - b.at || a.by - b.by);
  let count = 0;
  return changes.map(({ at, by }) => {
    count += by;
    return { at, count };
  });
}
