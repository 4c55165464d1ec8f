/** The API behind a real socket: readers that are slow, stop, or are cut off, and the end of a server. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { createApp } from '../../src/server/app.ts';
import { listen } from '../../src/server/listen.ts';
import { Models } from '../../src/server/models.ts';
import { FakeEngine } from './fake-engine.ts';

async function start(readerPatience: number) {
  const engine = new FakeEngine();
  const models = new Models([{ name: 'm', bytes: 1, open: async () => engine }]);
  const app = createApp({ models, log: pino({ level: 'silent' }), readerPatience });
  await models.preload();
  const server = await listen(app, { host: '127.0.0.1', port: 0, drainSeconds: 0 });
  return { engine, url: server.url, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

/** A client that has asked for an answer without an end. */
function client(url: string, stream: boolean): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  const asked = JSON.stringify({ prompt: 'x', max_tokens: 1e6, stream });
  socket.write(`POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${asked.length}\r\n\r\n${asked}`);
  return socket;
}

/** One that reads nothing of it. */
const silent = (url: string) => client(url, true).pause();

test('a client that goes away ends its request, whole or streamed', async () => {
  await using it = await start(60);
  const { engine } = it;
  engine.beforeToken = () => sleep(1);
  for (const stream of [false, true]) {
    const socket = client(it.url, stream);
    if (stream) await once(socket, 'data');
    while (engine.running === 0) await sleep(1);
    const before = engine.made;
    socket.destroy();
    for (let turn = 0; engine.running > 0 && turn < 5000; turn++) await sleep(1);
    assert.equal(engine.running, 0, `${stream ? 'streamed' : 'whole'}: ${engine.made - before} tokens for nobody`);
  }
});

test('what is not read is not made, and a reader that has stopped is cut off', async () => {
  const patience = 0.5;
  await using it = await start(patience);
  const { engine } = it;
  engine.textOf = () => 'x'.repeat(100_000);
  const begin = performance.now();
  const socket = silent(it.url);
  while (engine.running === 0) await sleep(5);
  while (engine.running > 0) await sleep(20);
  assert.ok(performance.now() - begin > 900 * patience, 'it was waited for');
  assert.ok(engine.made < 500, `${engine.made} tokens of 100 kB were on their way`);
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
});

test('a connection that nobody uses is kept for longer than load balancers keep theirs', async () => {
  await using it = await start(1);
  const answer = await fetch(`${it.url}/health`);
  await answer.text();
  assert.equal(answer.headers.get('keep-alive'), 'timeout=75');
});

test('a slow reader gets all of it, however long that takes', async () => {
  const patience = 3;
  await using it = await start(patience);
  it.engine.textOf = () => 'x'.repeat(100_000);
  const body = JSON.stringify({ prompt: 'x', max_tokens: 40, stream: true });
  const begin = performance.now();
  const answer = await fetch(`${it.url}/v1/completions`, { method: 'POST', body });
  let length = 0;
  let last = '';
  for await (const part of answer.body ?? []) {
    length += part.length;
    last = Buffer.from(part).toString().slice(-40);
    await sleep(100);
  }
  assert.ok(length > 40 * 100_000);
  assert.ok(performance.now() - begin > 1000 * patience, 'it was read too fast');
  assert.ok(last.endsWith('data: [DONE]\n\n'));
});

test('a server ends although somebody does not read, and somebody has sent half a request', async () => {
  const it = await start(60);
  it.engine.textOf = () => 'x'.repeat(100_000);
  const stopped = silent(it.url);
  const { hostname, port } = new URL(it.url);
  const half = connect(Number(port), hostname);
  half.on('error', () => {});
  half.write('POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"prom');
  while (it.engine.running === 0) await sleep(5);
  const begin = performance.now();
  await it[Symbol.asyncDispose]();
  assert.ok(performance.now() - begin < 50_000, 'it waited for them');
  assert.ok(it.engine.closed);
  stopped.destroy();
  half.destroy();
});
