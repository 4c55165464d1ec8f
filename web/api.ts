/** The server's API as the page uses it: models, a streamed answer, metrics. */
import { endedEarly, refusalOf, ServerFailure } from './failure.ts';
import { eventsOf } from './sse.ts';
import { apiKey } from './store.ts';

export type Part =
  | { readonly kind: 'text' | 'reasoning'; readonly text: string }
  | { readonly kind: 'finish'; readonly reason: string }
  | { readonly kind: 'usage'; readonly tokens: number; readonly prompt: { tokens: number; cached: number } };

interface Chunk {
  readonly error?: { readonly message?: string; readonly type?: string; readonly code?: string | null };
  readonly choices?: readonly {
    readonly delta?: { readonly content?: string | null; readonly reasoning_content?: string | null };
    readonly finish_reason?: string | null;
  }[];
  readonly usage?: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null;
  } | null;
}

/** @throws ServerFailure if it answers, but not with what was asked for; what fetch throws if it does not. */
async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const { value: key } = apiKey;
  const headers = { 'Content-Type': 'application/json', ...(key !== '' && { Authorization: `Bearer ${key}` }) };
  const response = await fetch(path, { ...init, headers });
  if (response.ok) return response;
  const { error = {} } = (await response.json().catch(() => ({}))) as Chunk;
  const retryAfter = Number(response.headers.get('retry-after')) || 0;
  const { status, statusText } = response;
  throw new ServerFailure(refusalOf({ ...error, message: error.message ?? statusText, status, retryAfter }));
}

export async function models(): Promise<readonly string[]> {
  const { data } = (await (await ask('/v1/models')).json()) as { data: readonly { id: string }[] };
  return data.map(({ id }) => id);
}

export async function metrics(): Promise<string> {
  return (await ask('/metrics')).text();
}

/** An answer as it comes. */
export async function* chat(request: object, signal: AbortSignal): AsyncGenerator<Part, void, undefined> {
  const body = JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } });
  const response = await ask('/v1/chat/completions', { method: 'POST', body, signal });
  if (response.body === null) throw endedEarly();
  for await (const data of eventsOf(response.body)) {
    if (data === '[DONE]') return;
    yield* partsOf(JSON.parse(data) as Chunk);
  }
  throw endedEarly();
}

function* partsOf({ error, choices = [], usage }: Chunk): Generator<Part, void, undefined> {
  if (error !== undefined) throw new ServerFailure(refusalOf({ ...error, message: error.message ?? '' }));
  for (const { delta, finish_reason: reason } of choices) {
    if (delta?.reasoning_content) yield { kind: 'reasoning', text: delta.reasoning_content };
    if (delta?.content) yield { kind: 'text', text: delta.content };
    if (reason) yield { kind: 'finish', reason };
  }
  if (!usage) return;
  const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
  yield { kind: 'usage', tokens: usage.completion_tokens, prompt: { tokens: usage.prompt_tokens, cached } };
}
