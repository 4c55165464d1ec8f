/** Prometheus' text format, as far as the live panel reads it, and what two readings say about the time between them. */

export interface Reading {
  /** Milliseconds. */
  readonly at: number;
  readonly running: number;
  readonly waiting: number;
  readonly cache: { readonly used: number; readonly known: number; readonly capacity: number };
  readonly generated: number;
  /** Seconds until first tokens, all together, and how many there were. */
  readonly firsts: { readonly seconds: number; readonly count: number };
}

export function readMetrics(text: string, at: number): Reading {
  const values = new Map<string, number>();
  // A sample of several models has a line for each.
  for (const [, name = '', value = ''] of text.matchAll(/^([a-z_:][\w:]*)(?:\{.*\})? (\S+)/gim)) {
    values.set(name, (values.get(name) ?? 0) + Number(value));
  }
  const of = (name: string) => values.get(`ingot_${name}`) ?? 0;
  return {
    at,
    running: of('requests_running'),
    waiting: of('requests_waiting'),
    cache: {
      used: of('kv_cache_used_tokens'),
      known: of('kv_cache_known_tokens'),
      capacity: of('kv_cache_capacity_tokens'),
    },
    generated: of('generated_tokens_total'),
    firsts: { seconds: of('time_to_first_token_seconds_sum'), count: of('time_to_first_token_seconds_count') },
  };
}

/** Tokens a second between two readings; none where the server was started anew between them. */
export function speedBetween(before: Reading, after: Reading): number {
  return Math.max(0, after.generated - before.generated) / ((after.at - before.at) / 1000);
}

/** Mean seconds to the first token of what ended between two readings; undefined if nothing did. */
export function firstBetween(before: Reading, after: Reading): number | undefined {
  const count = after.firsts.count - before.firsts.count;
  return count > 0 ? (after.firsts.seconds - before.firsts.seconds) / count : undefined;
}
