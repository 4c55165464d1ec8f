/** `ingot serve` as clients meet it: the real server on the bundled model, OpenAI's own client, the AI SDK, and plain requests. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embed, streamText } from 'ai';
import OpenAI from 'openai';
import { writeEmbedder } from './embedder-model.ts';
import { post as postTo, readMetrics, type Server, startServer } from './serve-harness.ts';
import { writeTemplateModel } from './template-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'ingot-serve-'));
const serve = (...args: string[]) => startServer({ folder }, ...args);

let server: Server;
before(async () => {
  server = await serve('--sequences', '8', '--context', '512', '--verbose');
});
after(async () => {
  server.child.kill('SIGTERM');
  const { code, err } = await server.ended;
  rmSync(folder, { recursive: true });
  assert.equal(code, 0, err);
  assert.ok(!err.includes('dragon'), 'a log never holds what was asked');
});

const client = (apiKey = 'none', url = server.url) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const post = (path: string, body: string | object) => postTo(server.url, path, body);

const messages = [
  {
    role: 'user' as const,
    content: 'Tell a story about a dragon who lived in a cave near the sea and wanted to find a friend',
  },
];

test("OpenAI's client: a conversation, whole and streamed, says the same", async () => {
  const asked = { model: 'tales', messages, max_tokens: 24, seed: 5 };
  const whole = await client().chat.completions.create(asked);
  const [choice] = whole.choices;
  assert.equal(choice?.message.role, 'assistant');
  assert.ok((choice?.message.content ?? '').length > 20);
  assert.equal(whole.usage?.completion_tokens, 24);
  assert.equal(choice?.finish_reason, 'length');
  let text = '';
  let usage: unknown;
  const stream = await client().chat.completions.create({
    ...asked,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? '';
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, choice?.message.content);
  const { prompt_tokens, completion_tokens, total_tokens } = usage as OpenAI.CompletionUsage;
  assert.deepEqual([completion_tokens, total_tokens], [24, prompt_tokens + 24]);
});

test("OpenAI's client: choices draw with seeds that follow one another; completions take several prompts", async () => {
  const asked = { model: 'tales', messages, max_tokens: 12, temperature: 1.5 };
  const { choices } = await client().chat.completions.create({ ...asked, seed: 7, n: 3 });
  const texts = choices.map(({ message }) => message.content);
  assert.equal(new Set(texts).size, 3);
  const last = await client().chat.completions.create({ ...asked, seed: 9 });
  assert.equal(last.choices[0]?.message.content, texts[2]);
  const both = await client().completions.create({
    model: 'tales',
    prompt: ['Once upon', 'The fox'],
    max_tokens: 3,
    temperature: 0,
  });
  assert.deepEqual(
    both.choices.map(({ index }) => index),
    [0, 1],
  );
  const alone = await client().completions.create({ model: 'tales', prompt: 'The fox', max_tokens: 3, temperature: 0 });
  assert.equal(both.choices[1]?.text, alone.choices[0]?.text);
});

test("OpenAI's client: log-probabilities, stop strings, models, and errors with their types", async () => {
  const scored = await client().chat.completions.create({
    model: 'tales',
    messages,
    max_tokens: 3,
    logprobs: true,
    top_logprobs: 2,
    temperature: 0,
  });
  const content = scored.choices[0]?.logprobs?.content ?? [];
  assert.equal(content.length, 3);
  for (const { token, logprob, top_logprobs: top } of content) {
    assert.equal(top.length, 2);
    assert.ok(Math.abs((top[0]?.logprob ?? 9) - logprob) < 1e-4, 'the likeliest was taken');
    assert.equal(top[0]?.token, token);
  }
  assert.equal(content.map(({ token }) => token).join(''), scored.choices[0]?.message.content);
  const word = content[1]?.token.trim() ?? '';
  const stopped = await client().chat.completions.create({
    model: 'tales',
    messages,
    max_tokens: 20,
    temperature: 0,
    stop: word,
  });
  assert.equal(stopped.choices[0]?.finish_reason, 'stop');
  assert.ok(!stopped.choices[0]?.message.content?.includes(word));
  const list = await client().models.list();
  assert.deepEqual(
    list.data.map(({ id }) => id),
    ['tales'],
  );
  await assert.rejects(client().models.retrieve('gpt-4'), OpenAI.NotFoundError);
  await assert.rejects(client().chat.completions.create({ model: 'gpt-4', messages }), OpenAI.NotFoundError);
  await assert.rejects(
    client().chat.completions.create({ model: 'tales', messages, response_format: { type: 'json_object' } }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === 'response_format',
  );
  await assert.rejects(
    client().completions.create({ model: 'tales', prompt: 'word '.repeat(600) }),
    (error) =>
      error instanceof OpenAI.BadRequestError && error.code === 'context_length_exceeded' && error.param === 'prompt',
  );
});

test('the AI SDK streams a text', async () => {
  const provider = createOpenAICompatible({ name: 'ingot', baseURL: `${server.url}/v1` });
  const result = streamText({ model: provider('tales'), prompt: 'Tell a story about a cat', maxOutputTokens: 10 });
  let text = '';
  for await (const part of result.textStream) text += part;
  assert.ok(text.length > 5);
  assert.equal(await result.finishReason, 'length');
});

test('a tool that has to be called is called, by a model that knows no tools, whole and streamed', async () => {
  const model = join(folder, 'caller.gguf');
  const template = `{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}
{{ m.role }}: {{ m.content }}{% for c in m.tool_calls %}<tool_call>{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}</tool_call>{% endfor %}
{%- endfor %}{% if add_generation_prompt %}
assistant: {% endif %}`;
  await writeTemplateModel(model, template);
  const caller = await serve(model, '--context', '512');
  const tool = {
    type: 'function' as const,
    function: { name: 'tell', parameters: { type: 'object', properties: {} } },
  };
  const asked = {
    model: 'caller',
    messages,
    max_tokens: 12,
    seed: 4,
    tools: [tool],
    tool_choice: { type: 'function' as const, function: { name: 'tell' } },
  };
  try {
    const whole = await client('none', caller.url).chat.completions.create(asked);
    const [called] = whole.choices[0]?.message.tool_calls ?? [];
    assert.ok(called?.type === 'function' && called.function.name === 'tell');
    const stream = await client('none', caller.url).chat.completions.create({ ...asked, stream: true });
    let [name, written] = ['', ''];
    for await (const { choices } of stream) {
      for (const call of choices[0]?.delta.tool_calls ?? []) {
        name += call.function?.name ?? '';
        written += call.function?.arguments ?? '';
      }
    }
    assert.deepEqual([name, written], ['tell', called.function.arguments]);
  } finally {
    caller.child.kill('SIGHUP');
  }
  assert.equal((await caller.ended).code, 0, 'a terminal that is closed ends it as SIGTERM does');
});

test('many at once are computed together, and each gets its own', async () => {
  const ask = async (seed: number) => {
    const { choices } = await client().chat.completions.create({ model: 'tales', messages, max_tokens: 40, seed });
    return choices[0]?.message.content;
  };
  const tries: { readonly tokens: number; readonly steps: number }[] = [];
  const shared = ({ tokens, steps }: (typeof tries)[number]) => steps < tokens / 3;
  // Where the machine is busy whoever asks may be slower than the answers.
  while (tries.length < 10 && !tries.some(shared)) {
    const before = await reading();
    const together = await Promise.all(Array.from({ length: 12 }, (_, seed) => ask(seed)));
    const between = await reading();
    const more = (name: string) => between(`ingot_${name}_total`) - before(`ingot_${name}_total`);
    assert.equal(await ask(3), together[3]);
    assert.equal(await ask(11), together[11]);
    tries.push({ tokens: more('generated_tokens'), steps: more('steps') });
    assert.ok(more('generated_tokens') >= 12 * 40);
    assert.ok(more('reused_tokens') > 0, 'their prompts begin alike');
  }
  assert.ok(tries.some(shared), JSON.stringify(tries));
});

const reading = () => readMetrics(server.url);

/** What the server does when it has nothing left to do. */
async function idle(): Promise<(name: string) => number> {
  for (;;) {
    const now = await reading();
    if (now('ingot_requests_running') + now('ingot_requests_waiting') === 0) return now;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("embeddings by OpenAI's client and the AI SDK are what floats say", async () => {
  await using own = await serve(writeEmbedder(join(folder, 'embedder')));
  const input = ['the cat sat', 'a very long line of other words'];
  const asked = { model: 'embedder', input };
  const openai = client('none', own.url);
  // The client asks for base64 by itself.
  const { data, usage } = await openai.embeddings.create(asked);
  const floats = await openai.embeddings.create({ ...asked, encoding_format: 'float' });
  assert.deepEqual(
    data.map(({ embedding }) => embedding),
    floats.data.map(({ embedding }) => embedding),
  );
  assert.equal(usage.prompt_tokens, 10);
  assert.ok(Math.abs(Math.hypot(...data[0].embedding) - 1) < 1e-5);
  assert.notDeepEqual(data[0].embedding, data[1].embedding);
  const provider = createOpenAICompatible({ name: 'ingot', baseURL: `${own.url}/v1` });
  const { embedding } = await embed({ model: provider.textEmbeddingModel('embedder'), value: input[0] });
  assert.deepEqual(embedding, data[0].embedding);
});

test('a client that goes away ends its request, and frees its memory', async () => {
  const controller = new AbortController();
  const asked = { messages, max_tokens: 400, ignore_eos: true, stream: true };
  const answer = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify(asked),
    signal: controller.signal,
  });
  const reader = answer.body?.getReader();
  await reader?.read();
  controller.abort();
  await reader?.read().catch(() => {});
  const now = await idle();
  assert.equal(now('ingot_kv_cache_used_tokens'), 0);
  assert.ok(now('ingot_generated_tokens_total') > 0);
});

test('what is no request is refused with a reason, and the server goes on', async () => {
  const cases: readonly (readonly [string | object, number, RegExp])[] = [
    ['{', 400, /not JSON/],
    ['[1]', 400, /the body/],
    [{}, 400, /messages/],
    [{ messages: [] }, 400, /messages/],
    [{ messages, temperature: -1 }, 400, /temperature/],
    [{ messages, n: 1000 }, 400, /^n:/],
    [{ messages, max_tokens: 1.5 }, 400, /max_tokens/],
    [{ messages, tools: [{ type: 'function' }] }, 400, /tools/],
    [{ messages, tools: [{ type: 'function', function: { name: 'f' } }] }, 400, /tools/],
    [{ messages: [{ role: 'user', content: 'x'.repeat(9 << 20) }] }, 413, /longer/],
  ];
  for (const [body, status, reason] of cases) {
    const answer = await post('/v1/chat/completions', body);
    const { error } = (await answer.json()) as { error: { message: string; type: string } };
    assert.equal(answer.status, status, error.message);
    assert.match(error.message, reason);
    assert.equal(error.type, 'invalid_request_error');
  }
  const bytes = await fetch(`${server.url}/v1/completions`, {
    method: 'POST',
    body: Uint8Array.of(123, 255, 254, 125),
  });
  assert.equal(bytes.status, 400);
  assert.equal((await fetch(`${server.url}/v1/nothing`)).status, 404);
  const { tokens } = (await (await post('/tokenize', { content: 'The fox' })).json()) as { tokens: number[] };
  const { content } = (await (await post('/detokenize', { tokens })).json()) as { content: string };
  assert.equal(content, 'The fox');
  assert.equal((await post('/detokenize', { tokens: [1e9] })).status, 400);
  assert.equal((await fetch(`${server.url}/health`)).status, 200);
});

test('keys, isolation, and a queue that is full', async () => {
  // The interpreter takes seconds for a long answer, so that one surely runs when another is asked for.
  const guarded = await serve(
    ...['--api-key', 'one', '--api-key', 'two', '--isolate'],
    ...['--sequences', '1', '--queue', '0', '--context', '512', '--device', 'reference'],
  );
  const ask = (key: string) =>
    client(key, guarded.url).completions.create({
      model: 'tales',
      prompt: 'Once upon a time there was a fox. '.repeat(6),
      max_tokens: 1,
    });
  try {
    await assert.rejects(ask('three'), OpenAI.AuthenticationError);
    assert.equal((await fetch(`${guarded.url}/health`)).status, 200);
    const cached = async (key: string) => (await ask(key)).usage?.prompt_tokens_details?.cached_tokens ?? 0;
    assert.equal(await cached('one'), 0);
    assert.ok((await cached('one')) > 0);
    assert.equal(await cached('two'), 0, 'what another key computed is not found');
    const long = { model: 'tales', prompt: 'A', max_tokens: 500, ignore_eos: true, stream: true as const };
    const first = await client('one', guarded.url).completions.create(long);
    const reader = first[Symbol.asyncIterator]();
    await reader.next();
    await assert.rejects(ask('two'), OpenAI.RateLimitError);
    await reader.return?.();
  } finally {
    guarded.child.kill('SIGTERM');
  }
  assert.equal((await guarded.ended).code, 0);
});

test('SIGTERM lets those finish that run, whose steps were traced; a port that is taken is said', async () => {
  const trace = join(folder, 'steps.jsonl');
  const drained = await serve('--context', '512', '--trace-steps', trace);
  const stream = await client('none', drained.url).completions.create({
    model: 'tales',
    prompt: 'A',
    max_tokens: 200,
    stream: true,
  });
  let chunks = 0;
  let reason: string | null = null;
  for await (const { choices } of stream) {
    if (++chunks === 2) drained.child.kill('SIGTERM');
    reason = choices[0]?.finish_reason ?? reason;
  }
  assert.ok(reason === 'length' || reason === 'stop', 'the answer was cut off');
  assert.equal((await drained.ended).code, 0);
  const steps = readFileSync(trace, 'utf8').trim().split('\n');
  assert.ok(steps.length >= chunks / 2, `${steps.length} steps, ${chunks} chunks`);
  assert.ok(steps.every((line, i) => (JSON.parse(line) as { step: number }).step === i));

  const blocker = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => blocker.once('listening', resolve));
  const { port } = blocker.address() as { port: number };
  await assert.rejects(serve('--port', String(port)), /somebody else listens there/);
  blocker.close();
});
