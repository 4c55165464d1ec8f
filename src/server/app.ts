/**
 * The HTTP API: OpenAI's routes, a few of llama.cpp's, health and metrics. Here is what all routes have in common; each family of them
 * is a file. It knows nothing of sockets: `listen.ts` binds it to one, tests call it directly.
 */
import { randomUUID } from 'node:crypto';
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { cors } from 'hono/cors';
import type { Logger } from 'pino';
import type { ReplicaEvent } from '../engine/replica.ts';
import { keysRequired } from './access.ts';
import type { Bindings, Ctx, Services, Variables } from './context.ts';
import { addEmbeddingRoutes } from './embedding-routes.ts';
import { ApiError, describeError, failureOf, respond } from './failure.ts';
import { addGenerationRoutes } from './generation-routes.ts';
import { Metrics } from './metrics.ts';
import { addModelRoutes } from './model-routes.ts';
import type { ModelEvent, Models } from './models.ts';
import { mountPage } from './page.ts';
import { type RateLimitOptions, RateLimits } from './rate-limits.ts';

export interface AppOptions extends RateLimitOptions {
  readonly models: Models;
  /** Keys that clients have to send one of; anybody may ask where there are none. */
  readonly apiKeys?: readonly string[];
  /** Each key finds only what requests with the same key have computed. */
  readonly isolate?: boolean;
  /** The key that reads metrics. Without it each key may, but where keys are isolated none. */
  readonly metricsKey?: string;
  /** Origins whose pages may ask; '*' = any. */
  readonly cors?: readonly string[];
  readonly maxBodyBytes?: number;
  /** Seconds that a reader of a stream may take nothing of what is there. */
  readonly readerPatience?: number;
  readonly log: Logger;
}

export interface App {
  readonly fetch: (request: Request, connection?: Bindings) => Response | Promise<Response>;
  /** Refuses new requests; settles when those that run have been answered, or ended after so many milliseconds. */
  drain(deadline: number): Promise<void>;
}

export function createApp(options: AppOptions): App {
  const { models, apiKeys = [], isolate = false, metricsKey, log } = options;
  const { maxBodyBytes = 8 << 20, readerPatience = 30 } = options;
  const app = new Hono<{ Variables: Variables; Bindings: Bindings }>();
  const metrics = new Metrics(models);
  const services: Services = { models, metrics, isolate, rates: new RateLimits(options), readerPatience, log };
  models.onEvent((event) => logModel(log, event));

  app.use(async (c, next) => {
    const start = performance.now();
    const id = requestId(c.req.header('x-request-id'));
    c.set('requestId', id);
    c.header('X-Request-Id', id);
    await next();
    const note = () => {
      const seconds = (performance.now() - start) / 1000;
      metrics.answered(c.req.routePath, c.res.status, seconds);
      logRequest(log, c, seconds);
    };
    const answered = c.get('answered');
    if (answered === undefined) note();
    else void answered.then(note);
  });
  if (options.cors !== undefined) app.use(cors({ origin: [...options.cors], exposeHeaders: exposedHeaders }));

  app.get('/health', (c) => c.json({ status: 'ok', replicas: models.replicas }));
  app.get('/ready', (c) => c.json({ status: models.state }, models.state === 'ready' ? 200 : 503));
  app.get('/metrics', keysRequired(metricsKey === undefined ? apiKeys : [metricsKey]), async (c) => {
    if (isolate && metricsKey === undefined) {
      throw new ApiError(403, 'metrics tell of all keys; where keys are isolated, none reads them but --metrics-key');
    }
    return c.text(await metrics.text(), 200, { 'Content-Type': metrics.registry.contentType });
  });

  mountPage(app);

  app.use('*', keysRequired(apiKeys));
  app.use(
    bodyLimit({
      maxSize: maxBodyBytes,
      onError: (c) => respond(c, new ApiError(413, `the body is longer than ${maxBodyBytes} bytes`)),
    }),
  );
  addModelRoutes(app, services);
  addGenerationRoutes(app, services);
  addEmbeddingRoutes(app, services);

  app.notFound((c) => respond(c, new ApiError(404, `there is no ${c.req.method} ${new URL(c.req.url).pathname}`)));
  app.onError((error, c) => {
    // Nobody reads why: the status that proxies give to requests whose client went away.
    if (c.req.raw.signal.aborted) return new Response(null, { status: 499 });
    const { unexpected } = failureOf(error);
    if (unexpected !== undefined) log.error({ requestId: c.get('requestId'), error: describeError(unexpected) });
    return respond(c, error);
  });

  return {
    fetch: (request, connection) => app.fetch(request, connection),
    drain: (deadline) => models.drain(deadline),
  };
}

const exposedHeaders = [
  'X-Request-Id',
  'Retry-After',
  ...['requests', 'tokens'].flatMap((kind) =>
    ['limit', 'remaining', 'reset'].map((what) => `x-ratelimit-${what}-${kind}`),
  ),
];

/** The client's own name for its request, where that is one: it goes into the log. */
function requestId(sent: string | undefined): string {
  return sent !== undefined && /^[\w.:-]{1,128}$/.test(sent) ? sent : randomUUID();
}

/** Never what was asked or answered. */
function logRequest(log: Logger, c: Ctx, seconds: number): void {
  const { requestId, key, facts } = c.var;
  log.info({
    requestId,
    method: c.req.method,
    route: c.req.routePath,
    status: c.res.status,
    milliseconds: Math.round(1000 * seconds),
    ...(key !== '' && { key }),
    ...facts,
  });
}

function logModel(log: Logger, event: ModelEvent): void {
  switch (event.kind) {
    case 'loaded':
      log.info({ model: event.model, bytes: event.bytes, milliseconds: Math.round(1000 * event.seconds) }, 'loaded');
      return;
    case 'left':
      log.info({ model: event.model }, 'left memory');
      return;
    case 'failed':
      log.error({ model: event.model, error: describeError(event.error) }, 'cannot be loaded');
      return;
    case 'replica':
      logReplica(log.child({ model: event.model, replica: event.replica }), event.event);
      return;
    default:
      event satisfies never;
  }
}

function logReplica(log: Logger, event: ReplicaEvent): void {
  const { epoch } = event;
  switch (event.kind) {
    case 'lost':
      log.error(
        { epoch, requests: event.requests, error: describeError(event.error) },
        event.returns ? 'lost; its requests go on' : 'lost, and does not come back',
      );
      return;
    case 'failed':
      log.error({ epoch, error: describeError(event.error) }, 'cannot be opened again yet');
      return;
    case 'restored':
      log.warn({ epoch, milliseconds: Math.round(1000 * event.seconds) }, 'works again');
      return;
    default:
      event satisfies never;
  }
}
