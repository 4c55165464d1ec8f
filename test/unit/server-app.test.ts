/** The API over engines that are none: what is logged, refused, limited and ended. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { IngotError } from '../../src/base/errors.ts';
import { openReplicas } from '../../src/engine/replicas.ts';
import { type AppOptions, createApp } from '../../src/server/app.ts';
import { Models } from '../../src/server/models.ts';
import { FakeEngine } from './fake-engine.ts';

/** A server of models that are called as `names` say. */
async function server(options: Partial<AppOptions> = {}, names: readonly string[] = ['m']) {
  const lines: string[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => lines.push(line) });
  const engines = new Map<string, FakeEngine[]>(names.map((name) => [name, []]));
  const source = (name: string) => ({
    open: async () => {
      const engine = new FakeEngine();
      engines.get(name)?.push(engine);
      return engine;
    },
  });
  const models = new Models(
    names.map((name) => ({
      name,
      bytes: 1,
      open: (_, onReplica) => openReplicas([source(name)], { sequences: 4, queue: 256, onReplica }),
    })),
  );
  const app = createApp({ models, log, ...options });
  await models.preload();
  const ask = (path: string, body?: unknown, headers: Record<string, string> = {}, signal?: AbortSignal) =>
    app.fetch(
      new Request(`http://here${path}`, {
        headers,
        ...(signal && { signal }),
        ...(body !== undefined && { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
    );
  const engine = (name = names[0]) => engines.get(name)?.at(-1) ?? assert.fail('it is not loaded');
  return { app, models, lines, ask, engine, [Symbol.asyncDispose]: () => models[Symbol.asyncDispose]() };
}

const failed = async (response: Response) => ((await response.json()) as { error: { message: string } }).error;

test('logs say what happened, and never what was asked or answered', async () => {
  await using it = await server({ apiKeys: ['key-secret'], maxBodyBytes: 10_000 });
  const headers = { authorization: 'Bearer key-secret', 'x-request-id': 'mine-1' };
  const secret = 'prompt-secret';
  const messages = [{ role: 'user', content: secret }];
  const chat = '/v1/chat/completions';
  const statuses: number[] = [];
  const say = async (...asked: Parameters<typeof it.ask>) => {
    const response = await it.ask(...asked);
    statuses.push(response.status);
    return response.text();
  };
  await say(chat, { messages, max_tokens: 2 }, headers);
  await say(chat, { messages, max_tokens: 2, stream: true }, headers);
  await say(chat, { messages, max_tokens: 2, stop: secret, user: secret }, headers);
  await say(chat, { messages, tools: secret }, headers);
  await say(chat, `{"${secret}`, headers);
  await say(chat, { messages: secret.repeat(1000) }, headers);
  await say(chat, { messages, model: secret }, headers);
  await say(`/${secret}?${secret}`, undefined, headers);
  await say(chat, { messages }, { authorization: `Bearer ${secret}` });
  await say(chat, { messages, max_tokens: 1 }, { ...headers, 'x-request-id': `${secret} with spaces` });
  await say('/tokenize', { content: secret }, headers);
  await say('/v1/embeddings', { input: secret }, headers);
  // A defect whose message quotes the request, and looks like a stack.
  it.engine().beforeToken = () => {
    throw new TypeError(`cannot read ${secret}\n    at ${secret} (${secret}:1:1)`);
  };
  await say(chat, { messages, max_tokens: 1 }, headers);
  await say(chat, { messages, max_tokens: 1, stream: true }, headers);
  let tokens = 0;
  it.engine().beforeToken = () => {
    if (tokens++ > 0) throw new IngotError('DeviceFault', 'the matrix is loose');
  };
  const cut = await say(chat, { messages, max_tokens: 3, stream: true }, headers);
  assert.match(cut, /the model cannot be run now/);
  assert.deepEqual(statuses, [200, 200, 200, 400, 400, 413, 404, 404, 401, 200, 200, 200, 500, 500, 200]);
  await sleep(0);
  const all = it.lines.join('');
  assert.ok(!all.includes('secret'), all);
  const records = it.lines.map((line): Record<string, unknown> => JSON.parse(line));
  const [whole, streamed] = records.filter(({ route }) => route === chat);
  for (const record of [whole, streamed]) {
    assert.equal(record.requestId, 'mine-1');
    assert.deepEqual([record.status, record.model, record.generatedTokens, record.key], [200, 'm', 2, '0']);
  }
  const faults = records.filter(({ level }) => level === 50).map(({ error }) => error as Record<string, unknown>);
  assert.deepEqual(
    faults.map(({ name, message }) => [name, message]),
    [
      ['TypeError', undefined],
      ['TypeError', undefined],
      ['IngotError', 'the matrix is loose'],
    ],
  );
  assert.match(JSON.stringify(faults[0]?.at), /fake-engine/, 'where it came from is kept');
  assert.equal(records.filter(({ route }) => route !== undefined).length, statuses.length, 'a line for each request');
});

test('every answer has the id of its request; pages of other origins may ask where they are let', async () => {
  await using it = await server({ apiKeys: ['k'], cors: ['https://page.example'] });
  const ready = await it.ask('/ready', undefined, { 'x-request-id': 'abc.1' });
  assert.equal(ready.headers.get('x-request-id'), 'abc.1');
  assert.match((await it.ask('/nothing')).headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
  const preflight = await it.app.fetch(
    new Request('http://here/v1/models', {
      method: 'OPTIONS',
      headers: {
        origin: 'https://page.example',
        'access-control-request-method': 'GET',
        'access-control-request-headers': 'authorization',
      },
    }),
  );
  assert.equal(preflight.status, 204, 'a browser asks that without a key');
  assert.equal(preflight.headers.get('access-control-allow-origin'), 'https://page.example');
  assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /authorization/);
  const other = await it.ask('/health', undefined, { origin: 'https://evil.example' });
  assert.equal(other.headers.get('access-control-allow-origin'), null);
});

test('every parameter of a request reaches the engine, and whose it is', async () => {
  const path = '/v1/completions';
  const sent = {
    ...{ prompt: 'x', max_tokens: 7, min_tokens: 3, logprobs: 4, n: 2, seed: -1, stop: ['s1', '', 's2'], priority: -5 },
    ...{ ignore_eos: true, temperature: 0.11, top_p: 0.12, top_k: 13, min_p: 0.14, repetition_penalty: 1.5 },
    ...{ frequency_penalty: 0.16, presence_penalty: 0.17, logit_bias: { 18: 0.19, 20: -0.21 } },
  };
  const sampling = {
    ...{ temperature: 0.11, topP: 0.12, topK: 13, minP: 0.14, repetitionPenalty: 1.5 },
    ...{ frequencyPenalty: 0.16, presencePenalty: 0.17 },
    logitBias: new Map([
      [18, 0.19],
      [20, -0.21],
    ]),
  };
  const owners: (string | undefined)[][] = [];
  for (const isolate of [false, true]) {
    await using it = await server({ apiKeys: ['a', 'b'], isolate });
    for (const key of ['a', 'b']) {
      assert.equal((await it.ask(path, sent, { authorization: `Bearer ${key}` })).status, 200);
    }
    const { requests } = it.engine();
    for (const [i, request] of requests.entries()) {
      const { signal, begun, owner, cacheOwner, ...rest } = request;
      assert.deepEqual(rest, {
        ...{ prompt: 'x', maxTokens: 7, minTokens: 3, topLogprobs: 4, ignoreEnd: true, priority: -5 },
        // Choices draw apart, and seeds are 64 bits.
        sampling: { ...sampling, seed: i % 2 === 0 ? 2n ** 64n - 1n : 0n },
        stop: ['s1', 's2'],
      });
    }
    owners.push(
      requests.map(({ owner }) => owner),
      requests.map(({ cacheOwner }) => cacheOwner),
    );
    const messages = [{ role: 'user', content: 'x' }];
    const chat = { messages, max_completion_tokens: 5, max_tokens: 9, logprobs: true, top_logprobs: 2 };
    await it.ask('/v1/chat/completions', chat, { authorization: 'Bearer a' });
    assert.deepEqual([requests.at(-1)?.maxTokens, requests.at(-1)?.topLogprobs], [5, 2]);
  }
  assert.deepEqual(owners, [
    ['0', '0', '1', '1'],
    ['', '', '', ''],
    ['0', '0', '1', '1'],
    ['0', '0', '1', '1'],
  ]);
});

test('a key has its requests and tokens a minute, and others have theirs', async () => {
  await using it = await server({ apiKeys: ['a', 'b'], requestsPerMinute: 3, tokensPerMinute: 100 });
  const ask = (key: string, max_tokens: number) =>
    it.ask('/v1/completions', { prompt: 'one two', max_tokens }, { authorization: `Bearer ${key}` });
  const first = await ask('a', 40);
  assert.equal(first.status, 200);
  assert.equal(first.headers.get('x-ratelimit-limit-tokens'), '100');
  assert.equal(first.headers.get('x-ratelimit-remaining-requests'), '2');
  // It has cost 42, so 58 are left.
  const large = await ask('a', 70);
  assert.equal(large.status, 429);
  assert.ok(Number(large.headers.get('retry-after')) >= 1);
  assert.match((await failed(large)).message, /100 tokens a minute/);
  assert.equal((await ask('a', 10)).status, 200);
  const refused = await it.ask('/v1/embeddings', { input: 'x' }, { authorization: 'Bearer a' });
  assert.equal(refused.status, 200, 'a refused request has cost nothing');
  const fourth = await ask('a', 1);
  assert.equal(fourth.status, 429);
  assert.match((await failed(fourth)).message, /3 requests a minute/);
  assert.equal((await ask('b', 1)).status, 200);
});

test('what answers may cost is charged before they are made: by either limit, of all choices of all prompts', async () => {
  await using it = await server({ apiKeys: ['a', 'b', 'c', 'd'], tokensPerMinute: 200 });
  const ask = (key: string, path: string, body: object) => it.ask(path, body, { authorization: `Bearer ${key}` });
  const messages = [{ role: 'user', content: 'x' }];
  const requests: [key: string, path: string, body: object][] = [
    ['a', '/v1/chat/completions', { messages, max_completion_tokens: 150, max_tokens: 1 }],
    ['b', '/v1/chat/completions', { messages, max_tokens: 50, n: 3 }],
    ['c', '/v1/completions', { prompt: 'x', max_tokens: 50, best_of: 3 }],
    ['d', '/v1/completions', { prompt: ['x', 'y', 'z'], max_tokens: 50 }],
  ];
  for (const [key, path, body] of requests) {
    it.engine().beforeToken = () => sleep(1);
    const [first, second] = await Promise.all([ask(key, path, body), ask(key, path, body)]);
    assert.deepEqual([first.status, second.status].sort(), [200, 429], JSON.stringify(body));
    const { headers } = first.status === 200 ? first : second;
    assert.ok(Number(headers.get('x-ratelimit-remaining-tokens')) < 50, JSON.stringify(body));
  }
  // Answers that were made and not given have been charged, too: 150 of 200 are gone.
  it.engine().beforeToken = () => {};
  assert.equal((await ask('c', '/v1/completions', { prompt: 'x', max_tokens: 140 })).status, 429);
});

test('metrics say what an engine says of its work, and its share of what the machine was measured to do', async () => {
  await using it = await server();
  const engine = it.engine();
  const status = await engine.status();
  const totals = { ...status.totals, stepSeconds: 2, operations: 300, bytes: 100, evictedTokens: 48 };
  engine.status = async () => ({ ...status, totals, machine: { operations: 1000, bytes: 500 } });
  const text = await (await it.ask('/metrics')).text();
  const said = (name: string) => Number(new RegExp(`^ingot_${name}{model="m"} (.*)$`, 'm').exec(text)?.[1]);
  assert.deepEqual(['operations_share', 'bytes_share', 'kv_cache_evicted_tokens_total'].map(said), [0.15, 0.1, 48]);
  assert.deepEqual(['machine_operations_per_second', 'machine_bytes_per_second'].map(said), [1000, 500]);
});

test('metrics belong to their key; where keys are isolated nobody else reads them', async () => {
  const metrics = async (options: Partial<AppOptions>, key: string) => {
    await using it = await server({ apiKeys: ['a'], ...options });
    return (await it.ask('/metrics', undefined, { authorization: `Bearer ${key}` })).status;
  };
  assert.equal(await metrics({}, 'a'), 200);
  assert.equal(await metrics({}, 'x'), 401);
  assert.equal(await metrics({ isolate: true }, 'a'), 403);
  assert.equal(await metrics({ isolate: true, metricsKey: 'm' }, 'a'), 401);
  assert.equal(await metrics({ isolate: true, metricsKey: 'm' }, 'm'), 200);
});

test('a client that goes away ends its request at once, whole or streamed, and before it has begun', async () => {
  await using it = await server({}, ['m', 'late']);
  const engine = it.engine();
  engine.beforeToken = () => sleep(1);
  const asked = { prompt: 'x', max_tokens: 10_000, ignore_eos: true };
  for (const stream of [false, true]) {
    const controller = new AbortController();
    const answer = it.ask('/v1/completions', { ...asked, stream }, {}, controller.signal);
    while (engine.running === 0) await sleep(1);
    const { body, status } = stream ? await answer : { body: undefined, status: 200 };
    controller.abort();
    if (body !== undefined && body !== null) await body.cancel();
    else assert.equal((await answer).status, 499);
    assert.equal(status, 200);
    // Nothing is computed for nobody.
    while (engine.running > 0) await sleep(1);
  }
  // Before its first event was read.
  const unread = await it.ask('/v1/completions', { ...asked, stream: true });
  await unread.body?.cancel();
  while (engine.running > 0) await sleep(1);
  const gone = AbortSignal.abort();
  assert.equal((await it.ask('/v1/completions', { ...asked, model: 'late' }, {}, gone)).status, 499);
  await it.models.drain();
  assert.ok(engine.closed, 'no lease was left');
});

test('an engine that dies is replaced, its requests go on, and a server without one is not ready', async () => {
  await using it = await server();
  const first = it.engine();
  const states: unknown[] = [];
  first.beforeToken = async () => {
    if (first.made < 2) return;
    throw new IngotError('DeviceLost', 'its worker ended');
  };
  it.models.onEvent((event) => {
    if (event.kind !== 'replica' || event.event.kind !== 'lost') return;
    // They are answered without waiting for anything.
    const state = Promise.all([it.ask('/ready'), it.ask('/health')]);
    void state.then(async ([ready, health]) => states.push(ready.status, await health.json()));
  });
  const asked = { prompt: 'x', max_tokens: 5, logprobs: 0, stop: 'never' };
  const { choices, usage } = (await (await it.ask('/v1/completions', asked)).json()) as {
    choices: { text: string; finish_reason: string; logprobs: { tokens: string[] } }[];
    usage: object;
  };
  assert.equal(choices[0]?.text, '0 1 2 3 4 ');
  assert.equal(choices[0]?.logprobs.tokens.length, 5);
  assert.deepEqual(usage, {
    ...{ prompt_tokens: 1, completion_tokens: 5, total_tokens: 6 },
    prompt_tokens_details: { cached_tokens: 0 },
  });
  assert.deepEqual(states, [503, { status: 'ok', replicas: { all: 1, ready: 0 } }]);
  assert.notEqual(it.engine(), first);
  assert.ok(first.closed);
  assert.equal((await it.ask('/ready')).status, 200);
  const said = it.lines.map(
    (line) => JSON.parse(line) as { msg?: string; replica?: number; epoch?: number; requests?: number },
  );
  const [lost, restored] = said.filter(({ replica }) => replica !== undefined);
  assert.deepEqual([lost?.msg, lost?.epoch, lost?.requests], ['lost; its requests go on', 1, 1]);
  assert.deepEqual([restored?.msg, restored?.epoch], ['works again', 2]);
  const metrics = await (await it.ask('/metrics')).text();
  for (const line of ['replica_ready', 'replica_restarts_total', 'replica_replays_total']) {
    assert.match(metrics, new RegExp(`^ingot_${line}{model="m",replica="0"} 1$`, 'm'));
  }
  assert.match(metrics, /^ingot_replica_requests{model="m",replica="0"} 0$/m);
});

test('a request that ends its engine again and again is refused with the reason', async () => {
  await using it = await server();
  const kill = () => {
    it.engine().beforeToken = () => {
      throw new IngotError('DeviceLost', 'its worker ended');
    };
  };
  kill();
  it.models.onEvent((event) => {
    if (event.kind === 'replica' && event.event.kind === 'restored') kill();
  });
  const response = await it.ask('/v1/completions', { prompt: 'x', max_tokens: 2 });
  assert.equal(response.status, 500);
  assert.match((await failed(response)).message, /begun 4 times.*its worker ended/);
});

test('draining refuses, finishes what runs, and ends it with a reason when its time is over', async () => {
  await using it = await server();
  it.engine().beforeToken = () => sleep(1);
  const asked = { prompt: 'x', max_tokens: 1e6 };
  const whole = it.ask('/v1/completions', asked);
  const streamed = await it.ask('/v1/completions', { ...asked, stream: true });
  while (it.engine().running < 2) await sleep(1);
  const drained = it.app.drain(30);
  assert.equal((await it.ask('/ready')).status, 503);
  assert.equal((await it.ask('/health')).status, 200);
  assert.equal((await it.ask('/v1/completions', asked)).status, 503);
  assert.match((await failed(await whole)).message, /shutting down/);
  assert.match(await streamed.text(), /shutting down/);
  await drained;
  assert.ok(it.engine().closed);
});

test('embeddings: floats or base64, texts or ids, and no dimensions that the model does not have', async () => {
  await using it = await server();
  type Answer = { data: { embedding: unknown; index: number }[]; usage: { prompt_tokens: number } };
  const embed = async (body: object) => (await (await it.ask('/v1/embeddings', body)).json()) as Answer;
  const { data, usage } = await embed({ input: ['one', 'two words'] });
  assert.deepEqual(
    data.map(({ index }) => index),
    [0, 1],
  );
  assert.equal(usage.prompt_tokens, 3);
  const base64 = (await embed({ input: [5, 6, 7], encoding_format: 'base64' })).data[0]?.embedding;
  const bytes = Buffer.from(String(base64), 'base64');
  assert.deepEqual([bytes.readFloatLE(0), bytes.readFloatLE(4)], [Math.fround(0.6), Math.fround(0.8)]);
  for (const dimensions of [1, 3]) {
    const refused = await it.ask('/v1/embeddings', { input: 'x', dimensions });
    assert.equal(refused.status, 400);
    assert.match((await failed(refused)).message, /2 dimensions/);
  }
  assert.equal((await it.ask('/v1/embeddings', { input: 'x', dimensions: 2 })).status, 200);
  for (const input of [[], [[]], {}, [1, 'a'], Array(2049).fill('x')]) {
    assert.equal((await it.ask('/v1/embeddings', { input })).status, 400, JSON.stringify(input).slice(0, 40));
  }
});

test('bodies that are no JSON in UTF-8 are refused, and so are those that say too little', async () => {
  await using it = await server();
  const message = async (body: string | Uint8Array<ArrayBuffer>) => {
    const refused = await it.app.fetch(new Request('http://here/v1/completions', { method: 'POST', body }));
    assert.equal(refused.status, 400);
    return (await failed(refused)).message;
  };
  const text = '{"prompt": "x", "max_tokens": 1}';
  for (const body of [text.slice(0, -1), '', Buffer.from(text.replace('x', '\u00e9'), 'latin1')]) {
    assert.match(await message(typeof body === 'string' ? body : new Uint8Array(body)), /not JSON in UTF-8/);
  }
  assert.match(await message('{}'), /^prompt: /);
  assert.match(await message('[]'), /^the body: /);
});

test('bodies of any encoding end at their limit', async () => {
  await using it = await server({ maxBodyBytes: 1000 });
  let sent = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent += 100;
      controller.enqueue(new Uint8Array(100).fill(32));
    },
  });
  const request = new Request('http://here/v1/completions', { method: 'POST', body: endless, duplex: 'half' });
  assert.equal((await it.app.fetch(request)).status, 413);
  assert.ok(sent < 2000);
});

test('many prompts of many choices are refused before they are made', async () => {
  await using it = await server();
  const prompt = Array(2000).fill('x');
  const refused = await it.ask('/v1/completions', { prompt, n: 128, max_tokens: 1 });
  assert.equal(refused.status, 400);
  assert.match((await failed(refused)).message, /choices/);
  assert.equal(it.engine().requests.length, 0);
});

test('a field of the wrong kind is told by its place and by what it should be', async () => {
  await using it = await server();
  const message = async (path: string, body: object) => {
    const response = await it.ask(path, body);
    const { message, param } = (await failed(response)) as { message: string; param?: string };
    return [response.status, param, message];
  };
  const [chat, text] = ['/v1/chat/completions', '/v1/completions'];
  const messages = [{ role: 'user', content: 'x' }];
  assert.deepEqual(await message(text, { prompt: 'x', stop: 5 }), [
    400,
    'stop',
    'stop: Invalid input: expected string, received number; or Invalid input: expected array, received number',
  ]);
  assert.deepEqual(await message(text, { prompt: ['a', 5] }), [
    400,
    'prompt.1',
    'prompt.1: Invalid input: expected string, received number',
  ]);
  assert.match(String(await message(text, { prompt: [] })), /^400,prompt,.*Too small: expected array/);
  assert.match(
    String(await message(chat, { messages: [{ role: 'user', content: 5 }] })),
    /^400,messages\.0\.content,.*expected string, received number; or .*expected array/,
  );
  assert.match(String(await message(chat, { messages, top_logprobs: 2 })), /^400,top_logprobs,.*needs logprobs/);
});

test('bodies that are compressed are refused for that', async () => {
  await using it = await server();
  const refused = await it.ask('/v1/completions', { prompt: 'x' }, { 'content-encoding': 'gzip' });
  assert.equal(refused.status, 415);
  assert.match((await failed(refused)).message, /gzip/);
});

test("what other servers' fields would have changed is refused by name, and passes where it changes nothing", async () => {
  await using it = await server();
  const ask = (field: string, value: unknown) =>
    it.ask('/v1/completions', { prompt: 'x', max_tokens: 1, [field]: value });
  const fields: readonly (readonly [field: string, refused: unknown, harmless?: unknown])[] = [
    ['guided_json', {}],
    ['structured_outputs', { regex: 'a' }],
    ['stop_token_ids', [1], []],
    ['grammar', 'root ::= "a"', ''],
    ['repeat_penalty', 1.1, 1],
    ['n_predict', 3, null],
  ];
  for (const [field, refused, harmless] of fields) {
    const answer = await ask(field, refused);
    assert.equal(answer.status, 400, field);
    assert.match((await failed(answer)).message, new RegExp(`^${field} is not supported`));
    if (harmless !== undefined) assert.equal((await ask(field, harmless)).status, 200, field);
  }
});
