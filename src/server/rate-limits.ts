/**
 * How much each API key may ask a minute, as token buckets (a bucket of one minute's worth that fills all the time), said in the
 * headers that OpenAI's API says it in ("Rate limits", https://platform.openai.com/docs/guides/rate-limits).
 *
 * What a request will cost is not known when it comes: so much as it may cost at least is taken from its bucket, and what it did
 * cost is settled at its end. A bucket may be in debt then.
 */
import { ApiError } from './failure.ts';

export interface RateLimitOptions {
  readonly requestsPerMinute?: number | undefined;
  readonly tokensPerMinute?: number | undefined;
}

/** What one request was charged. */
export interface Charge {
  readonly headers: Readonly<Record<string, string>>;
  /** The request is over, and has cost so many tokens. */
  settle(tokens: number): void;
}

class Bucket {
  readonly limit: number;
  #level: number;
  #at: number;

  /** @param now in milliseconds. */
  constructor(limit: number, now: number) {
    this.limit = limit;
    this.#level = limit;
    this.#at = now;
  }

  level(now: number): number {
    this.#level = Math.min(this.limit, this.#level + ((now - this.#at) * this.limit) / 60_000);
    this.#at = now;
    return this.#level;
  }

  take(amount: number): void {
    this.#level -= amount;
  }

  /** Seconds until there is so much. */
  secondsTo(amount: number, now: number): number {
    return Math.max(0, ((amount - this.level(now)) * 60) / this.limit);
  }
}

const kinds = ['requests', 'tokens'] as const;
type Kind = (typeof kinds)[number];

export class RateLimits {
  readonly #limits: Readonly<Record<Kind, number | undefined>>;
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();

  constructor({ requestsPerMinute, tokensPerMinute }: RateLimitOptions, now: () => number = () => performance.now()) {
    this.#limits = { requests: requestsPerMinute, tokens: tokensPerMinute };
    this.#now = now;
  }

  #bucket(key: string, kind: Kind, now: number): Bucket | undefined {
    const limit = this.#limits[kind];
    if (limit === undefined) return undefined;
    const name = `${kind} ${key}`;
    const bucket = this.#buckets.get(name) ?? new Bucket(limit, now);
    this.#buckets.set(name, bucket);
    return bucket;
  }

  /**
   * A request that costs `tokens` at least.
   * @throws ApiError 429 that says when there will be enough; nothing is charged then.
   */
  take(key: string, tokens: number): Charge {
    const now = this.#now();
    const wanted = kinds.flatMap((kind) => {
      const bucket = this.#bucket(key, kind, now);
      if (bucket === undefined) return [];
      // One that costs more than a minute has waits for a full bucket, and not for ever.
      return [{ kind, bucket, amount: Math.min(bucket.limit, kind === 'requests' ? 1 : tokens) }];
    });
    for (const { kind, bucket, amount } of wanted) {
      // Who has waited as long as it was told is not turned away by a rounding.
      if (bucket.level(now) + 1e-6 >= amount) continue;
      throw new ApiError(429, `this key may have ${bucket.limit} ${kind} a minute`, {
        code: 'rate_limit_exceeded',
        retryAfter: bucket.secondsTo(amount, now),
        headers: this.#headers(key, now),
      });
    }
    for (const { bucket, amount } of wanted) bucket.take(amount);
    const taken = wanted.find(({ kind }) => kind === 'tokens')?.amount ?? 0;
    let settled = false;
    return {
      headers: this.#headers(key, now),
      settle: (used) => {
        const later = this.#now();
        const bucket = this.#bucket(key, 'tokens', later);
        if (settled || bucket === undefined) return;
        settled = true;
        bucket.level(later);
        bucket.take(used - taken);
      },
    };
  }

  #headers(key: string, now: number): Record<string, string> {
    const headers: Record<string, string> = {};
    for (const kind of kinds) {
      const bucket = this.#bucket(key, kind, now);
      if (bucket === undefined) continue;
      headers[`x-ratelimit-limit-${kind}`] = String(bucket.limit);
      headers[`x-ratelimit-remaining-${kind}`] = String(Math.max(0, Math.floor(bucket.level(now))));
      headers[`x-ratelimit-reset-${kind}`] = formatSeconds(bucket.secondsTo(bucket.limit, now));
    }
    return headers;
  }
}

/** '6m0s', '1.5s', '20ms', as OpenAI's API writes it. */
function formatSeconds(seconds: number): string {
  if (seconds < 1) return `${Math.ceil(1000 * seconds)}ms`;
  const minutes = Math.floor(seconds / 60);
  const rest = `${Number((seconds - 60 * minutes).toFixed(3))}s`;
  return minutes === 0 ? rest : `${minutes}m${rest}`;
}
