/**
 * The HTTP API of one engine: OpenAI's routes, a few of llama.cpp's, health and metrics. It knows nothing of sockets: `listen.ts` binds
 * it to one, tests call it directly.
 */
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { cors } from 'hono/cors';
import { streamSSE } from 'hono/streaming';
import type { Logger } from 'pino';
import type { ZodType } from 'zod';
import { IngotError, isIngotError } from '../base/errors.ts';
import type { Engine, GenerateEvent, TokenText } from '../engine/engine.ts';
import { type AnswerHead, chatAnswer, chatChunks, wantedOfChat } from './chat-completions.ts';
import { completionAnswer, completionChunks, wantedOfCompletion } from './completions.ts';
import { ApiError, failureOf, respond } from './failure.ts';
import { type Asker, type ChoiceEvent, generateChoices, type Wanted } from './generation.ts';
import { Metrics } from './metrics.ts';
import { mountPage } from './page.ts';
import {
  chatRequest,
  completionRequest,
  detokenizeRequest,
  type SamplingRequest,
  tokenizeRequest,
  unsupportedField,
} from './requests.ts';

export interface AppOptions {
  readonly engine: Engine;
  /** What clients call the model. */
  readonly modelName: string;
  /** Keys that clients have to send one of; anybody may ask where there are none. */
  readonly apiKeys?: readonly string[];
  /** Each key finds only what requests with the same key have computed. */
  readonly isolate?: boolean;
  /** Origins whose pages may ask; '*' = any. */
  readonly cors?: readonly string[];
  readonly maxBodyBytes?: number;
  readonly log: Logger;
}

type Variables = { requestId: string; key: string };
type Ctx = Context<{ Variables: Variables }>;

export interface App {
  readonly fetch: (request: Request) => Response | Promise<Response>;
  /** New requests are refused from now on; settles when those that run have been answered. */
  drain(): Promise<void>;
}

export function createApp(options: AppOptions): App {
  const { engine, modelName, apiKeys = [], isolate = false, maxBodyBytes = 8 << 20, log } = options;
  const app = new Hono<{ Variables: Variables }>();
  const metrics = new Metrics();
  const created = Math.floor(Date.now() / 1000);
  const digests = apiKeys.map(digest);
  const texts = new TokenTexts(engine);
  const running = new Set<Promise<void>>();
  let draining = false;

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
  app.get('/ready', (c) => (draining ? c.json({ status: 'draining' }, 503) : c.json({ status: 'ready' })));

  mountPage(app);

  app.use('*', async (c, next) => {
    const sent = c.req.header('authorization')?.replace(/^Bearer\s+/i, '') ?? '';
    const found = digests.findIndex((known) => timingSafeEqual(known, digest(sent)));
    if (digests.length > 0 && found < 0) {
      throw new ApiError(401, 'the API key is missing or wrong', { code: 'invalid_api_key' });
    }
    c.set('key', found < 0 ? '' : String(found));
    await next();
  });

  app.get('/metrics', async (c) =>
    c.text(await metrics.text(engine), 200, { 'Content-Type': metrics.registry.contentType }),
  );

  const describe = () => ({ id: modelName, object: 'model', created, owned_by: 'ingot' });
  app.get('/v1/models', (c) => c.json({ object: 'list', data: [describe()] }));
  app.get('/v1/models/:model{.+}', (c) => {
    checkModel(c.req.param('model'));
    return c.json(describe());
  });

  app.post('/tokenize', async (c) => {
    const { content, model } = await body(c, tokenizeRequest);
    checkModel(model);
    return c.json({ tokens: content === '' ? [] : await engine.encode(content) });
  });
  app.post('/detokenize', async (c) => {
    const { tokens, model } = await body(c, detokenizeRequest);
    checkModel(model);
    return c.json({ content: await engine.decode(tokens) });
  });

  app.post('/v1/chat/completions', async (c) => {
    const request = await body(c, chatRequest);
    const head = begin(c, request, 'chatcmpl');
    const wanted = [wantedOfChat(request, engine.contextLength)];
    if (request.stream) return stream(c, request, wanted, (events) => chatChunks(events, request, head, texts.of));
    return whole(c, request, wanted, (events) => chatAnswer(events, request, head, texts.of));
  });
  app.post('/v1/completions', async (c) => {
    const request = await body(c, completionRequest);
    const head = begin(c, request, 'cmpl');
    const wanted = wantedOfCompletion(request);
    if (request.stream)
      return stream(c, request, wanted, (events) => completionChunks(events, request, head, texts.of));
    return whole(c, request, wanted, (events) => completionAnswer(events, request, head, texts.of));
  });

  app.notFound((c) => respond(c, new ApiError(404, `there is no ${c.req.method} ${new URL(c.req.url).pathname}`)));
  app.onError((error, c) => {
    const { unexpected } = failureOf(error);
    if (unexpected !== undefined) log.error({ requestId: c.get('requestId'), err: unexpected });
    return respond(c, error);
  });

  function checkModel(name: string | undefined): void {
    if (name === undefined || name === modelName) return;
    throw new ApiError(404, `there is no model ${JSON.stringify(name)}; this server has ${JSON.stringify(modelName)}`, {
      param: 'model',
      code: 'model_not_found',
    });
  }

  function begin(c: Ctx, request: SamplingRequest, prefix: string): AnswerHead {
    checkModel(request.model);
    const field = unsupportedField(request);
    if (field !== undefined)
      throw new ApiError(400, `${field} is not supported`, { param: field, code: 'unsupported_parameter' });
    if (draining) throw new IngotError('Aborted', 'the server is shutting down');
    const id = `${prefix}-${createHash('sha256')
      .update(`${c.get('requestId')} ${randomUUID()}`)
      .digest('hex')
      .slice(0, 24)}`;
    return { id, created: Math.floor(Date.now() / 1000), model: modelName };
  }

  function askerOf(c: Ctx): Asker {
    const owner = c.get('key');
    return { owner, cacheOwner: isolate ? owner : '' };
  }

  /** The events of a request. Its first is awaited, so that what is wrong with it is said by the status. */
  async function open(c: Ctx, request: SamplingRequest, wanted: readonly Wanted[], signal: AbortSignal) {
    const events = generateChoices(engine, request, wanted, askerOf(c), signal);
    const first = await events.next();
    return watched(first, events);
  }

  async function* watched(
    first: IteratorResult<ChoiceEvent, void>,
    rest: AsyncGenerator<ChoiceEvent, void>,
  ): AsyncGenerator<ChoiceEvent, void, undefined> {
    let release = () => {};
    const work = new Promise<void>((resolve) => {
      release = resolve;
    });
    running.add(work);
    try {
      if (first.done) return;
      note(first.value.event);
      yield first.value;
      for await (const each of rest) {
        note(each.event);
        yield each;
      }
    } finally {
      await rest.return();
      running.delete(work);
      release();
    }
  }

  function note(event: GenerateEvent): void {
    if (event.kind === 'end') metrics.generated(event.statistics);
  }

  async function whole(
    c: Ctx,
    request: SamplingRequest,
    wanted: readonly Wanted[],
    answer: (events: AsyncIterable<ChoiceEvent>) => Promise<object>,
  ): Promise<Response> {
    const events = await open(c, request, wanted, c.req.raw.signal);
    return c.json(await answer(events));
  }

  async function stream(
    c: Ctx,
    request: SamplingRequest,
    wanted: readonly Wanted[],
    chunks: (events: AsyncIterable<ChoiceEvent>) => AsyncIterable<object>,
  ): Promise<Response> {
    const controller = new AbortController();
    c.req.raw.signal.addEventListener('abort', () => controller.abort());
    const events = await open(c, request, wanted, controller.signal);
    c.header('Cache-Control', 'no-cache');
    c.header('X-Accel-Buffering', 'no');
    return streamSSE(c, async (out) => {
      out.onAbort(() => controller.abort());
      try {
        for await (const chunk of chunks(events)) await out.writeSSE({ data: JSON.stringify(chunk) });
        await out.writeSSE({ data: '[DONE]' });
      } catch (error) {
        if (isIngotError(error, 'Aborted') || out.aborted) return;
        const { body: failed, unexpected } = failureOf(error);
        if (unexpected !== undefined) log.error({ requestId: c.get('requestId'), err: unexpected });
        await out.writeSSE({ data: JSON.stringify(failed) });
      }
    });
  }

  return {
    fetch: (request) => app.fetch(request),
    async drain() {
      draining = true;
      await Promise.all(running);
    },
  };
}

const digest = (text: string) => createHash('sha256').update(text).digest();

/** @throws ApiError 400 that says what is wrong where. */
async function body<T>(c: Context, schema: ZodType<T>): Promise<T> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(await c.req.arrayBuffer()));
  } catch {
    throw new ApiError(400, 'the body is not JSON in UTF-8');
  }
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const [issue] = error.issues;
  const param = issue.path.join('.');
  throw new ApiError(400, `${param === '' ? 'the body' : param}: ${issue.message}`, {
    param: param === '' ? null : param,
  });
}

/** What tokens stand for, asked of the engine once each. */
class TokenTexts {
  readonly #engine: Engine;
  readonly #known = new Map<number, TokenText>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  readonly of = async (ids: readonly number[]): Promise<readonly TokenText[]> => {
    const missing = ids.filter((id) => !this.#known.has(id));
    if (missing.length > 0) {
      const texts = await this.#engine.tokenTexts(missing);
      for (const [i, id] of missing.entries()) this.#known.set(id, texts[i]);
    }
    return ids.map((id) => this.#known.get(id) ?? { text: '', bytes: new Uint8Array() });
  };
}
