/**
 * What chat templates of real models write for thoughts and calls is read back as what it was; and an answer that is made to begin
 * with a call begins as they write one.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { answerFormat } from '../../src/tokenizer/answers/formats.ts';
import { encodeConversation } from '../../src/tokenizer/conversation.ts';
import { dataPath, skipWithoutData } from '../fixtures.ts';
import { parse, piecesOf, toolList, tools } from '../unit/answers-harness.ts';
import { characterTokenizer } from '../unit/scripted-engine.ts';

/** Special tokens of the models' vocabularies that their templates write. */
const specials = [
  ...[
    '<s>',
    '</s>',
    '<|im_start|>',
    '<|im_end|>',
    '<|start_header_id|>',
    '<|end_header_id|>',
    '<|eot_id|>',
    '<|python_tag|>',
  ],
  ...[
    '[INST]',
    '[/INST]',
    '[TOOL_CALLS]',
    '[AVAILABLE_TOOLS]',
    '[/AVAILABLE_TOOLS]',
    '[TOOL_RESULTS]',
    '[/TOOL_RESULTS]',
  ],
  ...['<|start|>', '<|end|>', '<|message|>', '<|channel|>', '<|constrain|>', '<|call|>', '<|return|>'],
  ...[
    '<｜User｜>',
    '<｜Assistant｜>',
    '<｜end▁of▁sentence｜>',
    '<｜tool▁calls▁begin｜>',
    '<｜tool▁calls▁end｜>',
    '<｜tool▁call▁begin｜>',
  ],
  ...['<｜tool▁call▁end｜>', '<｜tool▁sep｜>', '<｜tool▁output▁begin｜>', '<｜tool▁output▁end｜>'],
];
const ends = new Set(['</s>', '<|im_end|>', '<|eot_id|>', '<｜end▁of▁sentence｜>', '<|call|>']);
const tokenizer = characterTokenizer(specials);
const user = { role: 'user', content: 'How is the weather in Köln?' };

/** What the template knows of, and how many calls it writes in one message. */
const expected: Readonly<Record<string, { calls?: string; thoughts?: string; most?: number }>> = {
  'HuggingFaceTB-SmolLM3-3B.jinja': { thoughts: 'think' },
  'NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja': { calls: 'hermes', most: 3 },
  'Qwen-Qwen2.5-7B-Instruct.jinja': { calls: 'hermes', most: 3 },
  'Qwen-Qwen3-0.6B.jinja': { calls: 'hermes', thoughts: 'think', most: 3 },
  'deepseek-ai-DeepSeek-V3.1.jinja': { calls: 'deepSeek', thoughts: 'think', most: 3 },
  'google-gemma-2-2b-it.jinja': {},
  'meta-llama-Llama-3.1-8B-Instruct.jinja': { calls: 'llama', most: 1 },
  'microsoft-Phi-3.5-mini-instruct.jinja': {},
  'mistralai-Mistral-Nemo-Instruct-2407.jinja': { calls: 'mistral', most: 3 },
  'openai-gpt-oss-120b.jinja': { calls: 'harmony', thoughts: 'harmony', most: 1 },
};

const read = (name: string) => readFileSync(dataPath('tokenizers', 'chat-templates', name), 'utf8');
const words = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.constantFrom(
    '<tool_call>',
    '</tool_call>',
    '[TOOL_CALLS]',
    '<|call|>',
    '"',
    '}',
    '<｜tool▁call▁end｜>',
    '\n',
    '```',
    '🦙',
  ),
);
const callOf = fc.record({
  name: fc.constantFrom(...tools.keys()),
  arguments: fc.dictionary(
    fc.stringMatching(/^[a-z_]{1,6}$/),
    fc.oneof(
      words,
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.array(words, { maxLength: 2 }),
      fc.dictionary(words, fc.integer(), { maxKeys: 2 }),
    ),
    { maxKeys: 4 },
  ),
});

/** The tokens of an answer, as the template writes it after its prompt; without the end. */
function written(template: string, message: Readonly<Record<string, unknown>>): readonly number[] {
  const before = encodeConversation({ messages: [user], tools: toolList }, tokenizer, template);
  const result = { role: 'tool', tool_call_id: 'abcdefgh0', content: 'x' };
  const whole = encodeConversation(
    { messages: [user, { role: 'assistant', content: null, ...message }, result], tools: toolList },
    tokenizer,
    template,
  );
  const same = before.findIndex((id, i) => id !== whole[i]);
  assert.ok(same < 0, `the prompt goes on: ${tokenizer.decode(before.slice(same), { special: true })}`);
  const rest = whole.slice(before.length);
  return rest.slice(
    0,
    rest.findIndex((id) => ends.has(tokenizer.tokenText(id))),
  );
}

const piece = (id: number) =>
  tokenizer.tokenBytes(id).length === 0
    ? { text: '', special: tokenizer.tokenText(id) }
    : { text: tokenizer.tokenText(id) };

test('the format of every template is found in its text', { skip: skipWithoutData }, () => {
  assert.deepEqual(readdirSync(dataPath('tokenizers', 'chat-templates')).sort(), Object.keys(expected).sort());
  for (const [name, { calls, thoughts }] of Object.entries(expected)) {
    const format = answerFormat(read(name), tokenizer);
    const found =
      format.kind === 'harmony'
        ? { calls: 'harmony', thoughts: 'harmony' }
        : { calls: format.calls, thoughts: format.thoughts };
    assert.deepEqual(found, { calls, thoughts }, name);
  }
});

for (const [name, { calls: known, most = 0 }] of Object.entries(expected)) {
  if (known === undefined) continue;
  test(`${name}: calls that it writes are read as what they were`, { skip: skipWithoutData }, () => {
    const template = read(name);
    const format = answerFormat(template, tokenizer);
    fc.assert(
      fc.property(fc.array(callOf, { minLength: 1, maxLength: most }), (calls) => {
        const message = {
          tool_calls: calls.map((call, i) => ({
            ...{ id: `abcdefgh${i}`, type: 'function' },
            function: { name: call.name, arguments: JSON.stringify(call.arguments) },
          })),
        };
        const answer = parse(format, written(template, message).map(piece), { tools });
        assert.deepEqual(
          answer.calls.map((call) => ({ name: call.name, arguments: JSON.parse(call.arguments) })),
          calls.map((call) => ({ name: call.name, arguments: JSON.parse(JSON.stringify(call.arguments)) })),
        );
        assert.equal(answer.text, '');
      }),
      { seed: 20261128, numRuns: 25 },
    );
  });

  test(`${name}: an answer that has to be a call begins as it writes one`, { skip: skipWithoutData }, () => {
    const template = read(name);
    const format = answerFormat(template, tokenizer);
    const asked = { messages: [user], tools: toolList };
    const before = encodeConversation(asked, tokenizer, template);
    for (const call of [{}, { name: 'get_weather' }]) {
      const opened = encodeConversation({ ...asked, call }, tokenizer, template);
      assert.deepEqual(opened.slice(0, before.length), before);
      const opening = opened.slice(before.length);
      const call1 = {
        id: 'abcdefgh1',
        type: 'function',
        function: { name: 'get_weather', arguments: '{"town": "Köln"}' },
      };
      const all = written(template, { tool_calls: [call1] });
      // Some write an answer in another way once it is an earlier one: without its empty thoughts.
      const at = tokenizer.decode(all, { special: true });
      const begun = tokenizer.decode(opening, { special: true }).replace('<think>\n\n</think>\n\n', '');
      assert.ok(at.startsWith(begun), `${JSON.stringify(begun)} begins ${JSON.stringify(at)}`);
      assert.ok(begun.includes('get_weather') === (call.name !== undefined) && begun.length > 4, begun);
      const rest = piecesOf(at.slice(begun.length), specials);
      const { calls } = parse(format, [...opening.map(piece), ...rest], { tools });
      assert.deepEqual(
        calls.map((each) => [each.name, JSON.parse(each.arguments)]),
        [['get_weather', { town: 'Köln' }]],
      );
    }
  });
}

test('thoughts that templates write into the last answer are read as such', { skip: skipWithoutData }, () => {
  const thought = { role: 'assistant', content: 'Yes.', reasoning_content: 'Hm.\n\nSo.' };
  const template = read('Qwen-Qwen3-0.6B.jinja');
  const format = answerFormat(template, tokenizer);
  const prompt = encodeConversation({ messages: [user] }, tokenizer, template);
  // A tool's answer follows, so that it is not an earlier turn.
  const messages = [user, { ...thought, tool_calls: [] }, { role: 'tool', content: 'x', tool_call_id: 'a' }];
  const whole = encodeConversation({ messages }, tokenizer, template).slice(prompt.length);
  const end = whole.findIndex((id) => tokenizer.tokenText(id) === '<|im_end|>');
  const { text, thoughts } = parse(format, whole.slice(0, end).map(piece), { tools });
  assert.deepEqual([thoughts, text], ['Hm.\n\nSo.', 'Yes.']);
});
