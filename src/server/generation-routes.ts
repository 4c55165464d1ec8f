/** The routes that generate text: a request of the API becomes one of a model's engine, whose events become the answer. */
import { createHash, randomUUID } from 'node:crypto';
import { IngotError, isIngotError } from '../base/errors.ts';
import { readBody } from './body.ts';
import { type AnswerHead, chatAnswer, chatChunks, type TextsOf, wantedOfChat } from './chat-completions.ts';
import { completionAnswer, completionChunks, wantedOfCompletion } from './completions.ts';
import type { Api, Ctx, Services } from './context.ts';
import { eventStream } from './event-stream.ts';
import { ApiError, failureOf } from './failure.ts';
import { type ChoiceEvent, generateChoices, type Wanted } from './generation.ts';
import type { Lease } from './models.ts';
import { chatRequest, completionRequest, type SamplingRequest, unsupportedField } from './requests.ts';

/** A kind of completion. */
interface Kind<R extends SamplingRequest> {
  /** Of the ids of its answers. */
  readonly prefix: string;
  wanted(request: R, lease: Lease): readonly Wanted[];
  chunks(
    events: AsyncIterable<ChoiceEvent>,
    request: R,
    head: AnswerHead,
    textsOf: TextsOf,
  ): AsyncGenerator<object, void, undefined>;
  answer(events: AsyncIterable<ChoiceEvent>, request: R, head: AnswerHead, textsOf: TextsOf): Promise<object>;
}

export function addGenerationRoutes(app: Api, services: Services): void {
  app.post('/v1/chat/completions', async (c) =>
    respond(c, services, await readBody(c, chatRequest), {
      prefix: 'chatcmpl',
      wanted: (request, { engine }) => [wantedOfChat(request, engine.contextLength)],
      chunks: chatChunks,
      answer: chatAnswer,
    }),
  );
  app.post('/v1/completions', async (c) =>
    respond(c, services, await readBody(c, completionRequest), {
      prefix: 'cmpl',
      wanted: (request) => wantedOfCompletion(request),
      chunks: completionChunks,
      answer: completionAnswer,
    }),
  );
}

async function respond<R extends SamplingRequest>(
  c: Ctx,
  services: Services,
  request: R,
  { prefix, wanted, chunks, answer }: Kind<R>,
): Promise<Response> {
  const { models, log } = services;
  models.check(request.model);
  const field = unsupportedField(request);
  if (field !== undefined) {
    throw new ApiError(400, `${field} is not supported`, { param: field, code: 'unsupported_parameter' });
  }
  const lease = await models.acquire(request.model, c.req.raw.signal);
  const head: AnswerHead = {
    id: answerId(prefix, c.get('requestId')),
    created: Math.floor(Date.now() / 1000),
    model: lease.model,
  };
  const events = await Begun.of(generate(c, services, request, wanted, lease));
  if (!request.stream) return c.json(await answer(events, request, head, lease.texts.of));
  const parts = eventTexts(chunks(events, request, head, lease.texts.of), (error) => {
    const { body, unexpected } = failureOf(error);
    if (unexpected !== undefined) log.error({ requestId: c.get('requestId'), err: unexpected });
    return body;
  });
  const onGone = () => {
    lease.abort();
    void events.return();
  };
  const onStopped = () => c.env?.outgoing?.destroy();
  return c.body(eventStream(parts, { onGone, onStopped }), 200, {
    'Content-Type': 'text/event-stream',
    'Transfer-Encoding': 'chunked',
    'Cache-Control': 'no-cache',
    'X-Accel-Buffering': 'no',
  });
}

function answerId(prefix: string, requestId: string): string {
  const hash = createHash('sha256').update(`${requestId} ${randomUUID()}`);
  return `${prefix}-${hash.digest('hex').slice(0, 24)}`;
}

type Events = AsyncGenerator<ChoiceEvent, void, undefined>;

/** The events of a request, which has the lease until they end. */
async function* generate<R extends SamplingRequest>(
  c: Ctx,
  { isolate, metrics }: Services,
  request: R,
  wanted: Kind<R>['wanted'],
  lease: Lease,
): Events {
  using held = lease;
  const owner = c.get('key');
  const asker = { owner, cacheOwner: isolate ? owner : '' };
  try {
    for await (const each of generateChoices(held.engine, request, wanted(request, held), asker, held.signal)) {
      if (each.event.kind === 'end') {
        metrics.generated(held.model, each.event.statistics);
        // A client that has gone away reads no reason.
        if (each.event.reason === 'aborted') throw new IngotError('Aborted', 'the server is shutting down');
      }
      yield each;
    }
  } catch (error) {
    if (isIngotError(error, 'DeviceLost')) held.lost();
    throw error;
  }
}

/**
 * Events of which the first is awaited, so that what is wrong with a request is said by the status of its answer. They end what
 * they stand on even where nobody has read any, which a generator around them would not.
 */
class Begun implements AsyncIterableIterator<ChoiceEvent, void, undefined> {
  readonly #events: Events;
  #first: IteratorResult<ChoiceEvent, void> | undefined;

  private constructor(events: Events, first: IteratorResult<ChoiceEvent, void>) {
    this.#events = events;
    this.#first = first;
  }

  static async of(events: Events): Promise<Begun> {
    return new Begun(events, await events.next());
  }

  next(): Promise<IteratorResult<ChoiceEvent, void>> {
    const first = this.#first;
    this.#first = undefined;
    return first === undefined ? this.#events.next() : Promise.resolve(first);
  }

  return(): Promise<IteratorResult<ChoiceEvent, void>> {
    return this.#events.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** What was made of a text that comes piece by piece; a failure ends it, and says why. */
async function* eventTexts(
  chunks: AsyncIterable<object>,
  failed: (error: unknown) => object,
): AsyncGenerator<string, void, undefined> {
  try {
    for await (const chunk of chunks) yield JSON.stringify(chunk);
    yield '[DONE]';
  } catch (error) {
    yield JSON.stringify(failed(error));
  }
}
