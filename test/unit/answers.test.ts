/**
 * Answers in the formats of published models (their cards and chat templates): thoughts, text and calls come apart, however the text
 * was cut into tokens.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { AnswerFormat } from '../../src/tokenizer/answers/formats.ts';
import { harmonyWords } from '../../src/tokenizer/answers/harmony.ts';
import { type AnswerOptions, AnswerParser } from '../../src/tokenizer/answers/parser.ts';
import { type Answer, cut, marked, parse, piecesOf, tools } from './answers-harness.ts';

interface Transcript {
  readonly format: AnswerFormat;
  readonly written: string;
  readonly read: Partial<Answer>;
  readonly options?: AnswerOptions;
}

const weather = (written: string) => ({ name: 'get_weather', arguments: written });
const koeln = '{"town": "Köln 🌦", "days": 3, "exact": true}';
const quoted = '{"town": "He said \\"{hi}\\" </tool_call>\\n", "days": [1, {"a": {}}]}';
const deepSeekWords = [
  '<｜tool▁calls▁begin｜>',
  '<｜tool▁call▁begin｜>',
  '<｜tool▁sep｜>',
  '<｜tool▁call▁end｜>',
  '<｜tool▁calls▁end｜>',
];
const harmony: AnswerFormat = { kind: 'harmony', specials: harmonyWords };

const transcripts: Readonly<Record<string, Transcript>> = {
  'plain text': {
    format: marked(),
    written: ' Hello <think> {"name": "x"} \n',
    read: { text: ' Hello <think> {"name": "x"} \n' },
  },
  'text of a model with tools': {
    format: marked('hermes', 'think'),
    written: 'a < b, <tool, </tool_cal and <think> in the middle \n\n',
    read: { text: 'a < b, <tool, </tool_cal and <think> in the middle \n\n' },
  },
  'Hermes: text, then two calls': {
    format: marked('hermes'),
    written: `Let me see.\n<tool_call>\n{"name": "get_weather", "arguments": ${koeln}}\n</tool_call>\n<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>`,
    read: { text: 'Let me see.', calls: [weather(koeln), { name: 'now', arguments: '{}' }] },
  },
  'Hermes: marks, quotes and brackets in a string': {
    format: marked('hermes'),
    written: `<tool_call>{"name": "get_weather", "arguments": ${quoted}}</tool_call>`,
    read: { calls: [weather(quoted)] },
  },
  'Hermes: arguments before the name, and other fields': {
    format: marked('hermes'),
    written: `<tool_call>{"arguments": {"name": "x"}, "id": [1, "}"], "name": "get_weather"}</tool_call> Done.`,
    read: { text: 'Done.', calls: [weather('{"name": "x"}')] },
  },
  'Hermes: arguments written into a string, as Granite 4 does': {
    format: marked('hermes'),
    written: '<tool_call>{"name": "get_weather", "arguments": "{\\"town\\": \\"Bonn\\"}"}</tool_call>',
    read: { calls: [weather('{"town": "Bonn"}')] },
  },
  'Hermes: no arguments, and none that are any': {
    format: marked('hermes'),
    written: '<tool_call>{"name": "now"}</tool_call><tool_call>{"name": "now", "arguments": null}</tool_call>',
    read: {
      calls: [
        { name: 'now', arguments: '{}' },
        { name: 'now', arguments: '{}' },
      ],
    },
  },
  'Hermes: the end is missing': {
    format: marked('hermes'),
    written: `<tool_call>\n{"name": "get_weather", "arguments": ${koeln}}`,
    read: { calls: [weather(koeln)] },
  },
  'Hermes: cut in the middle of the arguments': {
    format: marked('hermes'),
    written: '<tool_call>\n{"name": "get_weather", "arguments": {"town": "Kö',
    read: { calls: [weather('{"town": "Kö')] },
  },
  'Hermes: what is no call is text': {
    format: marked('hermes'),
    written: 'Write \n<tool_call>\nthe call\n</tool_call> so, or <tool_call>{"nam": 1}',
    read: { text: 'Write \n<tool_call>\nthe call\n</tool_call> so, or <tool_call>{"nam": 1}' },
  },
  'Hermes: cut before the name is known': {
    format: marked('hermes'),
    written: 'Yes. <tool_call>{"name": "get_w',
    read: { text: 'Yes. <tool_call>{"name": "get_w' },
  },
  'without tools calls are text': {
    format: marked('hermes', 'think'),
    options: {},
    written: `<think>\nHm.\n</think>\n\n<tool_call>{"name": "now", "arguments": {}}</tool_call>`,
    read: { thoughts: 'Hm.', text: '<tool_call>{"name": "now", "arguments": {}}</tool_call>' },
  },
  'Qwen3: thoughts, text, a call': {
    format: marked('hermes', 'think'),
    written: `<think>\nThe user asks.\n\nSo </thin> I call.\n</think>\n\nOne moment.\n\n<tool_call>\n{"name": "get_weather", "arguments": ${koeln}}\n</tool_call>`,
    read: { thoughts: 'The user asks.\n\nSo </thin> I call.', text: 'One moment.', calls: [weather(koeln)] },
  },
  'thoughts that the prompt began': {
    format: marked('hermes', 'think'),
    options: { tools, thinking: true },
    written: '\nHm.</think>\n\n Hello\n',
    read: { thoughts: 'Hm.', text: 'Hello\n' },
  },
  'thoughts without an end': {
    format: marked(undefined, 'think'),
    options: {},
    written: '<think>\nHm. \nSo',
    read: { thoughts: 'Hm. \nSo' },
  },
  'Magistral: thoughts between special tokens, in the middle too': {
    format: marked('mistral', 'mistral', ['[THINK]', '[/THINK]', '[TOOL_CALLS]', '[ARGS]', '[CALL_ID]']),
    written: `[THINK]Hm.[/THINK]Well,[THINK] no.[/THINK] I ask.[TOOL_CALLS]get_weather[ARGS]${koeln}[TOOL_CALLS]now[CALL_ID]abc123def[ARGS]{}`,
    read: { thoughts: 'Hm.no.', text: 'Well, I ask.', calls: [weather(koeln), { name: 'now', arguments: '{}' }] },
  },
  'Granite 3.3: thoughts and a response in tags': {
    format: marked('granite', 'response'),
    written: '<think>Hm.</think>\n<response>Hello.</response>',
    read: { thoughts: 'Hm.', text: 'Hello.' },
  },
  'Granite 3.2: thoughts in words': {
    format: marked('granite', 'granite'),
    written: 'Here is my thought process:\n\nHm.\n\nHere is my response:\n\nHello.',
    read: { thoughts: 'Hm.', text: 'Hello.' },
  },
  'Granite 3: a list after a special token': {
    format: marked('granite', undefined, ['<|tool_call|>']),
    written: `<|tool_call|> [\n  {"name": "get_weather", "arguments": ${koeln}},\n  {"arguments": {}, "name": "now"}\n]`,
    read: { calls: [weather(koeln), { name: 'now', arguments: '{}' }] },
  },
  'Phi-4-mini: in tags, and as functools': {
    format: marked('phi', undefined, ['<|tool_call|>', '<|/tool_call|>']),
    written: `Use functools.wraps. <|tool_call|>[{"name": "get_weather", "arguments": ${koeln}}]<|/tool_call|>functools[{"name": "now", "arguments": {}}]`,
    read: { text: 'Use functools.wraps.', calls: [weather(koeln), { name: 'now', arguments: '{}' }] },
  },
  'Mistral Nemo: a list': {
    format: marked('mistral', undefined, ['[TOOL_CALLS]']),
    written: `Hello[TOOL_CALLS] [{"name": "get_weather", "arguments": ${koeln}, "id": "abcdef123"}, {"name": "now", "arguments": {}, "id": "123456789"}]`,
    read: { text: 'Hello', calls: [weather(koeln), { name: 'now', arguments: '{}' }] },
  },
  'Mistral Small: names and arguments': {
    format: marked('mistral', undefined, ['[TOOL_CALLS]']),
    written: `[TOOL_CALLS]get_weather${koeln}[TOOL_CALLS]now{}`,
    read: { calls: [weather(koeln), { name: 'now', arguments: '{}' }] },
  },
  'Mistral: a special token that no call follows': {
    format: marked('mistral', undefined, ['[TOOL_CALLS]']),
    written: 'Well. [TOOL_CALLS] I mean nothing.',
    read: { text: 'Well.  I mean nothing.' },
  },
  'DeepSeek V3: blocks of Markdown': {
    format: marked('deepSeek', 'think', deepSeekWords),
    written: `Sure.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n\`\`\`json\n${koeln}\n\`\`\`<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n\`\`\`json\n{}\n\`\`\`<｜tool▁call▁end｜><｜tool▁calls▁end｜>`,
    read: { text: 'Sure.', calls: [weather(koeln), { name: 'now', arguments: '{}' }] },
  },
  'DeepSeek V3.1: names and arguments': {
    format: marked('deepSeek', 'think', deepSeekWords),
    options: { tools, thinking: true },
    written: `Hm.</think>Sure.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>${koeln}<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>`,
    read: { thoughts: 'Hm.', text: 'Sure.', calls: [weather(koeln), { name: 'now', arguments: '{}' }] },
  },
  'Llama 3: an object of a tool': {
    format: marked('llama', undefined, ['<|python_tag|>']),
    written: `{"name": "get_weather", "parameters": ${koeln}}; {"type": "function", "name": "now", "parameters": {}}`,
    read: { calls: [weather(koeln), { name: 'now', arguments: '{}' }] },
  },
  'Llama 3: after its special token, and within text': {
    format: marked('llama', undefined, ['<|python_tag|>']),
    written: `<|python_tag|>{"name": "now", "parameters": {}}\nI call {"name": "get_weather", "parameters": ${koeln}} now.`,
    read: { text: 'I call now.', calls: [{ name: 'now', arguments: '{}' }, weather(koeln)] },
  },
  'Llama 3: other objects are text': {
    format: marked('llama', undefined, ['<|python_tag|>']),
    written: 'So: {"name": "Anna", "parameters": {}} and {"query": {"a": 1}}, { x } or \n {\n "name": "now"}',
    read: { text: 'So: {"name": "Anna", "parameters": {}} and {"query": {"a": 1}}, { x } or \n {\n "name": "now"}' },
  },
  'Qwen3-Coder: tags, with types from the schema': {
    format: marked('functions'),
    written:
      'I see.\n<tool_call>\n<function=area>\n<parameter=shape>\n"round" 🦙\n\n</parameter>\n<parameter=size>\n{"w": 10,\n "h": [1]}\n</parameter>\n<parameter=digits>\nNone\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=get_weather>\n<parameter=days>\n3\n</parameter>\n<parameter=exact>\nTrue\n</parameter>\n<parameter=town>\n5\n</parameter>\n<parameter=other>\nfive\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>',
    read: {
      text: 'I see.',
      calls: [
        { name: 'area', arguments: '{"shape": "\\"round\\" 🦙\\n", "size": {"w": 10,\n "h": [1]}, "digits": null}' },
        weather('{"days": 3, "exact": true, "town": "5", "other": "five"}'),
        { name: 'now', arguments: '{}' },
      ],
    },
  },
  'Functionary: an object in a tag': {
    format: marked('functions'),
    written: `<function=get_weather>${koeln}</function><function=now>{}</function>`,
    read: { calls: [weather(koeln), { name: 'now', arguments: '{}' }] },
  },
  'gpt-oss: thoughts, a word to the reader, a call': {
    format: harmony,
    written: `<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>${koeln}<|call|>`,
    read: { thoughts: 'Hm.', text: 'I look.', calls: [weather(koeln)] },
  },
  'gpt-oss: the function before the channel, two thoughts, an answer': {
    format: harmony,
    written: `<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>analysis<|message|>So.<|end|><|start|>assistant to=functions.now<|channel|>commentary json<|message|><|end|><|start|>assistant<|channel|>final<|message|>Hello.\n`,
    read: { thoughts: 'Hm.\n\nSo.', text: 'Hello.\n', calls: [{ name: 'now', arguments: '{}' }] },
  },
  'gpt-oss without its channels': { format: harmony, written: 'Hello.', read: { text: 'Hello.' } },
};

for (const [name, { format, written, read, options = { tools } }] of Object.entries(transcripts)) {
  test(name, () => {
    const pieces = piecesOf(written, format.specials);
    const answer = parse(format, pieces, options);
    assert.deepEqual(answer, { text: '', thoughts: '', calls: [], ...read });
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 20 }), (sizes) => {
        assert.deepEqual(parse(format, cut(pieces, sizes), options), answer);
      }),
      { seed: 20261128, numRuns: 30, examples: [[[1]], [[2]]] },
    );
  });
}

test('what is certain is given out at once', () => {
  const parser = new AnswerParser(marked('hermes', 'think'), { tools });
  const said = (text: string) => parser.push(text).map((part) => ('text' in part ? part.text : part.name));
  assert.deepEqual(said('<thi'), []);
  assert.deepEqual(said('nk>\nHm'), ['Hm']);
  assert.deepEqual(said('. </'), ['.']);
  assert.deepEqual(said('think>\n\nWell <tool'), ['Well']);
  assert.deepEqual(said('s> '), [' <tools>']);
  assert.deepEqual(said('<tool_call>\n{"name": "get_weather", "arg'), []);
  assert.deepEqual(said('uments": {"to'), ['get_weather', '{"to']);
  assert.deepEqual(said('wn": "B'), ['wn": "B']);
  assert.deepEqual(said('onn"}'), ['onn"}']);
  assert.deepEqual(said('}\n</tool_call>'), []);
  assert.deepEqual(parser.end(), []);
});

test('an object that is no call is not held back until its end', () => {
  const parser = new AnswerParser(marked('llama'), { tools });
  assert.deepEqual(parser.push('{"result": ["'), [{ kind: 'text', text: '{"result": ["' }]);
  assert.deepEqual(parser.push('a'), [{ kind: 'text', text: 'a' }]);
});

test('text that spells a special token marks nothing, and special tokens without a meaning are passed over', () => {
  const format = marked('mistral', 'mistral', ['[TOOL_CALLS]', '[THINK]', '[/THINK]']);
  const spelled = parse(format, [{ text: 'Say [TOOL_CALLS]now{} ' }, { text: '', special: '<pad>' }, { text: '!' }], {
    tools,
  });
  assert.deepEqual(spelled, { text: 'Say [TOOL_CALLS]now{} !', thoughts: '', calls: [] });
  const meant = parse(format, [{ text: 'Say ' }, { text: '', special: '[TOOL_CALLS]' }, { text: 'now{}' }], { tools });
  assert.deepEqual(meant.calls, [{ name: 'now', arguments: '{}' }]);
});

test('an answer may be over with its first call', () => {
  const call = '<tool_call>{"name": "now", "arguments": {}}</tool_call>';
  const { text, calls } = parse(marked('hermes'), [{ text: `a${call}${call}b` }], { tools, once: true });
  assert.deepEqual([text, calls], ['a', [{ name: 'now', arguments: '{}' }]]);
});

test('whatever a model writes, nothing fails, and every way to cut it gives the same', () => {
  const words = [
    '<tool_call>',
    '</tool_call>',
    '<think>',
    '</think>',
    '{"name": "now", "arguments": ',
    '{',
    '}',
    '[',
    ']',
    '"',
    '\\',
    ',',
    ':',
    ' ',
    '\n',
    'now',
    '<function=',
    '<parameter=',
    '</parameter>',
    '</function>',
    '>',
    '[TOOL_CALLS]',
    '[ARGS]',
    ...deepSeekWords,
    ...harmonyWords,
    '```json',
    '\ufdd1',
    '🦙',
  ];
  const written = fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ unit: 'grapheme', maxLength: 3 })), {
    maxLength: 30,
  });
  const formats = [...new Set(Object.values(transcripts).map(({ format }) => format))];
  fc.assert(
    fc.property(
      written,
      fc.constantFrom(...formats),
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1 }),
      (parts, format, sizes) => {
        const pieces = piecesOf(parts.join(''), format.specials);
        assert.deepEqual(parse(format, cut(pieces, sizes), { tools }), parse(format, pieces, { tools }));
      },
    ),
    { seed: 20261128, numRuns: 1000 },
  );
});
