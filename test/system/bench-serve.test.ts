/**
 * `ingot bench serve` against a server that answers by a script, whose every delay is known, and against the real one. What the client
 * measures is held to the moments at which the script wrote, since timers are late on a busy machine.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Api, ask, firstModel, type Question } from '../../src/cli/load/client.ts';
import { runLoad } from '../../src/cli/load/run.ts';
import { type Sample, summarize, ttftOf } from '../../src/cli/load/statistics.ts';
import { repositoryPath } from '../fixtures.ts';

const folder = mkdtempSync(join(tmpdir(), 'ingot-bench-serve-'));
const servers: Server[] = [];
after(() => {
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true });
});

interface Asked {
  readonly prompt?: string;
  readonly messages?: readonly { readonly content: string }[];
  readonly model: string;
  readonly max_tokens: number;
  readonly ignore_eos?: boolean;
}

type Script = (asked: Asked, response: ServerResponse, request: IncomingMessage) => Promise<void>;

/** The base URL of a server on which `script` answers what is posted. */
async function scripted(script: Script): Promise<URL> {
  const server = createServer(async (request, response) => {
    if (request.method === 'GET') {
      response.setHeader('Content-Type', 'application/json').end('{"data": [{"id": "scripted"}]}');
      return;
    }
    let body = '';
    for await (const part of request) body += part;
    await script(JSON.parse(body) as Asked, response, request);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`);
}

const event = (value: object) => `data: ${JSON.stringify(value)}\n\n`;
const text = (content: string) => event({ choices: [{ index: 0, text: content, finish_reason: null }] });
const usage = (prompt: number, output: number, cached = 0) =>
  event({
    choices: [],
    usage: {
      prompt_tokens: prompt,
      completion_tokens: output,
      prompt_tokens_details: { cached_tokens: cached },
    },
  });
const begin = (response: ServerResponse) => response.writeHead(200, { 'Content-Type': 'text/event-stream' });

const never = new AbortController().signal;
const question: Question = { prompt: 'a b', maxTokens: 3, mayEnd: false };
const target = (base: URL, api: Api = 'completions') => ({ base, api, model: 'scripted' });

test('moments are those at which the server wrote, and tokens those that it counted', async () => {
  const wrote: number[] = [];
  const base = await scripted(async (asked, response) => {
    assert.deepEqual([asked.prompt, asked.max_tokens, asked.ignore_eos, asked.model], ['a b', 3, true, 'scripted']);
    begin(response);
    await sleep(80);
    for (const word of ['one', 'two', '']) {
      wrote.push(performance.now());
      response.write(text(word));
      await sleep(40);
    }
    // An event may come in pieces, cut inside of a character.
    const bytes = Buffer.from(usage(7, 5, 2).replace('data: {', 'data: {"x": "é", '));
    const cut = bytes.indexOf(0xc3) + 1;
    response.write(bytes.subarray(0, cut));
    await sleep(20);
    response.write(bytes.subarray(cut));
    response.end('data: [DONE]\n\n');
  });
  assert.equal(await firstModel(base, undefined, never), 'scripted');
  const tries: number[][] = [];
  const isNear = (late: readonly number[]) => late.every((one) => one < 35);
  // Where the machine is busy whoever reads is late by himself.
  while (tries.length < 30 && !tries.some(isNear)) {
    wrote.length = 0;
    const sentAt = performance.now();
    const reply = await ask(target(base), question, never);
    assert.deepEqual([reply.promptTokens, reply.cachedTokens, reply.outputTokens, reply.error], [7, 2, 5, undefined]);
    const late = [(reply.firstAt ?? 0) - wrote[0], reply.endAt - wrote[2]];
    assert.ok(
      late.every((one) => one >= 0),
      `${late} ms`,
    );
    assert.ok((reply.firstAt ?? 0) - sentAt >= 79);
    tries.push(late);
  }
  assert.ok(tries.some(isNear), `late by ${tries.join('; ')} ms`);
});

test('the role of a chat is no text, reasoning is; servers that do not count are counted for', async () => {
  let textAt = 0;
  const delta = (value: object) => event({ choices: [{ index: 0, delta: value }] });
  const base = await scripted(async (asked, response) => {
    assert.deepEqual(asked.messages, [{ role: 'user', content: 'a b' }]);
    assert.equal(asked.ignore_eos, undefined);
    begin(response).write(delta({ role: 'assistant', content: '' }));
    await sleep(60);
    textAt = performance.now();
    response.write(delta({ reasoning_content: 'hm' }));
    response.end(`${delta({ content: 'yes' })}${delta({})}data: [DONE]\n\n`);
  });
  const reply = await ask(target(base, 'chat'), { ...question, mayEnd: true }, never);
  assert.equal(reply.outputTokens, 2);
  assert.ok((reply.firstAt ?? 0) >= textAt);
});

test('an open loop keeps to its times however slow answers are, and counts from them', async () => {
  const came: number[] = [];
  let allCame: () => void = () => {};
  let busy = new Promise<void>((resolve) => {
    allCame = resolve;
  });
  // One request at a time, 150 ms each, the first when all have come: the fifth of five that come every 10 ms waits for four.
  const base = await scripted(async (_, response) => {
    if (came.push(performance.now()) === 5) allCame();
    begin(response);
    busy = busy.then(() => sleep(150)).then(() => void response.end(`${text('x')}${usage(1, 1)}data: [DONE]\n\n`));
    await busy;
  });
  const plan = Array.from({ length: 5 }, (_, i) => ({ at: i * 0.01, prompt: [], outputTokens: 1 }));
  const send = () => ask(target(base), question, never);
  const samples = await runLoad(plan, send, { signal: never });
  assert.deepEqual(
    samples.map(({ arrival }) => arrival),
    [0, 0.01, 0.02, 0.03, 0.04],
  );
  // 5 * 150 ms after the first arrival at least, but for timers that are early by less than a millisecond.
  assert.ok(ttftOf(samples[4]) > 0.745 - 0.04);

  // With room for one at a time they wait on this side, for as long.
  came.length = 0;
  const limited = await runLoad(plan, send, { signal: never, concurrency: 1 });
  assert.ok(came[1] - came[0] >= 149);
  assert.ok(limited[4].sent >= 0.595 && ttftOf(limited[4]) > 0.745 - 0.04);
  assert.equal(summarize(limited).peakConcurrency, 1);
});

test('a closed loop sends the next when one is answered; an abort ends all', async () => {
  let [now, most] = [0, 0];
  const base = await scripted(async (_, response) => {
    most = Math.max(most, ++now);
    begin(response).write(text('x'));
    await sleep(50);
    response.end(`${text('y')}${usage(1, 2)}data: [DONE]\n\n`);
    now--;
  });
  const plan = Array.from({ length: 9 }, () => ({ prompt: [], outputTokens: 1 }));
  const samples = await runLoad(plan, () => ask(target(base), question, never), { signal: never, concurrency: 3 });
  assert.equal(samples.length, 9);
  assert.equal(most, 3);
  assert.ok(samples.every(({ arrival, sent }) => arrival === sent));
  assert.ok((summarize(samples).tbot?.p50 ?? 0) > 0.03);

  const controller = new AbortController();
  const { signal } = controller;
  let waiting = 0;
  const silent = await scripted(async (_, response) => {
    begin(response).write(text('x'));
    if (++waiting === 3) controller.abort();
  });
  const given = await runLoad(plan, () => ask(target(silent), question, signal), { signal, concurrency: 3 });
  assert.equal(given.length, 3, 'the others were never sent');
  assert.ok(given.every(({ error }) => error !== undefined));
});

test('answers that are none are failures with a reason', async () => {
  const cases: readonly (readonly [Script, RegExp])[] = [
    [async (_, r) => void r.writeHead(429).end('{"error": {"message": "too many"}}'), /^status 429: too many$/],
    [async (_, r) => void r.writeHead(200, { 'Content-Type': 'text/html' }).end('<p>'), /^status 200: <p>$/],
    [async (_, r) => void begin(r).end(text('x')), /broke off/],
    [async (_, r) => void begin(r).end('data: {"error": {"message": "lost"}}\n\ndata: [DONE]\n\n'), /^lost$/],
    [async (_, r) => void begin(r).end('data: {\n\n'), /JSON/],
    [async (_, __, request) => void request.socket.destroy(), /hang up|ECONNRESET/],
    [async (_, r) => void begin(r).end(`data: ${'x'.repeat(5 << 20)}`), /line without an end/],
  ];
  for (const [script, reason] of cases) {
    assert.match((await ask(target(await scripted(script)), question, never)).error ?? '', reason);
  }
  await assert.rejects(firstModel(new URL('http://127.0.0.1:9/v1'), undefined, never), /127\.0\.0\.1:9/);
});

/** Runs the command line until it ends. */
function ingot(...args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  const env = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache'), LOCALAPPDATA: join(folder, 'cache') };
  const child = spawn(process.execPath, [repositoryPath('dist', 'ingot', 'main.js'), ...args], { cwd: folder, env });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    out += part;
  });
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    err += part;
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })));
}

test('a server of its own is loaded: tokens as asked for, a shared beginning known, files written', async () => {
  const args = ['--requests', '12', '--concurrency', '3', '--prefix-tokens', '200', '--prompt-tokens', '20-40'];
  const files = ['--json', 'load.json', '--html', 'load.html', '--slo-ttft', '60000'];
  const { code, out, err } = await ingot('bench', 'serve', ...args, '--output-tokens', '8', ...files);
  assert.equal(code, 0, out + err);
  assert.match(out, /12 of 12 answered/);
  const report = JSON.parse(readFileSync(join(folder, 'load.json'), 'utf8')) as {
    summary: { outputTokens: number; promptTokens: number; cachedTokens: number; goodput: { share: number } };
    samples: readonly Sample[];
  };
  const { summary, samples } = report;
  assert.equal(samples.length, 12);
  assert.equal(summary.outputTokens, 96);
  assert.equal(summary.goodput.share, 1);
  assert.ok(Math.abs(summary.promptTokens / 12 / 230 - 1) < 0.15, `${summary.promptTokens / 12} tokens a prompt`);
  // All but the first three, which are computed together, begin with 192 tokens or so of 200 that are known: whole blocks.
  assert.ok(summary.cachedTokens >= 9 * 150, `${summary.cachedTokens} tokens were known`);
  const page = readFileSync(join(folder, 'load.html'), 'utf8');
  assert.ok(page.includes('<svg') && !/<script|https?:(?!\/\/127)/.test(page), 'nothing from elsewhere');
  const [, url] = /(http:\/\/127\.0\.0\.1:\d+)/.exec(out) ?? [];
  await assert.rejects(fetch(`${url}/health`), 'the server was stopped');
});

test('a trace is sent to a server that is named; what it refuses makes the command fail', async () => {
  writeFileSync(
    join(folder, 'trace.jsonl'),
    [0, 40, 80, 90]
      .map((timestamp) => JSON.stringify({ timestamp, input_length: 6, output_length: 2, hash_ids: [0] }))
      .join('\n'),
  );
  let asked = 0;
  const base = await scripted(async ({ max_tokens }, response) => {
    asked++;
    if (max_tokens === 2 && asked === 6) return void response.writeHead(500).end('{"error": {"message": "a fault"}}');
    begin(response).end(`${text('x')}${usage(asked === 2 ? 84 : 4, max_tokens)}data: [DONE]\n\n`);
  });
  const { code, out, err } = await ingot('bench', 'serve', base.href, '--trace', 'trace.jsonl', '--offline');
  assert.equal(code, 1, out + err);
  assert.match(out, /3 of 4 answered/);
  assert.match(out, /failed: status 500: a fault/);
  assert.equal(asked, 6, 'two to learn the length of words');
  for (const wrong of [
    ['nowhere'],
    [base.href, '--serve', 'x.gguf'],
    ['--burst', '4'],
    [base.href, '--prompt-tokens', '9-3'],
    [base.href, '--trace', 'load.html'],
  ]) {
    const refused = await ingot('bench', 'serve', ...wrong);
    assert.ok(refused.code === 2 || /ParseError/.test(refused.err), `${wrong}: ${refused.err}`);
  }
});
