/** `/v1/chat/completions`: an answer to a conversation or several, with its thoughts and calls apart, whole or as it comes. */
import { randomUUID } from 'node:crypto';
import type { FinishReason, GenerateEvent, TokenLogprob, TokenText } from '../engine/engine.ts';
import type { Statistics } from '../engine/statistics.ts';
import type { AnswerPart } from '../tokenizer/answers/outgoing.ts';
import type { AnswerParser } from '../tokenizer/answers/parser.ts';
import { type ChoiceEvent, usageOf } from './generation.ts';
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

/** Looks up what tokens stand for. */
export type TextsOf = (ids: readonly number[]) => Promise<readonly TokenText[]>;

async function logprobsOf({ id, logprob, top = [] }: Token, textsOf: TextsOf) {
  const [own, ...others] = await textsOf([id, ...top.map((each) => each.id)]);
  const entry = ({ text, bytes }: TokenText, value: number) => ({ token: text, logprob: value, bytes: [...bytes] });
  const topEntries = top.map((each: TokenLogprob, i) => entry(others[i], each.logprob));
  return { ...entry(own, logprob), top_logprobs: topEntries };
}

/** One answer while it comes. */
class Choice {
  readonly #parser: AnswerParser;
  #calls = 0;

  constructor(parser: AnswerParser) {
    this.#parser = parser;
  }

  read(event: GenerateEvent): readonly AnswerPart[] {
    const parts =
      event.kind === 'token'
        ? this.#parser.push(event.text, event.special)
        : [...this.#parser.push(event.text), ...this.#parser.end()];
    this.#calls += parts.filter(({ kind }) => kind === 'call').length;
    return parts;
  }

  /** An answer that is cut may end in the middle of a call. */
  finishReason(reason: FinishReason): 'stop' | 'length' | 'tool_calls' {
    return this.#calls > 0 && reason !== 'length' ? 'tool_calls' : finishReasons[reason];
  }
}

interface Delta {
  readonly content?: string;
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly object[];
}

function deltaOf(part: AnswerPart): Delta {
  switch (part.kind) {
    case 'text':
      return { content: part.text };
    case 'thoughts':
      return { reasoning_content: part.text };
    case 'call': {
      const { index, name } = part;
      return { tool_calls: [{ index, id: callId(), type: 'function', function: { name, arguments: '' } }] };
    }
    case 'arguments':
      return { tool_calls: [{ index: part.index, function: { arguments: part.text } }] };
    default:
      return part satisfies never;
  }
}

/** Nine letters and digits: templates of Mistral's take no other. */
function callId(): string {
  return randomUUID().replaceAll('-', '').slice(0, 9);
}

/** The parts of a streamed answer, in order: a role for each choice, what it says, ends, and at last what it cost. */
export async function* chatChunks(
  events: AsyncIterable<ChoiceEvent>,
  request: ChatRequest,
  head: AnswerHead,
  textsOf: TextsOf,
  parser: () => AnswerParser,
): AsyncGenerator<object, void, undefined> {
  const wantsUsage = request.stream_options?.include_usage === true;
  const chunk = (index: number, delta: object, more: object = {}) => ({
    ...head,
    object: 'chat.completion.chunk',
    choices: [{ index, delta, logprobs: null, finish_reason: null, ...more }],
    ...(wantsUsage && { usage: null }),
  });
  const choices = new Map<number, Choice>();
  const statistics: Statistics[] = [];
  for await (const { choice: index, event } of events) {
    const known = choices.get(index);
    const choice = known ?? new Choice(parser());
    choices.set(index, choice);
    const deltas: object[] = choice.read(event).map(deltaOf);
    if (known === undefined) {
      const [first = { content: '' }, ...rest] = deltas;
      deltas.splice(0, deltas.length, { role: 'assistant', content: null, ...first }, ...rest);
    }
    if (event.kind === 'token' && request.logprobs) {
      const logprobs = { content: [await logprobsOf(event, textsOf)], refusal: null };
      yield chunk(index, deltas.shift() ?? {}, { logprobs });
    }
    for (const delta of deltas) yield chunk(index, delta);
    if (event.kind !== 'end') continue;
    statistics[index] = event.statistics;
    yield chunk(index, {}, { finish_reason: choice.finishReason(event.reason) });
  }
  if (!wantsUsage) return;
  yield { ...head, object: 'chat.completion.chunk', choices: [], usage: usageOf(statistics, request.n ?? 1) };
}

/** The whole answer. */
export async function chatAnswer(
  events: AsyncIterable<ChoiceEvent>,
  request: ChatRequest,
  head: AnswerHead,
  textsOf: TextsOf,
  parser: () => AnswerParser,
): Promise<object> {
  const choices = Array.from({ length: request.n ?? 1 }, () => ({
    choice: new Choice(parser()),
    message: new Message(),
    logprobs: [] as object[],
    reason: 'length' as FinishReason,
  }));
  const statistics: Statistics[] = [];
  for await (const { choice: index, event } of events) {
    const own = choices[index];
    for (const part of own.choice.read(event)) own.message.add(part);
    if (event.kind === 'end') {
      own.reason = event.reason;
      statistics[index] = event.statistics;
    } else if (request.logprobs) {
      own.logprobs.push(await logprobsOf(event, textsOf));
    }
  }
  return {
    ...head,
    object: 'chat.completion',
    choices: choices.map(({ choice, message, logprobs, reason }, index) => ({
      index,
      message: message.whole(),
      logprobs: request.logprobs ? { content: logprobs, refusal: null } : null,
      finish_reason: choice.finishReason(reason),
    })),
    usage: usageOf(statistics, request.n ?? 1),
  };
}

/** An answer put together of its parts. */
class Message {
  #content = '';
  #thoughts = '';
  readonly #calls: { readonly name: string; arguments: string }[] = [];

  add(part: AnswerPart): void {
    switch (part.kind) {
      case 'text':
        this.#content += part.text;
        return;
      case 'thoughts':
        this.#thoughts += part.text;
        return;
      case 'call':
        this.#calls.push({ name: part.name, arguments: '' });
        return;
      case 'arguments':
        this.#calls[part.index].arguments += part.text;
        return;
      default:
        part satisfies never;
    }
  }

  whole(): object {
    const calls = this.#calls.map((called) => ({ id: callId(), type: 'function', function: called }));
    return {
      role: 'assistant',
      content: calls.length > 0 && this.#content === '' ? null : this.#content,
      refusal: null,
      ...(this.#thoughts !== '' && { reasoning_content: this.#thoughts }),
      ...(calls.length > 0 && { tool_calls: calls }),
    };
  }
}
