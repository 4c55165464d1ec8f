/**
 * The HTTP API: OpenAI's routes, a few of llama.cpp's, health and metrics. Here is what all routes have in common; each family of them
 * is a file. It knows nothing of sockets: `listen.ts` binds it to one, tests call it directly.
 */
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { cors } from 'hono/cors';
import type { Logger } from 'pino';
import type { Bindings, Services, Variables } from './context.ts';
import { ApiError, failureOf, respond } from './failure.ts';
import { addGenerationRoutes } from './generation-routes.ts';
import { Metrics } from './metrics.ts';
import { addModelRoutes } from './model-routes.ts';
import type { Models } from './models.ts';

export interface AppOptions {
  readonly models: Models;
  /** Keys that clients have to send one of; anybody may ask where there are none. */
  readonly apiKeys?: readonly string[];
  /** Each key finds only what requests with the same key have computed. */
  readonly isolate?: boolean;
  /** Origins whose pages may ask; '*' = any. */
  readonly cors?: readonly string[];
  readonly maxBodyBytes?: number;
  readonly log: Logger;
}

export interface App {
  readonly fetch: (request: Request, connection?: Bindings) => Response | Promise<Response>;
  /** New requests are refused from now on; settles when those that run have been answered. */
  drain(): Promise<void>;
}

export function createApp(options: AppOptions): App {
  const { models, apiKeys = [], isolate = false, maxBodyBytes = 8 << 20, log } = options;
  const app = new Hono<{ Variables: Variables; Bindings: Bindings }>();
  const metrics = new Metrics(models);
  const services: Services = { models, metrics, isolate, log };
  const digests = apiKeys.map(digest);

  app.use(async (c, next) => {
    const start = performance.now();
    const id = c.req.header('x-request-id')?.slice(0, 128) ?? randomUUID();
    c.set('requestId', id);
    c.header('X-Request-Id', id);
    await next();
    metrics.answered(c.req.routePath, c.res.status);
    const milliseconds = Math.round(performance.now() - start);
    log.info({ requestId: id, method: c.req.method, route: c.req.routePath, status: c.res.status, milliseconds });
  });
  if (options.cors !== undefined) app.use(cors({ origin: [...options.cors], exposeHeaders: ['X-Request-Id'] }));
  app.use(
    bodyLimit({
      maxSize: maxBodyBytes,
      onError: (c) => respond(c, new ApiError(413, `the body is longer than ${maxBodyBytes} bytes`)),
    }),
  );

  app.get('/health', (c) => c.json({ status: 'ok' }));
  app.get('/ready', (c) => c.json({ status: models.state }, models.state === 'ready' ? 200 : 503));

  app.use('*', async (c, next) => {
    const sent = c.req.header('authorization')?.replace(/^Bearer\s+/i, '') ?? '';
    const found = digests.findIndex((known) => timingSafeEqual(known, digest(sent)));
    if (digests.length > 0 && found < 0) {
      throw new ApiError(401, 'the API key is missing or wrong', { code: 'invalid_api_key' });
    }
    c.set('key', found < 0 ? '' : String(found));
    await next();
  });

  app.get('/metrics', async (c) => c.text(await metrics.text(), 200, { 'Content-Type': metrics.registry.contentType }));
  addModelRoutes(app, services);
  addGenerationRoutes(app, services);

  app.notFound((c) => respond(c, new ApiError(404, `there is no ${c.req.method} ${new URL(c.req.url).pathname}`)));
  app.onError((error, c) => {
    const { unexpected } = failureOf(error);
    if (unexpected !== undefined) log.error({ requestId: c.get('requestId'), err: unexpected });
    return respond(c, error);
  });

  return { fetch: (request, connection) => app.fetch(request, connection), drain: () => models.drain() };
}

const digest = (text: string) => createHash('sha256').update(text).digest();
