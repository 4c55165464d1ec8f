/** From what is asked to token ids, and how long a context that takes. */
import { IngotError } from '../base/errors.ts';
import type { Model } from '../models/model.ts';
import { encodeConversation } from '../tokenizer/conversation.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { EngineOptions, Prompt } from './engine.ts';

/** Jinja programs, as model files carry them. */
export interface ChatTemplates {
  readonly chatTemplate?: string;
  /** Of conversations with tools, where that is another. */
  readonly toolTemplate?: string;
}

export function encodePrompt(
  prompt: Prompt,
  tokenizer: Tokenizer,
  { chatTemplate, toolTemplate = chatTemplate }: ChatTemplates,
): readonly number[] {
  if (typeof prompt === 'string') return tokenizer.encode(prompt);
  if (!('messages' in prompt)) return prompt;
  return encodeConversation(prompt, tokenizer, prompt.tools === undefined ? chatTemplate : toolTemplate);
}

/** @throws IngotError 'InvalidArgument' if there are no tokens, 'ContextOverflow' if there are too many. */
export function fitting(ids: readonly number[], contextLength: number): readonly number[] {
  if (ids.length === 0) throw new IngotError('InvalidArgument', 'the prompt is empty');
  if (ids.length <= contextLength) return ids;
  throw new IngotError('ContextOverflow', `the prompt has ${ids.length} tokens, the context holds ${contextLength}`, {
    hint: 'Shorten the prompt.',
  });
}

/** @throws IngotError 'InvalidArgument', 'ContextOverflow' before anything is read. */
export function chooseContext(
  wanted: EngineOptions['contextLength'],
  { contextLength: longest }: Pick<Model, 'contextLength'>,
  encode: (prompt: Prompt) => readonly number[],
): number {
  if (wanted === undefined) return longest;
  if (typeof wanted === 'object') {
    if ('atMost' in wanted) return Math.min(longest, wanted.atMost);
    return Math.min(longest, fitting(encode(wanted.prompt), longest).length + wanted.maxTokens);
  }
  if (!Number.isInteger(wanted) || wanted < 1) {
    throw new IngotError('InvalidArgument', `contextLength is ${wanted}; it must be a whole number from 1`);
  }
  if (wanted <= longest) return wanted;
  throw new IngotError('ContextOverflow', `a context of ${wanted} tokens is asked for, the model holds ${longest}`, {
    hint: 'Ask for fewer tokens.',
  });
}
