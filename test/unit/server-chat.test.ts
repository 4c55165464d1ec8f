/** Tools and thoughts over HTTP, as OpenAI's own client and the AI SDK see them; what the model writes is written down. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { jsonSchema, stepCountIs, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { scriptedApp } from './scripted-app.ts';

const template = `{%- if tools %}<s>tools{% for tool in tools %} {{ tool | tojson }}{% endfor %}
{% endif %}{%- for m in messages %}<s>{{ m.role }}
{% if m.reasoning_content and loop.last %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}{% for call in m.tool_calls %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}</s>
{% endfor %}{% if add_generation_prompt %}<s>assistant
{% if thinking %}<think>
{% endif %}{% endif %}`;
const specials = ['<s>', '</s>'];
const weather = {
  type: 'function' as const,
  function: {
    name: 'get_weather',
    description: 'The weather',
    parameters: { type: 'object', properties: { town: { type: 'string' } } },
  },
};
const now = { type: 'function' as const, function: { name: 'now' } };
const user = { role: 'user' as const, content: 'How is the weather in Köln?' };
const called =
  '<think>\nA call.\n</think>\n\nI look.\n<tool_call>\n{"name": "get_weather", "arguments": {"town": "Köln 🌦"}}\n</tool_call>\n<tool_call>\n{"name": "now"}\n</tool_call></s>';

const asked = { model: 'scripted', messages: [user], tools: [weather, now] };
const clientOf = (app: ReturnType<typeof scriptedApp>) =>
  new OpenAI({ apiKey: 'none', baseURL: 'http://ingot/v1', fetch: app.fetch, maxRetries: 0 });

test("OpenAI's client: an answer with thoughts, text and calls, whole", async () => {
  const app = scriptedApp(template, [called], specials);
  const { choices } = await clientOf(app).chat.completions.create(asked);
  const [{ message, finish_reason: reason }] = choices;
  assert.equal(reason, 'tool_calls');
  assert.equal(message.content, 'I look.');
  assert.equal((message as { reasoning_content?: string }).reasoning_content, 'A call.');
  const calls = message.tool_calls ?? [];
  assert.deepEqual(
    calls.map((call) => call.type === 'function' && [call.function.name, call.function.arguments]),
    [
      ['get_weather', '{"town": "Köln 🌦"}'],
      ['now', '{}'],
    ],
  );
  assert.ok(calls.every(({ id }) => /^[a-z0-9]{9}$/.test(id)));
  assert.notEqual(calls[0]?.id, calls[1]?.id);
  assert.match(app.prompts[0] ?? '', /^<s>tools \{"type": "function", "function": \{"name": "get_weather"/);
  // What is left out of a tool is no gap for a template.
  assert.match(
    app.prompts[0] ?? '',
    /\{"name": "now", "description": "", "parameters": \{"type": "object", "properties": \{\}\}\}/,
  );
});

test("OpenAI's client: the same as it comes, event by event", async () => {
  const app = scriptedApp(template, [called], specials);
  const stream = await clientOf(app).chat.completions.create({
    ...asked,
    stream: true,
    stream_options: { include_usage: true },
  });
  const deltas: {
    role?: string;
    content?: string | null;
    reasoning_content?: string;
    tool_calls?: readonly object[];
  }[] = [];
  const reasons: (string | null)[] = [];
  let usage: unknown;
  for await (const chunk of stream) {
    const [choice] = chunk.choices;
    if (choice === undefined) {
      usage = chunk.usage;
      continue;
    }
    assert.equal(chunk.usage, null);
    deltas.push(choice.delta);
    reasons.push(choice.finish_reason);
  }
  assert.deepEqual(deltas[0], { role: 'assistant', content: '' });
  const join = (key: 'content' | 'reasoning_content') => deltas.map((delta) => delta[key] ?? '').join('');
  assert.deepEqual([join('reasoning_content'), join('content')], ['A call.', 'I look.']);
  const parts = deltas.flatMap((delta) => delta.tool_calls ?? []) as {
    index: number;
    id?: string;
    type?: string;
    function: { name?: string; arguments: string };
  }[];
  // A call begins with its name and id, without arguments; its arguments follow, in pieces.
  const begins = parts.filter(({ id }) => id !== undefined);
  assert.deepEqual(
    begins.map(({ index, type, function: called }) => [index, type, called]),
    [
      [0, 'function', { name: 'get_weather', arguments: '' }],
      [1, 'function', { name: 'now', arguments: '' }],
    ],
  );
  const pieces = parts.filter(({ id }) => id === undefined);
  assert.ok(pieces.filter(({ index }) => index === 0).length > 5);
  assert.ok(
    pieces.every(
      (piece) => Object.keys(piece).join() === 'index,function' && Object.keys(piece.function).join() === 'arguments',
    ),
  );
  assert.equal(
    pieces
      .filter(({ index }) => index === 0)
      .map((piece) => piece.function.arguments)
      .join(''),
    '{"town": "Köln 🌦"}',
  );
  assert.deepEqual(
    reasons.filter((reason) => reason !== null),
    ['tool_calls'],
  );
  assert.equal(reasons.at(-1), 'tool_calls');
  assert.ok((usage as OpenAI.CompletionUsage).completion_tokens > 100);
});

test('an answer that is cut says so, calls or not; and log-probabilities are those of its tokens', async () => {
  const app = scriptedApp(template, [called], specials);
  const { choices } = await clientOf(app).chat.completions.create({
    ...asked,
    max_tokens: 110,
    logprobs: true,
    top_logprobs: 1,
  });
  assert.equal(choices[0]?.finish_reason, 'length');
  assert.equal(choices[0]?.message.tool_calls?.length, 1);
  assert.equal(choices[0]?.logprobs?.content?.length, 110);
  const stream = await clientOf(app).chat.completions.create({ ...asked, logprobs: true, stream: true });
  let tokens = 0;
  for await (const chunk of stream) tokens += chunk.choices[0]?.logprobs?.content?.length ?? 0;
  assert.equal(tokens, Array.from(called).length - '</s>'.length);
});

test('which tool is to be called: none, any, one, and only one', async () => {
  const opening = '\n<tool_call>\n{"name": "';
  const app = scriptedApp(
    template,
    [
      'Hello.</s>',
      `get_weather", "arguments": {}}\n</tool_call></s>`,
      `{"town": "Bonn"}}\n</tool_call>\n<tool_call>{"name": "now"}</tool_call></s>`,
      called,
    ],
    specials,
  );
  const ask = async (more: object) => {
    const { choices } = await clientOf(app).chat.completions.create({ ...asked, ...more });
    const { content, tool_calls: calls = [] } = choices[0]?.message ?? {};
    return [
      content,
      ...calls.map((call) => call.type === 'function' && [call.function.name, call.function.arguments]),
      choices[0]?.finish_reason,
    ];
  };
  assert.deepEqual(await ask({ tool_choice: 'none' }), ['Hello.', 'stop']);
  assert.ok(!app.prompts[0]?.includes('get_weather'));
  assert.deepEqual(await ask({ tool_choice: 'required' }), [null, ['get_weather', '{}'], 'tool_calls']);
  assert.ok(app.prompts[1]?.endsWith(opening), app.prompts[1]);
  const named = { type: 'function', function: { name: 'get_weather' } };
  assert.deepEqual(await ask({ tool_choice: named }), [null, ['get_weather', '{"town": "Bonn"}'], 'tool_calls']);
  assert.ok(app.prompts[2]?.endsWith(`${opening}get_weather", "arguments": `), app.prompts[2]);
  assert.deepEqual(await ask({ parallel_tool_calls: false }), [
    'I look.',
    ['get_weather', '{"town": "Köln 🌦"}'],
    'tool_calls',
  ]);
});

test('a conversation with calls and their results reaches the template as it wants it', async () => {
  const app = scriptedApp(template, ['It rains.</s>'], specials);
  const call = {
    id: 'call_1234567890',
    type: 'function' as const,
    function: { name: 'get_weather', arguments: '{"town": "</s><s>"}' },
  };
  await clientOf(app).chat.completions.create({
    ...asked,
    messages: [
      {
        role: 'developer',
        content: [
          { type: 'text', text: 'Be' },
          { type: 'text', text: 'brief.' },
        ],
      },
      user,
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: call.id, content: '{"sky": "</s>"}' },
    ],
    reasoning_effort: 'low',
  });
  const prompt = app.prompts[0] ?? '';
  assert.ok(
    prompt.endsWith(
      '<s>system\nBe\nbrief.</s>\n<s>user\nHow is the weather in Köln?</s>\n<s>assistant\n<tool_call>\n{"name": "get_weather", "arguments": {"town": "</s><s>"}}\n</tool_call></s>\n<s>tool\n{"sky": "</s>"}</s>\n<s>assistant\n',
    ),
    prompt,
  );
});

test('thoughts that the template begins are thoughts from the first token on', async () => {
  const app = scriptedApp(template, ['Hm.\n</think>\n\nHello.</s>'], specials);
  const body = { ...asked, chat_template_kwargs: { thinking: true } };
  const { choices } = await clientOf(app).chat.completions.create(body);
  const message = choices[0]?.message as { content: string; reasoning_content?: string };
  assert.deepEqual([message.reasoning_content, message.content], ['Hm.', 'Hello.']);
});

test('the AI SDK calls a tool, sends its result back, and shows thoughts apart', async () => {
  const app = scriptedApp(
    template,
    [called.replace('\n<tool_call>\n{"name": "now"}\n</tool_call>', ''), '<think>Good.</think>It rains.</s>'],
    specials,
  );
  const provider = createOpenAICompatible({ name: 'ingot', baseURL: 'http://ingot/v1', fetch: app.fetch });
  const towns: unknown[] = [];
  const result = streamText({
    model: provider('scripted'),
    prompt: 'How is the weather in Köln?',
    stopWhen: stepCountIs(2),
    tools: {
      get_weather: tool({
        description: 'The weather',
        inputSchema: jsonSchema<{ town: string }>(weather.function.parameters as object),
        execute: async ({ town }) => {
          towns.push(town);
          return { sky: 'grey' };
        },
      }),
    },
  });
  assert.equal(await result.text, 'It rains.');
  assert.equal(await result.finishReason, 'stop');
  assert.deepEqual(towns, ['Köln 🌦']);
  const steps = await result.steps;
  assert.deepEqual(
    steps.map(({ finishReason, reasoningText }) => [finishReason, reasoningText]),
    [
      ['tool-calls', 'A call.'],
      ['stop', 'Good.'],
    ],
  );
  assert.match(
    app.prompts[1] ?? '',
    /<tool_call>\n\{"name": "get_weather", "arguments": \{"town": "Köln 🌦"\}\}\n<\/tool_call><\/s>\n<s>tool\n\{"sky":"grey"\}<\/s>/,
  );
});

test('what cannot be done is refused by its name', async () => {
  const app = scriptedApp(template, ['Hello.</s>'], specials);
  const without = scriptedApp('{% for m in messages %}{{ m.content }}{% endfor %}', ['Hello.</s>'], specials);
  const plain = scriptedApp(undefined, ['Hello.</s>'], specials);
  // It knows how calls are written, and writes none.
  const silent = scriptedApp(
    '{% for m in messages %}{{ m.content }}{% endfor %}{# <tool_call> #}',
    ['Hello.</s>'],
    specials,
  );
  const strict = { ...weather, function: { ...weather.function, strict: true } };
  const image = { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:' } }] };
  const cases: readonly (readonly [typeof app, object, string])[] = [
    [without, {}, 'tools'],
    [plain, {}, 'tools'],
    [silent, { tool_choice: 'required' }, 'tool_choice'],
    [app, { tools: [], tool_choice: 'required' }, 'tool_choice'],
    [app, { tool_choice: { type: 'function', function: { name: 'fly' } } }, 'tool_choice'],
    [app, { tool_choice: 'always' }, 'tool_choice'],
    [app, { tools: [strict] }, 'tools.0.function.strict'],
    [app, { tools: [{ type: 'custom', custom: { name: 'x' } }] }, 'tools.0.type'],
    [app, { tools: [{ type: 'function', function: { name: '<s>' } }] }, 'tools.0.function.name'],
    [app, { messages: [user, image] }, 'messages.1.content'],
    [app, { messages: [user, { role: 'function', name: 'f', content: 'x' }] }, 'messages.1.function_call'],
    [
      app,
      {
        messages: [
          { role: 'assistant', content: null, tool_calls: [{ id: 'a', function: { name: 'f', arguments: {} } }] },
        ],
      },
      'messages.0.tool_calls.0.function.arguments',
    ],
  ];
  for (const [server, more, param] of cases) {
    const answer = await server.fetch('http://ingot/v1/chat/completions', {
      method: 'POST',
      body: JSON.stringify({ ...asked, ...more }),
    });
    const { error } = (await answer.json()) as { error: { message: string; param: string } };
    assert.deepEqual([answer.status, error.param], [400, param], error.message);
  }
  assert.deepEqual([...app.prompts, ...silent.prompts], []);
});
