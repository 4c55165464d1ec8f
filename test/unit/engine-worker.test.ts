/** An engine behind a port, with an engine that is written down: batches, slow readers, errors, and a worker that ends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { IngotError, isIngotError } from '../../src/base/errors.ts';
import { connectEngine, type WorkerPort } from '../../src/engine/client.ts';
import type { Engine, GenerateEvent, GenerateRequest, LoadHooks } from '../../src/engine/engine.ts';
import { serveEngine } from '../../src/engine/host.ts';
import type { Port, ToClient, ToHost } from '../../src/engine/messages.ts';
import { openWorker, workerPort } from '../../src/engine/open-worker-node.ts';
import { Workers } from '../../src/engine/workers-node.ts';
import { plainText } from '../../src/tokenizer/answers/formats.ts';

const end: GenerateEvent = {
  kind: 'end',
  text: '',
  reason: 'length',
  statistics: { promptTokens: 1, queueSeconds: 0, reusedTokens: 0, generatedTokens: 0, totalSeconds: 0 },
};
const token = (id: number): GenerateEvent => ({ kind: 'token', id, logprob: 0, text: `${id} ` });

interface Written {
  /** Events of a generation, instead of `maxTokens` tokens and an end. */
  generate?(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined>;
  load?(hooks: LoadHooks): Promise<void>;
}

/** An engine of one line, its client, and what went through the port between them. */
async function connect(written: Written = {}, hooks: LoadHooks = {}) {
  const log = { made: 0, left: 0, messages: 0, closed: false };
  const engine: Engine = {
    model: {
      architecture: 'none',
      vocabularySize: 9,
      contextLength: 9,
      layers: 1,
      matryoshka: false,
      parameterCount: 1,
    },
    device: { name: 'null', threads: 1 },
    contextLength: 9,
    hasChatTemplate: false,
    answerFormat: plainText,
    async *generate(request) {
      try {
        if (written.generate !== undefined) return yield* written.generate(request);
        for (let id = 0; id < request.maxTokens; id++) {
          if (request.signal?.aborted) break;
          log.made++;
          yield token(id);
          // As fast as any engine, which lets events have their turn.
          if (id % 8 === 7) await turn();
        }
        yield end;
      } finally {
        log.left++;
      }
    },
    encode: async () => [7],
    decode: async () => 'seven',
    tokenTexts: async () => [],
    status: async () => assert.fail('not asked for'),
    embed: async () => assert.fail(),
    score: async () => Float64Array.of(-1, -2),
    logits: async () => Float32Array.of(3),
    checkIntegrity: async () => {
      throw new TypeError('a defect');
    },
    [Symbol.asyncDispose]: async () => {
      log.closed = true;
    },
  };
  let lost: (cause: unknown) => void = () => {};
  const toHost = channel<ToHost<string>>();
  const toClient = channel<ToClient>(() => log.messages++);
  const host: Port<ToHost<string>, ToClient> = { send: toClient.send, listen: toHost.listen };
  const port: WorkerPort<ToClient, ToHost<string>> = {
    send: toHost.send,
    listen: toClient.listen,
    hold: () => {},
    stays: false,
    end: async () => {},
    onLost(report) {
      lost = report;
    },
  };
  serveEngine<string>(host, async (_, given) => {
    await written.load?.(given);
    return { engine, [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose]() };
  });
  return { client: await connectEngine(port, 'settings', hooks), log, lose: (cause: unknown) => lost(cause) };
}

/** Messages in one direction: cloned, later, in order. */
function channel<M>(onMessage: () => void = () => {}) {
  let receiver: (message: M) => void = () => {};
  return {
    send(message: M) {
      const clone = structuredClone(message);
      onMessage();
      setImmediate(() => receiver(clone));
    },
    listen(receive: (message: M) => void) {
      receiver = receive;
    },
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test('tokens that come fast share messages, and all arrive in order', async () => {
  const { client, log } = await connect();
  const before = log.messages;
  const ids: number[] = [];
  for await (const event of client.generate({ prompt: [1], maxTokens: 5000 })) {
    if (event.kind === 'token') ids.push(event.id);
    else assert.deepEqual(event, end);
  }
  assert.deepEqual(
    ids,
    Array.from({ length: 5000 }, (_, id) => id),
  );
  // Those of a turn of the event loop at least, of which it makes eight.
  assert.ok(log.messages - before < 700, `${log.messages - before} messages`);
});

test('what several answers say in the same step is one message', async () => {
  const steps = 20;
  const waiting: (() => void)[] = [];
  const { client, log } = await connect({
    async *generate() {
      for (let id = 0; id < steps; id++) {
        await new Promise<void>((resolve) => waiting.push(resolve));
        yield token(id);
      }
      yield end;
    },
  });
  const read = async () => {
    const ids: number[] = [];
    for await (const event of client.generate({ prompt: [1], maxTokens: steps })) {
      if (event.kind === 'token') ids.push(event.id);
    }
    return ids;
  };
  const all = Array.from({ length: 16 }, read);
  const before = log.messages;
  for (let step = 0; step < steps; step++) {
    while (waiting.length < all.length) await turn();
    // Longer than messages are kept back for others.
    await new Promise((resolve) => setTimeout(resolve, 6));
    for (const wake of waiting.splice(0)) wake();
  }
  const whole = Array.from({ length: steps }, (_, id) => id);
  assert.deepEqual(
    await Promise.all(all),
    all.map(() => whole),
  );
  // Each answer ends with a message of its own.
  assert.ok(log.messages - before <= steps + 2 * all.length, `${log.messages - before} messages`);
});

test('a token that comes alone is not held back', async () => {
  let ask: () => void = () => {};
  const { client } = await connect({
    async *generate() {
      for (let id = 0; id < 3; id++) {
        yield token(id);
        await new Promise<void>((resolve) => {
          ask = resolve;
        });
      }
      yield end;
    },
  });
  const events = client.generate({ prompt: [1], maxTokens: 3 });
  for (let id = 0; id < 3; id++) {
    assert.deepEqual((await events.next()).value, token(id));
    ask();
  }
  assert.deepEqual((await events.next()).value, end);
});

test('a slow reader slows the engine, and little waits for it', async () => {
  const { client, log } = await connect();
  let read = 0;
  for await (const _ of client.generate({ prompt: [1], maxTokens: 2000 })) {
    if (read++ % 100 === 0) for (let i = 0; i < 50; i++) await turn();
    assert.ok(log.made - read <= 256, `${log.made} made, ${read} read`);
  }
  assert.equal(read, 2001);
});

test('leaving the loop, and closing, end the work', async () => {
  const { client, log } = await connect();
  for await (const _ of client.generate({ prompt: [1], maxTokens: 1e6 })) break;
  assert.equal(log.left, 1, 'the generation was left before the loop was');
  const unread = client.generate({ prompt: [1], maxTokens: 1e6 });
  await unread.next();
  await client[Symbol.asyncDispose]();
  assert.deepEqual([log.left, log.closed], [2, true]);
  await assert.rejects(client.score([1, 2]), (error) => isIngotError(error, 'InvalidArgument'));
});

test('errors arrive as they were thrown', async () => {
  const cause = new RangeError('deep below');
  const options = { path: 'a file', offset: 7, hint: 'do this', cause };
  const { client } = await connect({
    // biome-ignore lint/correctness/useYield: it fails before.
    async *generate() {
      throw new IngotError('FileChanged', 'it shrank', options);
    },
  });
  await assert.rejects(client.generate({ prompt: [1], maxTokens: 1 }).next(), (error) => {
    assert.ok(isIngotError(error, 'FileChanged'));
    assert.deepEqual([error.message, error.place, error.hint], ['it shrank', { path: 'a file', offset: 7 }, 'do this']);
    assert.ok(
      error.cause instanceof Error && error.cause.name === 'RangeError' && error.cause.message === cause.message,
    );
    return true;
  });
  // A defect is none of Ingot's own errors, and shows where it happened.
  await assert.rejects(client.checkIntegrity(), (error) => {
    assert.ok(error instanceof Error && !isIngotError(error));
    assert.match(error.stack ?? '', /TypeError: a defect\n.*engine-worker\.test/);
    return true;
  });
  assert.deepEqual([...(await client.score([1, 2, 3]))], [-1, -2], 'and the engine goes on');
  assert.deepEqual([...(await client.logits([1, 2]))], [3]);
  assert.deepEqual(await client.encode('x'), [7]);
  await assert.rejects(
    connect({
      load: async () => {
        throw new IngotError('OutOfMemory', 'too large');
      },
    }),
    (error) => isIngotError(error, 'OutOfMemory'),
  );
});

test('loading reports progress and can be given up', async () => {
  const seen: number[] = [];
  const controller = new AbortController();
  const loading = connect(
    {
      async load({ signal, onProgress }) {
        for (let done = 1; !signal?.aborted; done++) {
          onProgress?.(done, 1e9);
          await turn();
        }
        throw new IngotError('Aborted', 'given up');
      },
    },
    {
      signal: controller.signal,
      onProgress(done) {
        seen.push(done);
        if (seen.length === 2) controller.abort();
      },
    },
  );
  await assert.rejects(loading, (error) => isIngotError(error, 'Aborted'));
  // The first at once; those that come fast share a message.
  assert.equal(seen[0], 1);
  assert.ok(seen[1] > 2, `${seen}`);
});

test('a worker that ends by itself rejects what waits for it and what comes later', async () => {
  const { client, lose } = await connect({
    async *generate() {
      yield token(1);
      await new Promise(() => {});
    },
  });
  const events = client.generate({ prompt: [1], maxTokens: 5 });
  await events.next();
  const next = events.next();
  lose(new Error('it threw'));
  const gone = (error: unknown) => isIngotError(error, 'DeviceLost') && /it threw/.test(error.message);
  await assert.rejects(next, gone);
  await assert.rejects(client.score([1, 2]), gone);
  await client[Symbol.asyncDispose]();
});

test('a thread of Node that throws or exits is such a worker', async () => {
  for (const [code, says] of [
    ['throw new Error("it threw")', /it threw/],
    ['process.exit(3)', /exit code 3/],
  ] as const) {
    const worker = new Worker(code, { eval: true });
    const exit = new Promise((resolve) => worker.once('exit', resolve));
    const losses: string[] = [];
    const onLost = ({ message }: IngotError) => losses.push(message);
    await assert.rejects(connectEngine(workerPort(worker), { path: 'none' }, { onLost }), (error) => {
      return isIngotError(error, 'DeviceLost') && says.test(error.message);
    });
    await exit;
    assert.equal(losses.length, 1, losses.join());
  }
});

test('threads serve one engine after another, and none of them is given out that has ended', async () => {
  await using workers = new Workers();
  const open = () => openWorker('none', { workers });
  const isMissing = (error: unknown) => isIngotError(error, 'FileNotFound');
  // One that cannot be loaded gives its thread back as one that is closed does; two at a time have two.
  await assert.rejects(open(), isMissing);
  const first = workers.take();
  const second = workers.take();
  assert.notEqual(first.threadId, second.threadId);
  await workers.giveBack(first);
  await assert.rejects(open(), isMissing);
  assert.equal(first.listenerCount('message') + first.listenerCount('error'), 1, 'nobody listens but who has it');
  assert.equal(workers.take(), first);
  await workers.giveBack(second);
  await second.terminate();
  const third = workers.take();
  assert.notEqual(third, second);
  for (const worker of [first, third]) await workers.giveBack(worker);
});
