/**
 * Streams of a server whose engines are killed meanwhile: eight at a time over HTTP, of two replicas in workers of this process, one of
 * which ends in the middle. Every stream has to end with the text that it has undisturbed.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { pino } from 'pino';
import { connectEngine } from '../../src/engine/client.ts';
import type { EngineSettings } from '../../src/engine/load-node.ts';
import { workerPort } from '../../src/engine/open-worker-node.ts';
import { openReplicas } from '../../src/engine/replicas.ts';
import { startWorker } from '../../src/engine/workers-node.ts';
import { createApp } from '../../src/server/app.ts';
import { Models } from '../../src/server/models.ts';
import { repositoryPath } from '../fixtures.ts';

const path = repositoryPath('models', 'tales', 'tales-q8_0.gguf');
const replicas = 2;
const prompts = [
  'Once upon a time',
  'The fox',
  'A big dog',
  'Tom',
  'Lily saw',
  'One day a bird',
  'The sun',
  'In the forest',
];

export interface LossReport {
  readonly streams: number;
  readonly replays: number;
  readonly restarts: number;
  /** Of streams that had to go on elsewhere: the longest time without a token. */
  readonly longestPause: number;
}

/**
 * Kills a worker under the streams, so many times. @throws AssertionError for a stream that ends otherwise. An answer is longer than
 * what a worker makes ahead of its readers, so none is whole when its worker goes.
 */
export async function loseReplicas(times: number, device: string, maxTokens = 320): Promise<LossReport> {
  const workers: Worker[] = [];
  const sources = Array.from({ length: replicas }, (_, i) => ({
    open(_epoch: number, hooks: Parameters<typeof connectEngine>[2]) {
      workers[i] = startWorker();
      const settings = { path, device, threads: 1, sequences: 8, contextLength: 512 };
      return connectEngine<EngineSettings>(workerPort(workers[i]), settings, hooks);
    },
  }));
  const open = () => openReplicas(sources, { sequences: 8, queue: 64 });
  await using models = new Models([{ name: 'tales', bytes: 0, open }]);
  await models.preload();
  const app = createApp({ models, log: pino({ level: 'silent' }) });
  const longest = { pause: 0 };
  let events = 0;
  const none = { at: Number.POSITIVE_INFINITY, kill: () => {} };
  let loss = none;
  const stream = async (i: number) => {
    const response = await app.fetch(
      new Request('http://here/v1/completions', {
        method: 'POST',
        body: JSON.stringify({
          ...{ prompt: prompts[i], max_tokens: maxTokens, ignore_eos: true, stream: true, logprobs: 1 },
          // Half of them draw.
          ...{ temperature: i % 2, seed: i, presence_penalty: 0.3, stop: ['never said'] },
        }),
      }),
    );
    let [text, logprobs, last] = ['', 0, performance.now()];
    const decoder = new TextDecoder();
    for await (const bytes of response.body ?? []) {
      longest.pause = Math.max(longest.pause, performance.now() - last);
      last = performance.now();
      const more = decoder.decode(bytes, { stream: true });
      events += more.split('data: {').length - 1;
      text += more;
      if (events >= loss.at) loss.kill();
    }
    const chunks = text.split('\n').filter((line) => line.startsWith('data: {'));
    const said = chunks.flatMap((line) => (JSON.parse(line.slice(6)) as Chunk).choices);
    logprobs = said.reduce((sum, choice) => sum + (choice.logprobs?.tokens.length ?? 0), 0);
    return { text: said.map((choice) => choice.text).join(''), logprobs, reason: said.at(-1)?.finish_reason };
  };
  const all = () => Promise.all(prompts.map((_, i) => stream(i)));
  const expected = await all();
  const undisturbed = events;
  assert.ok(expected.every(({ logprobs, reason }) => logprobs === maxTokens && reason === 'length'));
  longest.pause = 0;
  // A worker at rest does not keep the process alive, not even while it ends.
  using _ = keepAlive();
  for (let i = 0; i < times; i++) {
    events = 0;
    const killed = new Promise<number>((resolve) => {
      // At another place and another replica each time, as far as these go.
      const at = undisturbed * (0.1 + 0.3 * ((i * 0.618) % 1));
      const kill = () => {
        loss = none;
        resolve(workers[i % replicas].terminate());
      };
      loss = { at, kill };
    });
    assert.deepEqual(await all(), expected, `loss ${i}`);
    await killed;
    while (models.replicas.ready < replicas) await sleep(5);
  }
  using lease = await models.acquire('tales', new AbortController().signal);
  await lease.engine.checkIntegrity();
  const { replicas: states = [] } = await lease.engine.status();
  const sum = (of: (state: (typeof states)[number]) => number) => states.reduce((total, one) => total + of(one), 0);
  assert.equal(
    sum(({ requests }) => requests),
    0,
  );
  assert.equal(
    sum(({ restarts }) => restarts),
    times,
  );
  return {
    streams: times * prompts.length,
    replays: sum(({ replays }) => replays),
    restarts: times,
    longestPause: longest.pause / 1000,
  };
}

function keepAlive(): Disposable {
  const timer = setInterval(() => {}, 1000);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

interface Chunk {
  readonly choices: readonly {
    readonly text: string;
    readonly finish_reason: string | null;
    readonly logprobs: { readonly tokens: readonly string[] } | null;
  }[];
}
