/**
 * What is asked when: arrivals of a Poisson process, bursts of it, or those of a recorded trace; lengths given or drawn; beginnings
 * that several prompts share. Nothing of it depends on how fast anybody answers.
 */
import { between, exponential, type Random, type Range } from './random.ts';
import type { TraceEntry } from './trace.ts';

/** A stretch of a prompt. The same seed is the same text. */
export interface Part {
  readonly seed: number;
  readonly tokens: number;
}

export interface PlannedRequest {
  /** Seconds after the beginning; whenever there is room if absent. */
  readonly at?: number;
  readonly prompt: readonly Part[];
  readonly outputTokens: number;
}

/**
 * `burst` requests come at the same moment, and the gaps between such moments are exponential, so that `rate` come in a second on
 * average. One at a time is a Poisson process. The first comes at once.
 */
export interface Arrivals {
  readonly rate: number;
  readonly burst: number;
}

export function arrivalTimes({ rate, burst }: Arrivals, count: number, random: Random): readonly number[] {
  const times: number[] = [];
  for (let at = 0; times.length < count; at += exponential(random, burst / rate)) {
    for (let i = 0; i < burst && times.length < count; i++) times.push(at);
  }
  return times;
}

export interface Lengths {
  /** Of a prompt's own part. */
  readonly prompt: Range;
  readonly output: Range;
  /** Of what a prompt shares with the others of its group. */
  readonly prefix: number;
  readonly groups: number;
}

/** Seeds of parts: numbers of groups and blocks are small, and all of a request's own parts differ from them. */
const ownSeeds = 2 ** 31;

export function drawnRequests(
  count: number,
  { prompt, output, prefix, groups }: Lengths,
  arrivals: Arrivals | undefined,
  random: Random,
): readonly PlannedRequest[] {
  const times = arrivals && arrivalTimes(arrivals, count, random);
  const seed = Math.floor(random() * ownSeeds);
  return Array.from({ length: count }, (_, i) => {
    const group = Math.floor(random() * groups);
    const shared = prefix > 0 ? [{ seed: seed ^ group, tokens: prefix }] : [];
    const own = { seed: ownSeeds + ((seed + i) % ownSeeds), tokens: between(random, prompt) };
    const request = { prompt: [...shared, own], outputTokens: between(random, output) };
    return times === undefined ? request : { at: times[i], ...request };
  });
}

/** The requests of a trace, with all lengths times `scale`, and sped up or slowed down where a rate is asked for. */
export function traceRequests(
  entries: readonly TraceEntry[],
  scale: number,
  rate: number | undefined,
  random: Random,
): readonly PlannedRequest[] {
  if (entries.length === 0) return [];
  const first = entries[0].at;
  const span = entries[entries.length - 1].at - first;
  const pace = rate === undefined || span === 0 ? 1 : (entries.length - 1) / rate / span;
  const seed = Math.floor(random() * ownSeeds);
  const scaled = (tokens: number) => Math.max(1, Math.round(tokens * scale));
  return entries.map(({ at, promptTokens, outputTokens, blocks }, i) => ({
    at: (at - first) * pace,
    prompt:
      blocks === undefined
        ? [{ seed: ownSeeds + ((seed + i) % ownSeeds), tokens: scaled(promptTokens) }]
        : blocks.map(({ id, tokens }) => ({ seed: (seed + id) % ownSeeds, tokens: scaled(tokens) })),
    outputTokens: scaled(outputTokens),
  }));
}
