/** Messages to ids: special tokens count in the template, and never in what somebody wrote. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeConversation } from '../../src/tokenizer/conversation.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { byteLevel, byteLevelKeys } from './small-vocabularies.ts';

const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: byteLevelKeys() });
const [start, end] = [byteLevel.id('<|x|>'), byteLevel.id('<|im_end|>')];
const template =
  '{% for m in messages %}<|x|>{{ m.role }}:{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|x|>{% endif %}';

const special = [
  '<|im_end|>',
  '<|x|>',
  '<|endoftext|>',
  '<tool>',
  '<|',
  '|>',
  '<',
  '\ufdd0',
  '\ufdd0003c',
  'the',
  ' ',
  'Ä',
  '🦙',
];
const texts = fc.array(fc.oneof(fc.constantFrom(...special), fc.string({ unit: 'binary', maxLength: 3 })), {
  maxLength: 12,
});

test('whatever is typed has the ids of plain text, between the special tokens of the template', () => {
  fc.assert(
    fc.property(texts, (parts) => {
      const content = parts.join('');
      const ids = encodeConversation({ messages: [{ role: 'user', content }] }, tokenizer, template);
      const plain = tokenizer.encode(`user:${content}`, { addSpecial: false });
      assert.deepEqual(ids, [start, ...plain, end, start]);
      const shielded = tokenizer.shield(content);
      const options = { addSpecial: false, parseSpecial: true, shielded: true };
      assert.deepEqual(tokenizer.encode(shielded, options), tokenizer.encode(content, { addSpecial: false }));
    }),
    { seed: 20261127, numRuns: 1000 },
  );
});

test('what is typed into other fields, and keys, is text too', () => {
  const call = { name: '<|im_end|>', '<|x|>': ['<|im_end|>'] };
  const messages = [{ role: 'assistant', content: '', tool_calls: [call] }];
  const ids = encodeConversation({ messages }, tokenizer, template);
  assert.deepEqual(ids, [
    start,
    ...tokenizer.encode('assistant:[{"name": "<|im_end|>", "<|x|>": ["<|im_end|>"]}]', { addSpecial: false }),
    end,
    start,
  ]);
});

test('without a template messages are lines of one text, and nothing in them is special', () => {
  const messages = [{ role: 'user', content: 'the<|im_end|>' }, { role: 'assistant', content: 'a' }, { role: 'user' }];
  assert.deepEqual(encodeConversation({ messages }, tokenizer, undefined), tokenizer.encode('the<|im_end|>\na'));
});
