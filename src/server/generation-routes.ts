/** The routes that generate text: a request of the API becomes one of a model's engine, whose events become the answer. */
import { createHash, randomUUID } from 'node:crypto';
import { IngotError } from '../base/errors.ts';
import type { Statistics } from '../engine/statistics.ts';
import { readBody } from './body.ts';
import { type AnswerHead, chatAnswer, chatChunks, type TextsOf } from './chat-completions.ts';
import { askedOfChat } from './chat-prompt.ts';
import { completionAnswer, completionChunks, wantedOfCompletion } from './completions.ts';
import type { Api, Ctx, Services } from './context.ts';
import { eventStream } from './event-stream.ts';
import { ApiError, describeError, failureOf, withPrompt } from './failure.ts';
import { type ChoiceEvent, generateChoices, type Wanted } from './generation.ts';
import type { Lease } from './models.ts';
import type { Charge } from './rate-limits.ts';
import { chatRequest, completionRequest, type SamplingRequest, unsupportedField } from './requests.ts';

/** A kind of completion. */
interface Kind<R extends SamplingRequest> {
  /** Of the ids of its answers. */
  readonly prefix: string;
  /** Where its requests have what is to go on. */
  readonly prompt: 'messages' | 'prompt';
  /** Tokens that its answers have together at most, as far as it says. */
  most(request: R): number;
  ask(request: R, lease: Lease): Promise<Asked> | Asked;
}

/** What an engine is asked for, and what its events are made into. */
interface Asked {
  readonly wanted: readonly Wanted[];
  chunks(events: AsyncIterable<ChoiceEvent>, head: AnswerHead, textsOf: TextsOf): AsyncIterable<object>;
  answer(events: AsyncIterable<ChoiceEvent>, head: AnswerHead, textsOf: TextsOf): Promise<object>;
}

export function addGenerationRoutes(app: Api, services: Services): void {
  app.post('/v1/chat/completions', async (c) =>
    respond(c, services, await readBody(c, chatRequest), {
      prefix: 'chatcmpl',
      prompt: 'messages',
      most: (request) => (request.n ?? 1) * (request.max_completion_tokens ?? request.max_tokens ?? 0),
      async ask(request, lease) {
        const { wanted, parser } = await askedOfChat(request, lease);
        return {
          wanted: [wanted],
          chunks: (events, head, textsOf) => chatChunks(events, request, head, textsOf, parser),
          answer: (events, head, textsOf) => chatAnswer(events, request, head, textsOf, parser),
        };
      },
    }),
  );
  app.post('/v1/completions', async (c) =>
    respond(c, services, await readBody(c, completionRequest), {
      prefix: 'cmpl',
      prompt: 'prompt',
      most: (request) =>
        wantedOfCompletion(request).reduce((sum, { made, maxTokens }) => sum + (made ?? request.n ?? 1) * maxTokens, 0),
      ask: (request) => ({
        wanted: wantedOfCompletion(request),
        chunks: (events, head, textsOf) => completionChunks(events, request, head, textsOf),
        answer: (events, head, textsOf) => completionAnswer(events, request, head, textsOf),
      }),
    }),
  );
}

async function respond<R extends SamplingRequest>(
  c: Ctx,
  services: Services,
  request: R,
  { prefix, prompt, most, ask }: Kind<R>,
): Promise<Response> {
  const { models, log, rates } = services;
  models.check(request.model);
  const field = unsupportedField(request);
  if (field !== undefined) {
    throw new ApiError(400, `${field} is not supported`, { param: field, code: 'unsupported_parameter' });
  }
  const work = new Work(services, c, request, rates.take(c.get('key'), textTokens(request) + most(request)));
  const lease = await work.acquire();
  const head: AnswerHead = {
    id: answerId(prefix, c.get('requestId')),
    created: Math.floor(Date.now() / 1000),
    model: lease.model,
  };
  const { wanted, chunks, answer } = await work.asked(lease, () => ask(request, lease));
  const events = await Begun.of(work.events(lease, wanted), work, lease.signal).catch((error: unknown) => {
    throw withPrompt(error, prompt);
  });
  if (!request.stream) return c.json(await answer(events, head, lease.texts.of));
  const parts = eventTexts(chunks(events, head, lease.texts.of), (error) => {
    const { body, unexpected } = failureOf(error);
    if (unexpected !== undefined) log.error({ requestId: c.get('requestId'), error: describeError(unexpected) });
    return body;
  });
  c.set('answered', work.ended);
  const onEnd = () => lease.abort();
  const onStopped = () => c.env?.outgoing?.destroy();
  return c.body(eventStream(parts, { onEnd, onStopped, patience: services.readerPatience }), 200, {
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

/** What a request says will cost so much, before it is encoded: a token is about four characters. */
function textTokens(request: SamplingRequest): number {
  return JSON.stringify(request).length / 4;
}

type Events = AsyncGenerator<ChoiceEvent, void, undefined>;

/** One request while it is worked on, and what it has cost. */
class Work {
  readonly #services: Services;
  readonly #c: Ctx;
  readonly #request: SamplingRequest;
  readonly #charge: Charge;
  /** Settles when it is over. */
  readonly ended: Promise<void>;
  #end: () => void = () => {};
  readonly #statistics: Statistics[] = [];
  #tokens = 0;
  /** Whether all of it was said. */
  complete = false;

  constructor(services: Services, c: Ctx, request: SamplingRequest, charge: Charge) {
    this.#services = services;
    this.#c = c;
    this.#request = request;
    this.#charge = charge;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    for (const [name, value] of Object.entries(charge.headers)) c.header(name, value);
  }

  async acquire(): Promise<Lease> {
    try {
      return await this.#services.models.acquire(this.#request.model, this.#c.req.raw.signal);
    } catch (error) {
      this.#charge.settle(0);
      throw error;
    }
  }

  /** What the engine is to be asked for. The lease ends where that fails. */
  async asked<T>(lease: Lease, ask: () => Promise<T> | T): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      lease[Symbol.dispose]();
      this.#settle(lease.model);
      throw error;
    }
  }

  /** What the engine says of it. The lease ends with them. */
  async *events(lease: Lease, wanted: readonly Wanted[]): Events {
    using held = lease;
    const { isolate, metrics } = this.#services;
    const owner = this.#c.get('key');
    const asker = { owner, cacheOwner: isolate ? owner : '' };
    try {
      for await (const each of generateChoices(held.engine, this.#request, wanted, asker, held.signal)) {
        const { choice, event } = each;
        if (event.kind === 'token') this.#tokens++;
        else {
          this.#statistics[choice] = event.statistics;
          metrics.generated(held.model, event.statistics);
          // A client that has gone away reads no reason.
          if (event.reason === 'aborted') throw new IngotError('Aborted', 'the server is shutting down');
        }
        yield each;
      }
      this.complete = true;
    } finally {
      this.#settle(held.model);
    }
  }

  #settle(model: string): void {
    const n = this.#request.n ?? 1;
    const promptTokens = this.#statistics.reduce((sum, each, i) => sum + (i % n === 0 ? each.promptTokens : 0), 0);
    // Of answers that were made and not given only the statistics know.
    const made = this.#statistics.reduce((sum, each) => sum + each.generatedTokens, 0);
    const generatedTokens = Math.max(this.#tokens, made);
    this.#charge.settle(promptTokens + generatedTokens);
    this.#c.set('facts', { model, promptTokens, generatedTokens });
    this.#end();
  }
}

/** Whether all events have come. */
interface Progress {
  readonly complete: boolean;
}

/**
 * Events of which the first is awaited, so that what is wrong with a request is said by the status of its answer. When the signal
 * is raised they end what they stand on even where nobody reads them, which a generator around them would not.
 */
class Begun implements AsyncIterableIterator<ChoiceEvent, void, undefined> {
  readonly #events: Events;
  readonly #work: Progress;
  #first: IteratorResult<ChoiceEvent, void> | undefined;

  private constructor(events: Events, work: Progress, first: IteratorResult<ChoiceEvent, void>) {
    this.#events = events;
    this.#work = work;
    this.#first = first;
  }

  static async of(events: Events, work: Progress, signal: AbortSignal): Promise<Begun> {
    const begun = new Begun(events, work, await events.next());
    const leave = () => void events.return();
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave, { once: true });
    return begun;
  }

  async next(): Promise<IteratorResult<ChoiceEvent, void>> {
    const result = this.#first ?? (await this.#events.next());
    this.#first = undefined;
    if (result.done && !this.#work.complete) throw new IngotError('Aborted', 'the server is shutting down');
    return result;
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
