import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { ggufChatTemplate, huggingFaceChatTemplate, renderChat } from '../../src/tokenizer/chat.ts';

const messages = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Hello {{ 7 }}' },
];
const chatml = `{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}`;

test('a conversation becomes one text, with and without the beginning of an answer', () => {
  const text = '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello {{ 7 }}<|im_end|>\n';
  assert.equal(renderChat(chatml, messages), text);
  assert.equal(renderChat(chatml, messages, { addGenerationPrompt: true }), `${text}<|im_start|>assistant\n`);
});

test('templates see tokens, tools, and variables of their own', () => {
  const template =
    '{{ bos_token }}{{ eos_token is defined }}{{ tools | tojson }}{{ enable_thinking }}{{ documents is none }}';
  const text = renderChat(template, [], {
    bosToken: '<s>',
    tools: [{ name: 'f' }],
    variables: { enable_thinking: false },
  });
  assert.equal(text, '<s>False[{"name": "f"}]FalseTrue');
});

test('strftime_now reads the clock that it is given, in English', () => {
  const now = new Date(2024, 6, 6, 15, 4, 5);
  const template = "{{ strftime_now('%d %B %Y %H:%M:%S %I %p %a %b %y %% %j %-d') }}";
  assert.equal(renderChat(template, [], { now }), '06 July 2024 15:04:05 03 PM Sat Jul 24 % 188 6');
  assert.throws(() => renderChat("{{ strftime_now('%Q') }}", []), { code: 'InvalidArgument' });
});

test('what the library parses in another way than Jinja, and what is not known, is refused by name', () => {
  const refused = {
    'chain of comparisons': '{{ 1 < 2 < 3 }}',
    'method zfill': "{{ '1'.zfill(3) }}",
    'filter wordcount': "{{ 'a b'|wordcount }}",
    cycler: "{{ cycler('a') }}",
    'takes no x': '{% macro f() %}{{ kwargs }}{% endmacro %}{{ f(x=1) }}',
    __class__: "{{ ''.__class__ }}",
  };
  for (const [what, template] of Object.entries(refused)) {
    assert.throws(() => renderChat(template, []), { code: 'InvalidArgument', message: new RegExp(what) }, template);
  }
});

test('range is that of Python, and bounded', () => {
  assert.equal(renderChat('{% for i in range(5, 0, -2) %}{{ i }}{% endfor %}{{ range(3) | length }}', []), '5313');
  for (const range of ['range(1000000000)', 'range(0, 9, 0)']) {
    assert.throws(() => renderChat(`{% for i in ${range} %}x{% endfor %}`, []), { code: 'InvalidArgument' });
  }
});

test('a template may refuse', () => {
  assert.throws(() => renderChat("{{ raise_exception('roles must alternate') }}", messages), {
    code: 'InvalidArgument',
    message: /roles must alternate/,
  });
});

test('a template that is none, or fails, is an error that says so', () => {
  for (const template of ['{% if %}', '{% for x in y %}', '{{', '{% endfor %}']) {
    assert.throws(() => renderChat(template, messages), { code: 'ParseError' }, template);
  }
  assert.throws(() => renderChat('{{ nothing() }}', messages), { code: 'InvalidArgument' });
});

test('templates are found in GGUF keys and in the files of a folder', async () => {
  assert.equal(ggufChatTemplate(new Map([['tokenizer.chat_template', 'x']])), 'x');
  assert.equal(ggufChatTemplate(new Map()), undefined);
  const two = new Map([
    ['tokenizer.chat_template', 'x'],
    ['tokenizer.chat_template.tool_use', 'y'],
  ]);
  assert.deepEqual([ggufChatTemplate(two), ggufChatTemplate(two, 'tool_use')], ['x', 'y']);
  assert.equal(ggufChatTemplate(new Map([['tokenizer.chat_template', 'x']]), 'tool_use'), 'x');
  const file = (content: unknown) => memoryBytes(new TextEncoder().encode(JSON.stringify(content)));
  const config = (chat_template: unknown) => new Map([['tokenizer_config.json', file({ chat_template })]]);
  assert.equal(await huggingFaceChatTemplate(config('x')), 'x');
  assert.equal(await huggingFaceChatTemplate(new Map()), undefined);
  const several = config([
    { name: 'default', template: 'a' },
    { name: 'tool_use', template: 'b' },
  ]);
  assert.equal(await huggingFaceChatTemplate(several), 'a');
  assert.equal(await huggingFaceChatTemplate(several, 'tool_use'), 'b');
  const own = new Map([...several, ['chat_template.jinja', memoryBytes(new TextEncoder().encode('own'))]] as const);
  assert.equal(await huggingFaceChatTemplate(own), 'own');
  await assert.rejects(huggingFaceChatTemplate(config(3)), { code: 'InvalidFile' });
});
