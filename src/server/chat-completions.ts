/** `/v1/chat/completions`: a conversation in, an answer or several out, whole or as it comes. */

import type { FinishReason, GenerateEvent, TokenLogprob, TokenText } from '../engine/engine.ts';
import type { Statistics } from '../engine/statistics.ts';
import type { ChoiceEvent } from './generation.ts';
import { type Usage, usageOf, type Wanted } from './generation.ts';
import type { ChatRequest } from './requests.ts';

type Token = Extract<GenerateEvent, { kind: 'token' }>;

/** What every part of one answer says of itself. */
export interface AnswerHead {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
}

export const finishReasons: Readonly<Record<FinishReason, 'stop' | 'length'>> = {
  end: 'stop',
  stop: 'stop',
  length: 'length',
  aborted: 'stop',
};

/** Where nothing is said an answer may fill the context. */
export function wantedOfChat(request: ChatRequest, contextLength: number): Wanted {
  const { messages, chat_template_kwargs: variables } = request;
  return {
    prompt: { messages, ...(variables && { variables }) },
    maxTokens: request.max_completion_tokens ?? request.max_tokens ?? contextLength,
    topLogprobs: request.logprobs ? (request.top_logprobs ?? 0) : 0,
  };
}

/** Looks up what tokens stand for. */
export type TextsOf = (ids: readonly number[]) => Promise<readonly TokenText[]>;

async function logprobsOf({ id, logprob, top = [] }: Token, textsOf: TextsOf) {
  const [own, ...others] = await textsOf([id, ...top.map((each) => each.id)]);
  const entry = ({ text, bytes }: TokenText, value: number) => ({ token: text, logprob: value, bytes: [...bytes] });
  const topEntries = top.map((each: TokenLogprob, i) => entry(others[i], each.logprob));
  return { ...entry(own, logprob), top_logprobs: topEntries };
}

/** The parts of a streamed answer, in order: a role for each choice, texts, ends, and at last what it cost. */
export async function* chatChunks(
  events: AsyncIterable<ChoiceEvent>,
  request: ChatRequest,
  head: AnswerHead,
  textsOf: TextsOf,
): AsyncGenerator<object, void, undefined> {
  const chunk = (choices: readonly object[], more: object = {}) => ({
    ...head,
    object: 'chat.completion.chunk',
    choices,
    ...more,
  });
  const begun = new Set<number>();
  const statistics: Statistics[] = [];
  for await (const { choice, event } of events) {
    const first = begun.has(choice) ? {} : { role: 'assistant' };
    begun.add(choice);
    const content = event.text === '' && begun.size > 0 && !('role' in first) ? {} : { content: event.text };
    const delta = { ...first, ...content };
    if (event.kind === 'end') {
      statistics[choice] = event.statistics;
      if (Object.keys(delta).length > 0) yield chunk([{ index: choice, delta, logprobs: null, finish_reason: null }]);
      yield chunk([{ index: choice, delta: {}, logprobs: null, finish_reason: finishReasons[event.reason] }]);
      continue;
    }
    const logprobs = request.logprobs ? { content: [await logprobsOf(event, textsOf)], refusal: null } : null;
    // Half a character is nothing to show yet.
    if (logprobs === null && Object.keys(delta).length === 0) continue;
    yield chunk([{ index: choice, delta, logprobs, finish_reason: null }]);
  }
  if (request.stream_options?.include_usage) yield chunk([], { usage: usageOf(statistics, request.n ?? 1) });
}

/** The whole answer. */
export async function chatAnswer(
  events: AsyncIterable<ChoiceEvent>,
  request: ChatRequest,
  head: AnswerHead,
  textsOf: TextsOf,
): Promise<{ readonly usage: Usage }> {
  const choices = Array.from({ length: request.n ?? 1 }, () => ({
    content: '',
    logprobs: [] as object[],
    reason: 'length' as FinishReason,
  }));
  const statistics: Statistics[] = [];
  for await (const { choice, event } of events) {
    const own = choices[choice];
    own.content += event.text;
    if (event.kind === 'end') {
      own.reason = event.reason;
      statistics[choice] = event.statistics;
    } else if (request.logprobs) {
      own.logprobs.push(await logprobsOf(event, textsOf));
    }
  }
  return {
    ...head,
    object: 'chat.completion',
    choices: choices.map(({ content, logprobs, reason }, index) => ({
      index,
      message: { role: 'assistant', content, refusal: null },
      logprobs: request.logprobs ? { content: logprobs, refusal: null } : null,
      finish_reason: finishReasons[reason],
    })),
    usage: usageOf(statistics, request.n ?? 1),
  } as { readonly usage: Usage };
}
