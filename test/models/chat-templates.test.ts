/** Chat templates of real models, and what else Jinja does, rendered as transformers renders them (`make-chat-goldens.py`). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { type ChatMessage, type ChatOptions, renderChat } from '../../src/tokenizer/chat.ts';
import { dataPath, fixtures, skipWithoutData } from '../fixtures.ts';

interface Rendered {
  readonly text?: string;
  readonly error?: string;
}
interface Conversation extends Rendered {
  readonly template: string;
  readonly case: string;
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly unknown[];
  readonly add_generation_prompt: boolean;
  readonly variables?: Readonly<Record<string, unknown>>;
}
interface Snippet extends Rendered {
  readonly snippet: string;
}

const {
  values,
  goldens,
}: { readonly values: Readonly<Record<string, unknown>>; readonly goldens: readonly (Conversation | Snippet)[] } =
  JSON.parse(readFileSync(`${fixtures('models')}/chat-goldens.json`, 'utf8'));

function check(golden: Rendered, template: string, messages: readonly ChatMessage[], options: ChatOptions): void {
  const now = new Date(2024, 6, 26, 9, 5);
  const render = () => renderChat(template, messages, { bosToken: '<s>', eosToken: '</s>', now, ...options });
  if (golden.text === undefined) assert.throws(render, (error) => isIngotError(error), template);
  else assert.equal(render(), golden.text);
}

for (const golden of goldens) {
  if ('snippet' in golden) {
    test(`Jinja: ${golden.snippet.slice(0, 60)}`, () => check(golden, golden.snippet, [], { variables: values }));
  } else {
    test(`${golden.template}: ${golden.case}`, { skip: skipWithoutData }, () => {
      const template = readFileSync(dataPath('tokenizers', 'chat-templates', golden.template), 'utf8');
      const { messages, tools, variables = {}, add_generation_prompt: addGenerationPrompt } = golden;
      check(golden, template, messages, { addGenerationPrompt, variables, ...(tools !== undefined && { tools }) });
    });
  }
}
