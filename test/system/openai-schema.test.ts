/**
 * What the server answers, held to OpenAI's own description of its API (openapi.yml): every body, every part of a stream, every
 * error; and what it does with every field that a request may have.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { pino } from 'pino';
import { parse } from 'yaml';
import { bundledModel } from '../../src/cli/bundled-model.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openEngine } from '../../src/engine/open-node.ts';
import { createApp } from '../../src/server/app.ts';
import { Models } from '../../src/server/models.ts';
import { dataPath, skipWithoutData } from '../fixtures.ts';
import { scriptedApp } from '../unit/scripted-app.ts';

type Schema = Readonly<Record<string, unknown>>;
const isSchema = (value: unknown): value is Schema => typeof value === 'object' && value !== null;

/** `nullable` is of an older OpenAPI than the document says; JSON Schema has a type for it. */
function withNull(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withNull);
  if (!isSchema(value)) return value;
  const { nullable, ...rest } = value;
  const mapped = Object.fromEntries(Object.entries(rest).map(([key, each]) => [key, withNull(each)]));
  return nullable === true ? { anyOf: [mapped, { type: 'null' }] } : mapped;
}

let validator: (name: string) => ValidateFunction;
let properties: (name: string) => readonly string[];
let engine: Engine;
let post: (path: string, body: unknown) => Promise<Response>;
const scripted = scriptedApp(
  '{% for m in messages %}{{ m.content }}{% endfor %}<tool_call> </think>{% for m in messages %}{% for c in m.tool_calls %}<tool_call>{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}{% endfor %}{% endfor %}',
  [
    '<think>Hm.</think>I look.\n<tool_call>{"name": "f", "arguments": {"a": [1]}}</tool_call><tool_call>{"name": "g"}</tool_call></s>',
  ],
);
const tools = ['f', 'g'].map((name) => ({ type: 'function', function: { name } }));
const messages = [{ role: 'user', content: 'Tell a story about a cat' }];

before(async () => {
  if (skipWithoutData !== false) return;
  const document: unknown = parse(readFileSync(dataPath('serving', 'openai.openapi.yml'), 'utf8'));
  const { components } = withNull(document) as { components: { schemas: Readonly<Record<string, Schema>> } };
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema({ $id: 'openai', components });
  validator = (name) => ajv.compile({ $ref: `openai#/components/schemas/${name}` });
  properties = (name) => {
    const {
      properties: own = {},
      allOf = [],
      $ref,
    } = components.schemas[name] as { properties?: Schema; allOf?: readonly Schema[]; $ref?: string };
    const others = [...allOf, { $ref }].flatMap((part) => {
      const { $ref: other, properties: inner = {} } = part as { $ref?: string; properties?: Schema };
      return [...Object.keys(inner), ...(other === undefined ? [] : properties(other.split('/').at(-1) ?? ''))];
    });
    return [...new Set([...Object.keys(own), ...others])];
  };
  engine = await openEngine(bundledModel, { contextLength: 256, sequences: 4 });
  const models = new Models([{ name: 'tales', bytes: 0, open: async () => engine }]);
  const app = createApp({ models, log: pino({ level: 'silent' }), maxBodyBytes: 1 << 20 });
  post = async (path, body) =>
    app.fetch(
      new Request(
        `http://ingot${path}`,
        body === undefined ? {} : { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) },
      ),
    );
});
after(async () => engine?.[Symbol.asyncDispose]());

function conforms(name: string, value: unknown): void {
  const validate = validator(name);
  assert.ok(validate(value), `${name}: ${JSON.stringify(validate.errors?.slice(0, 3))}\n${JSON.stringify(value)}`);
}

/** The parts of a stream; the last event says that there are no more. */
async function parts(response: Response): Promise<readonly unknown[]> {
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  const events = (await response.text()).split('\n\n');
  assert.deepEqual(events.slice(-2), ['data: [DONE]', '']);
  return events.slice(0, -2).map((event) => {
    assert.match(event, /^data: \{.*\}$/);
    return JSON.parse(event.slice(6)) as unknown;
  });
}

const variants: readonly object[] = [
  {},
  { n: 2, logprobs: true, top_logprobs: 2 },
  { stop: ['a'], stream_options: { include_usage: true } },
];

test('conversations, whole and streamed, with calls, thoughts, log-probabilities and usage', {
  skip: skipWithoutData,
}, async () => {
  const ask = (body: object) =>
    scripted.fetch('http://ingot/v1/chat/completions', { method: 'POST', body: JSON.stringify(body) });
  for (const more of variants) {
    for (const maxTokens of [6, 200]) {
      const asked = { messages, tools, max_tokens: maxTokens, ...more };
      const real = { messages, max_tokens: 6, ...more };
      for (const answer of [await ask(asked), await post('/v1/chat/completions', real)]) {
        conforms('CreateChatCompletionResponse', await answer.json());
      }
      const streams = [
        await ask({ ...asked, stream: true }),
        await post('/v1/chat/completions', { ...real, stream: true }),
      ];
      for (const stream of streams)
        for (const part of await parts(stream)) conforms('CreateChatCompletionStreamResponse', part);
    }
  }
});

test('texts, whole and streamed; models', { skip: skipWithoutData }, async () => {
  for (const more of variants) {
    const asked = { prompt: ['Once', 'The'], max_tokens: 4, ...more, ...('logprobs' in more && { logprobs: 2 }) };
    conforms('CreateCompletionResponse', await (await post('/v1/completions', asked)).json());
    const open = withoutReasons(await parts(await post('/v1/completions', { ...asked, stream: true })));
    for (const part of open) conforms('CreateCompletionResponse', part);
  }
  conforms('ListModelsResponse', await (await post('/v1/models', undefined)).json());
  conforms('Model', await (await post('/v1/models/tales', undefined)).json());
});

/** The description gives every part of a streamed text a reason to end; OpenAI's own parts have one at the end only, as ours. */
function withoutReasons(list: readonly unknown[]): readonly unknown[] {
  return list.map((part) => {
    const { choices } = part as { choices: readonly { finish_reason: unknown }[] };
    return {
      ...(part as object),
      choices: choices.map((choice) => ({ ...choice, finish_reason: choice.finish_reason ?? 'stop' })),
    };
  });
}

test('vectors of texts', { skip: skipWithoutData }, async () => {
  for (const input of ['a', ['a', 'b']]) {
    const answer = await scripted.fetch('http://ingot/v1/embeddings', {
      method: 'POST',
      body: JSON.stringify({ model: 'scripted', input }),
    });
    conforms('CreateEmbeddingResponse', await answer.json());
  }
});

test('errors, of every status', { skip: skipWithoutData }, async () => {
  const cases: readonly (readonly [number, string, unknown])[] = [
    [400, '/v1/chat/completions', '{'],
    [400, '/v1/chat/completions', { messages: [] }],
    [400, '/v1/chat/completions', { messages, tools }],
    [400, '/v1/chat/completions', { messages, response_format: { type: 'json_object' } }],
    [400, '/v1/completions', { prompt: 'word '.repeat(600) }],
    [404, '/v1/chat/completions', { messages, model: 'gpt-4' }],
    [404, '/v1/models/gpt-4', undefined],
    [404, '/v1/nothing', undefined],
    [413, '/v1/completions', { prompt: 'x'.repeat(2 << 20) }],
  ];
  for (const [status, path, body] of cases) {
    const answer = await post(path, body);
    assert.equal(answer.status, status, path);
    conforms('ErrorResponse', await answer.json());
  }
});

test('the description refuses what is not of the API', { skip: skipWithoutData }, async () => {
  const answer = (await (await post('/v1/chat/completions', { messages, max_tokens: 2 })).json()) as Schema;
  const [choice] = answer.choices as readonly Schema[];
  for (const wrong of [
    { ...answer, id: 1 },
    { ...answer, choices: [{ ...choice, finish_reason: null }] },
    { ...answer, created: undefined },
  ]) {
    assert.ok(!validator('CreateChatCompletionResponse')(JSON.parse(JSON.stringify(wrong))), JSON.stringify(wrong));
  }
});

/** A value of each field, and what becomes of it. `harmless`: the answer is the same without it. */
type Fields = Readonly<Record<string, readonly ['honoured' | 'harmless' | 'refused', unknown]>>;

const common: Fields = {
  model: ['honoured', 'tales'],
  frequency_penalty: ['honoured', 0.5],
  presence_penalty: ['honoured', 0.5],
  logit_bias: ['honoured', { 5: -100 }],
  max_tokens: ['honoured', 3],
  n: ['honoured', 2],
  seed: ['honoured', 1],
  stop: ['honoured', '.'],
  stream: ['honoured', true],
  stream_options: ['honoured', { include_usage: true }],
  temperature: ['honoured', 0],
  top_p: ['honoured', 0.5],
  user: ['harmless', 'me'],
};
interface FieldsOfRequest {
  readonly path: string;
  readonly asked: object;
  readonly table: Fields;
}
const fields: Readonly<Record<string, FieldsOfRequest>> = {
  CreateChatCompletionRequest: {
    path: '/v1/chat/completions',
    asked: { messages, max_tokens: 2, seed: 3, logprobs: true },
    table: {
      ...common,
      messages: ['honoured', messages],
      max_completion_tokens: ['honoured', 3],
      logprobs: ['honoured', true],
      top_logprobs: ['honoured', 1],
      tools: ['honoured', []],
      tool_choice: ['honoured', 'auto'],
      parallel_tool_calls: ['honoured', true],
      // By templates that know of it.
      reasoning_effort: ['honoured', 'low'],
      metadata: ['harmless', { a: 'b' }],
      prediction: ['harmless', { type: 'content', content: 'x' }],
      prompt_cache_key: ['harmless', 'x'],
      prompt_cache_options: ['harmless', {}],
      prompt_cache_retention: ['harmless', '24h'],
      safety_identifier: ['harmless', 'me'],
      service_tier: ['harmless', 'auto'],
      store: ['harmless', false],
      audio: ['refused', { voice: 'alloy', format: 'wav' }],
      function_call: ['refused', { name: 'f' }],
      functions: ['refused', [{ name: 'f' }]],
      modalities: ['refused', ['audio']],
      moderation: ['refused', { model: 'x' }],
      response_format: ['refused', { type: 'json_object' }],
      verbosity: ['refused', 'low'],
      web_search_options: ['refused', {}],
    },
  },
  CreateCompletionRequest: {
    path: '/v1/completions',
    asked: { prompt: 'Once', max_tokens: 2, seed: 3 },
    table: {
      ...common,
      prompt: ['honoured', 'Once'],
      logprobs: ['honoured', 1],
      best_of: ['honoured', 1],
      echo: ['refused', true],
      suffix: ['refused', 'x'],
    },
  },
  CreateEmbeddingRequest: {
    path: '/v1/embeddings',
    asked: { input: 'a' },
    table: {
      input: ['honoured', ['a', 'b']],
      model: ['honoured', 'scripted'],
      encoding_format: ['honoured', 'base64'],
      dimensions: ['honoured', 2],
      user: ['harmless', 'me'],
    },
  },
};

for (const [name, { path, asked, table }] of Object.entries(fields)) {
  test(`${name}: every field is honoured, harmless, or refused by name`, { skip: skipWithoutData }, async () => {
    assert.deepEqual(Object.keys(table).sort(), [...properties(name)].sort());
    const ask = (body: object) =>
      path === '/v1/embeddings'
        ? scripted.fetch(`http://ingot${path}`, { method: 'POST', body: JSON.stringify(body) })
        : post(path, body);
    const said = async (body: object) => {
      const { id: _, created: __, ...answer } = (await (await ask(body)).json()) as Schema;
      return answer;
    };
    const plain = await said(asked);
    for (const [field, [fate, value]] of Object.entries(table)) {
      const body = { ...asked, [field]: value };
      if (fate === 'harmless') assert.deepEqual(await said(body), plain, field);
      if (fate === 'honoured') assert.equal((await ask(body)).status, 200, field);
      if (fate !== 'refused') continue;
      const answer = await ask(body);
      const { error } = (await answer.json()) as { error: { param: string; code: string } };
      assert.deepEqual([answer.status, error.param, error.code], [400, field, 'unsupported_parameter']);
    }
  });
}
