/**
 * One request to an OpenAI-compatible server, streamed (server-sent events of the HTML standard), with the moments at which its parts
 * came. It does little for each of them: what it took would be taken for the server's. Every request has a connection of its own.
 */
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { IngotError } from '../../base/errors.ts';

export const apis = ['completions', 'chat'] as const;
export type Api = (typeof apis)[number];

export interface Target {
  /** Up to and with `/v1`. */
  readonly base: URL;
  readonly api: Api;
  readonly model: string;
  readonly apiKey?: string;
}

export interface Question {
  readonly prompt: string;
  readonly maxTokens: number;
  /** It may be shorter than `maxTokens`: where the model would end it. Servers are asked to go on otherwise (`ignore_eos`). */
  readonly mayEnd: boolean;
}

/** Moments are `performance.now()`. */
export interface Reply {
  readonly firstAt?: number;
  readonly endAt: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** As the server counts them; pieces of text where it does not. */
  readonly outputTokens: number;
  readonly error?: string;
}

/** A server that answers with so much without an end of a line is not one of these. */
const longestLine = 1 << 22;

/** Never throws: what went wrong is part of the reply. */
export async function ask(target: Target, question: Question, signal: AbortSignal): Promise<Reply> {
  const reading = new Reading();
  try {
    const response = await post(target, question, signal);
    response.setEncoding('utf8');
    const isStream = response.headers['content-type']?.includes('event-stream') === true;
    if (response.statusCode !== 200 || !isStream) {
      const said = await bodyStart(response);
      return reading.reply(`status ${response.statusCode}: ${messageIn(said) ?? said}`);
    }
    for await (const text of response) reading.take(text);
    return reading.reply(reading.ended ? undefined : 'the stream broke off');
  } catch (error) {
    return reading.reply(error instanceof Error ? error.message : String(error));
  }
}

function post({ base, api, model, apiKey }: Target, question: Question, signal: AbortSignal): Promise<IncomingMessage> {
  const { prompt, maxTokens, mayEnd } = question;
  const body = JSON.stringify({
    model,
    ...(api === 'chat' ? { messages: [{ role: 'user', content: prompt }] } : { prompt }),
    max_tokens: maxTokens,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
    ...(!mayEnd && { ignore_eos: true }),
  });
  const url = new URL(
    `${base.pathname.replace(/\/$/, '')}/${api === 'chat' ? 'chat/completions' : 'completions'}`,
    base,
  );
  const send = url.protocol === 'https:' ? tlsRequest : plainRequest;
  const headers = {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    ...(apiKey !== undefined && { Authorization: `Bearer ${apiKey}` }),
  };
  return new Promise((resolve, reject) => {
    send(url, { method: 'POST', agent: false, headers, signal }, resolve).on('error', reject).end(body);
  });
}

async function bodyStart(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of response) {
    text += part;
    if (text.length > 2000) break;
  }
  return text.slice(0, 2000);
}

/** What servers say of errors, in the form of OpenAI's. */
function messageIn(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as { readonly error?: { readonly message?: unknown } };
    return error === undefined ? undefined : String(error.message ?? JSON.stringify(error));
  } catch {
    return undefined;
  }
}

/** As far as both kinds of completion have it in a chunk. */
interface Chunk {
  readonly choices?: readonly {
    readonly text?: string | null;
    readonly delta?: { readonly content?: string | null; readonly reasoning_content?: string | null };
  }[];
  readonly usage?: {
    readonly prompt_tokens?: number;
    readonly completion_tokens?: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null;
  } | null;
  readonly error?: unknown;
}

/** The stream of one answer as it comes. */
class Reading {
  #rest = '';
  #firstAt: number | undefined;
  #lastAt: number | undefined;
  #texts = 0;
  #usage: NonNullable<Chunk['usage']> = {};
  #error: string | undefined;
  ended = false;

  take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > longestLine) throw new IngotError('Network', 'the stream has a line without an end');
    for (const line of lines) if (line.startsWith('data:')) this.#event(line.slice(5).trim());
  }

  #event(data: string): void {
    if (data === '[DONE]') {
      this.ended = true;
      return;
    }
    const { choices, usage, error } = JSON.parse(data) as Chunk;
    if (error !== undefined && error !== null) this.#error ??= messageIn(data) ?? data;
    if (usage) this.#usage = usage;
    const [choice] = choices ?? [];
    if (choice === undefined) return;
    this.#lastAt = performance.now();
    if (!choice.text && !choice.delta?.content && !choice.delta?.reasoning_content) return;
    this.#firstAt ??= this.#lastAt;
    this.#texts++;
  }

  reply(error: string | undefined): Reply {
    const { prompt_tokens, completion_tokens, prompt_tokens_details: details } = this.#usage;
    const failed = this.#error ?? error;
    return {
      ...(this.#firstAt !== undefined && { firstAt: this.#firstAt }),
      endAt: this.#lastAt ?? performance.now(),
      promptTokens: prompt_tokens ?? 0,
      cachedTokens: details?.cached_tokens ?? 0,
      outputTokens: completion_tokens ?? this.#texts,
      ...(failed !== undefined && { error: failed }),
    };
  }
}

/** The first model that a server lists. @throws IngotError 'Network'. */
export async function firstModel(base: URL, apiKey: string | undefined, signal: AbortSignal): Promise<string> {
  const url = `${base.href.replace(/\/$/, '')}/models`;
  try {
    const answer = await fetch(url, {
      signal,
      headers: apiKey === undefined ? {} : { Authorization: `Bearer ${apiKey}` },
    });
    const { data } = (await answer.json()) as { readonly data?: readonly { readonly id?: unknown }[] };
    const id = data?.[0]?.id;
    if (typeof id === 'string') return id;
    throw new Error(`status ${answer.status}, and no list of models`);
  } catch (cause) {
    const why =
      cause instanceof Error ? (cause.cause instanceof Error ? cause.cause.message : cause.message) : String(cause);
    throw new IngotError('Network', `${url}: ${why}`, { cause, hint: 'Name the address of a server, up to its /v1.' });
  }
}
