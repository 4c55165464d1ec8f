/** What every route of the API works with: who asks, and what the server has. */
import type { Context, Hono } from 'hono';
import type { Logger } from 'pino';
import type { Metrics } from './metrics.ts';
import type { Models } from './models.ts';
import type { RateLimits } from './rate-limits.ts';

export interface Variables {
  /** Of the client, or a new one; in the answer's header and in the log. */
  requestId: string;
  /** Which API key was sent; '' where none is asked for. */
  key: string;
  /** Settles when the answer has been given to the connection, or nobody takes it; absent where that is when the route returns. */
  answered: Promise<void> | undefined;
  /** What the log says of the request, besides what it says of all. */
  facts: Readonly<Record<string, string | number>> | undefined;
}

/** The connection, where there is one. */
export interface Bindings {
  readonly outgoing?: { destroy(): void };
}

export type Api = Hono<{ Variables: Variables; Bindings: Bindings }>;
export type Ctx = Context<{ Variables: Variables; Bindings: Bindings }>;

export interface Services {
  readonly models: Models;
  readonly metrics: Metrics;
  /** Each key finds only what requests with the same key have computed. */
  readonly isolate: boolean;
  readonly rates: RateLimits;
  /** Seconds that a reader of a stream may take nothing of what is there. */
  readonly readerPatience: number;
  readonly log: Logger;
}
