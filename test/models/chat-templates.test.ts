/** Chat templates of real models, rendered as transformers renders them (`make-chat-goldens.py`). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type ChatMessage, renderChat } from '../../src/tokenizer/chat.ts';

const data = process.env.INGOT_TEST_DATA;
const skip = data === undefined ? 'INGOT_TEST_DATA is not set' : false;

interface Golden {
  readonly template: string;
  readonly case: string;
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly unknown[];
  readonly add_generation_prompt: boolean;
  readonly text?: string;
  readonly error?: string;
}

const file = new URL('../../../test/models/fixtures/chat-goldens.json', import.meta.url);
const goldens: readonly Golden[] = JSON.parse(readFileSync(file, 'utf8'));

for (const golden of goldens) {
  test(`${golden.template}: ${golden.case}`, { skip }, () => {
    const template = readFileSync(`${data}/tokenizers/chat-templates/${golden.template}`, 'utf8');
    const render = () =>
      renderChat(template, golden.messages, {
        addGenerationPrompt: golden.add_generation_prompt,
        bosToken: '<s>',
        eosToken: '</s>',
        now: new Date(2024, 6, 26, 9, 5),
        ...(golden.tools === undefined ? {} : { tools: golden.tools }),
      });
    if (golden.text === undefined) assert.throws(render, { code: 'InvalidArgument' });
    else assert.equal(render(), golden.text);
  });
}
