/** From a chat request to a conversation of the engine: messages, tools and which of them the answer has to call. */

import { isIngotError } from '../base/errors.ts';
import { type BegunAnswer, beginAnswer } from '../engine/answer.ts';
import type { Engine } from '../engine/engine.ts';
import type { Conversation } from '../tokenizer/conversation.ts';
import { ApiError } from './failure.ts';
import type { Wanted } from './generation.ts';
import type { Lease } from './models.ts';
import type { ChatRequest } from './requests.ts';
import type { TokenTexts } from './token-texts.ts';

export interface AskedChat extends Pick<BegunAnswer, 'parser'> {
  readonly wanted: Wanted;
}

/** Where nothing is said an answer may fill the context. @throws ApiError 400 for what the model or its template cannot do. */
export async function askedOfChat(
  request: ChatRequest,
  { engine, texts }: Pick<Lease, 'engine' | 'texts'>,
): Promise<AskedChat> {
  checkMessages(request);
  const { conversation, once } = conversationOf(request, engine);
  const { prompt, parser } = await begin(engine, texts, conversation, once);
  return {
    wanted: {
      prompt,
      maxTokens: request.max_completion_tokens ?? request.max_tokens ?? engine.contextLength,
      topLogprobs: request.logprobs ? (request.top_logprobs ?? 0) : 0,
    },
    parser,
  };
}

async function begin(
  engine: Engine,
  texts: TokenTexts,
  conversation: Conversation,
  once: boolean,
): Promise<BegunAnswer> {
  try {
    // Prompts end alike: what their last tokens stand for is known, and no step has to be waited for.
    const asked = { answerFormat: engine.answerFormat, encode: engine.encode.bind(engine), tokenTexts: texts.of };
    return await beginAnswer(asked, conversation, once);
  } catch (error) {
    if (conversation.call === undefined || !isIngotError(error, 'InvalidArgument')) throw error;
    throw unsupported('tool_choice', error.message);
  }
}

function conversationOf(request: ChatRequest, engine: Engine): { conversation: Conversation; once: boolean } {
  const { messages, tools, tool_choice: choice, parallel_tool_calls: parallel, reasoning_effort: effort } = request;
  const variables = {
    ...(effort != null && { reasoning_effort: effort, ...(effort === 'none' && { enable_thinking: false }) }),
    ...request.chat_template_kwargs,
  };
  const asked = { messages, ...(Object.keys(variables).length > 0 && { variables }) };
  const isForced = choice === 'required' || typeof choice === 'object';
  if (tools == null || tools.length === 0) {
    if (!isForced || choice === null) return { conversation: asked, once: false };
    throw new ApiError(400, 'tool_choice asks for a call, and there are no tools', { param: 'tool_choice' });
  }
  // A model that may call nothing is told of nothing to call.
  if (choice === 'none') return { conversation: asked, once: false };
  const strict = tools.findIndex((tool) => tool.function.strict === true);
  if (strict >= 0) throw unsupported(`tools.${strict}.function.strict`, 'arguments are not held to a schema yet');
  const { answerFormat: format } = engine;
  if (format.kind === 'marked' && format.calls === undefined) {
    throw unsupported('tools', "the model's chat template has no calls, or none that are known");
  }
  const conversation = { ...asked, tools };
  if (!isForced || choice === null) return { conversation, once: parallel === false };
  if (choice === 'required') return { conversation: { ...conversation, call: {} }, once: parallel === false };
  const { name } = choice.function;
  if (!tools.some((tool) => tool.function.name === name)) {
    throw new ApiError(400, `tool_choice names ${JSON.stringify(name)}, which is none of the tools`, {
      param: 'tool_choice',
    });
  }
  return { conversation: { ...conversation, call: { name } }, once: true };
}

/** What messages may hold by OpenAI's API, and would be left out of the prompt. */
function checkMessages({ messages }: ChatRequest): void {
  for (const [i, { role, content, function_call: called, audio }] of messages.entries()) {
    const part = Array.isArray(content) ? content.find(({ type }) => type !== 'text') : undefined;
    if (part !== undefined) throw unsupported(`messages.${i}.content`, `of type ${JSON.stringify(part.type)}`);
    if (called != null || role === 'function') throw unsupported(`messages.${i}.function_call`, 'tool_calls are');
    if (audio != null) throw unsupported(`messages.${i}.audio`, 'texts are');
  }
}

function unsupported(param: string, why: string): ApiError {
  return new ApiError(400, `${param} is not supported: ${why}`, { param, code: 'unsupported_parameter' });
}
