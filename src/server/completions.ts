/** `/v1/completions`: texts go on, several at once, whole or as they come. */
import type { FinishReason, GenerateEvent } from '../engine/engine.ts';
import type { Statistics } from '../engine/statistics.ts';
import { type AnswerHead, finishReasons, type TextsOf } from './chat-completions.ts';
import { type ChoiceEvent, usageOf, type Wanted } from './generation.ts';
import type { CompletionRequest } from './requests.ts';

type Token = Extract<GenerateEvent, { kind: 'token' }>;

/** OpenAI's default of 16 tokens. */
export function wantedOfCompletion(request: CompletionRequest): readonly Wanted[] {
  const { prompt, max_tokens: maxTokens, logprobs, best_of: made } = request;
  const isOne = typeof prompt === 'string' || typeof prompt[0] === 'number';
  const prompts = (isOne ? [prompt] : prompt) as readonly (string | readonly number[])[];
  return prompts.map((one) => ({
    prompt: one,
    maxTokens: maxTokens ?? 16,
    topLogprobs: logprobs ?? 0,
    ...(made != null && { made }),
  }));
}

/** Of tokens as they came; `text_offset` counts characters from the beginning of the answer. */
class Logprobs {
  readonly tokens: string[] = [];
  readonly token_logprobs: number[] = [];
  readonly top_logprobs: Record<string, number>[] = [];
  readonly text_offset: number[] = [];

  async add({ id, logprob, top = [] }: Token, offset: number, textsOf: TextsOf): Promise<void> {
    const [own, ...others] = await textsOf([id, ...top.map((each) => each.id)]);
    this.tokens.push(own.text);
    this.token_logprobs.push(logprob);
    this.top_logprobs.push(Object.fromEntries(top.map((each, i) => [others[i].text, each.logprob])));
    this.text_offset.push(offset);
  }
}

const wantsLogprobs = ({ logprobs }: CompletionRequest) => logprobs !== undefined && logprobs !== null;

export async function* completionChunks(
  events: AsyncIterable<ChoiceEvent>,
  request: CompletionRequest,
  head: AnswerHead,
  textsOf: TextsOf,
): AsyncGenerator<object, void, undefined> {
  const chunk = (choices: readonly object[], more: object = {}) => ({
    ...head,
    object: 'text_completion',
    choices,
    ...more,
  });
  const statistics: Statistics[] = [];
  const offsets: number[] = [];
  for await (const { choice: index, event } of events) {
    const offset = offsets[index] ?? 0;
    offsets[index] = offset + event.text.length;
    if (event.kind === 'end') {
      statistics[index] = event.statistics;
      yield chunk([{ index, text: event.text, logprobs: null, finish_reason: finishReasons[event.reason] }]);
      continue;
    }
    const logprobs = wantsLogprobs(request) ? new Logprobs() : null;
    await logprobs?.add(event, offset, textsOf);
    if (logprobs === null && event.text === '') continue;
    yield chunk([{ index, text: event.text, logprobs, finish_reason: null }]);
  }
  if (request.stream_options?.include_usage) yield chunk([], { usage: usageOf(statistics, request.n ?? 1) });
}

export async function completionAnswer(
  events: AsyncIterable<ChoiceEvent>,
  request: CompletionRequest,
  head: AnswerHead,
  textsOf: TextsOf,
): Promise<object> {
  const choices: { text: string; logprobs: Logprobs; reason: FinishReason }[] = [];
  const statistics: Statistics[] = [];
  for await (const { choice, event } of events) {
    choices[choice] ??= { text: '', logprobs: new Logprobs(), reason: 'length' };
    const own = choices[choice];
    if (event.kind === 'token' && wantsLogprobs(request)) await own.logprobs.add(event, own.text.length, textsOf);
    own.text += event.text;
    if (event.kind !== 'end') continue;
    own.reason = event.reason;
    statistics[choice] = event.statistics;
  }
  return {
    ...head,
    object: 'text_completion',
    choices: choices.map(({ text, logprobs, reason }, index) => ({
      index,
      text,
      logprobs: wantsLogprobs(request) ? logprobs : null,
      finish_reason: finishReasons[reason],
    })),
    usage: usageOf(statistics, request.n ?? 1),
  };
}
