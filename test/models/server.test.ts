/**
 * The API on engines of this thread, where a test can see and break what is below: embeddings against those of transformers
 * (goldens.py), a device that runs out of memory, and keys that are kept apart.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { pino } from 'pino';
import type { Device } from '../../src/devices/device.ts';
import { openDevice } from '../../src/devices/open-node.ts';
import { LocalEngine, type LocalEngineOptions } from '../../src/engine/local-engine.ts';
import type { StepRecord } from '../../src/engine/step-trace.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { type AppOptions, createApp } from '../../src/server/app.ts';
import { Models } from '../../src/server/models.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { devices } from '../conformance/devices.ts';
import { repositoryPath } from '../fixtures.ts';
import { faultyDevice } from './faulty-device.ts';
import { anyVocabulary, golden, modelFolder } from './golden.ts';

const checkpoint = await openCheckpoint(repositoryPath('models', 'tales', 'tales-q8_0.gguf'));
const tales = openModel(checkpoint);
const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata }, tales);
const usable = await openDevice();

after(async () => {
  await usable[Symbol.asyncDispose]();
  await checkpoint[Symbol.asyncDispose]();
});

type Body = Readonly<Record<string, unknown>>;

function serve(open: () => Promise<LocalEngine>, options: Partial<AppOptions> = {}) {
  const models = new Models([{ name: 'm', bytes: 0, open }]);
  const app = createApp({ models, log: pino({ level: 'silent' }), ...options });
  const ask = async (path: string, body?: Body, key = ''): Promise<{ status: number; body: string }> => {
    const request = new Request(`http://here${path}`, {
      headers: { authorization: `Bearer ${key}` },
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
    });
    const response = await app.fetch(request);
    return { status: response.status, body: await response.text() };
  };
  return { models, ask, [Symbol.asyncDispose]: () => models[Symbol.asyncDispose]() };
}

/** The bundled model, and the steps that it took. */
function serveTales(options: LocalEngineOptions, appOptions: Partial<AppOptions> = {}, device: Device = usable) {
  const steps: StepRecord[] = [];
  const onStep = (record: StepRecord) => steps.push(record);
  const given = { sequences: 4, contextLength: 256, onStep, ...options };
  return { steps, ...serve(() => LocalEngine.load(device, tales, tokenizer, given), appOptions) };
}

interface Embeddings {
  readonly data: readonly { readonly embedding: number[] | string }[];
  readonly usage: { readonly prompt_tokens: number };
}

test('/v1/embeddings gives the vectors of transformers, whole, cut, and as bytes', async () => {
  for (const name of ['bert-mean', 'qwen3-embedding']) {
    const { ids, embedding: expected } = await golden(name);
    await using folder = await openCheckpoint(modelFolder(name));
    const model = openModel(folder);
    const words = await loadTokenizer({ kind: 'gguf', metadata: anyVocabulary(model.vocabularySize) });
    await using device = devices.reference();
    await using it = serve(() => LocalEngine.load(device, model, words, { contextLength: 64, sequences: 2 }));
    const embed = async (more: Body) => {
      const { status, body } = await it.ask('/v1/embeddings', { input: ids, ...more });
      return { status, body: JSON.parse(body) as Embeddings };
    };
    const { body } = await embed({ input: [ids, ids.slice(0, 3)] });
    assert.equal(body.usage.prompt_tokens, ids.length + 3);
    const [first, second] = body.data.map(({ embedding }) => embedding as number[]);
    const worst = Math.max(...(first ?? []).map((value, i) => Math.abs(value - expected[i])));
    assert.ok(worst <= 1e-5, `largest difference ${worst}`);
    assert.notDeepEqual(second, first);
    const { body: alone } = await embed({ input: ids.slice(0, 3) });
    assert.deepEqual(alone.data[0]?.embedding, second, 'it does not matter what else is asked');
    const bytes = Buffer.from(String((await embed({ encoding_format: 'base64' })).body.data[0]?.embedding), 'base64');
    assert.deepEqual(Array.from(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)), first);
    const cut = await embed({ dimensions: 8 });
    if (name === 'bert-mean') assert.equal(cut.status, 400, 'its vectors were not made to be cut');
    else {
      const length = Math.hypot(...expected.slice(0, 8));
      const vector = cut.body.data[0]?.embedding as number[];
      assert.equal(vector.length, 8);
      assert.ok(vector.every((value, i) => Math.abs(value - (expected[i] ?? 9) / length) < 1e-5));
    }
    assert.equal((await embed({ input: Array(65).fill(3) })).status, 400);
    const many = await Promise.all(Array.from({ length: 6 }, () => embed({ input: [ids, ids] })));
    assert.deepEqual(
      many.map(({ status }) => status),
      Array(6).fill(200),
      'they wait for each other',
    );
  }
});

test('a device that runs out of memory costs the newest request, with a reason, and the others nothing', async () => {
  let runs = 0;
  const full = faultyDevice(usable, () => (++runs === 12 ? 'OutOfMemory' : undefined), 'wait');
  const asked = { max_tokens: 30, temperature: 0, ignore_eos: true };
  const prompts = ['Once upon a time', 'The fox', 'A dog'];
  await using alone = serveTales({});
  const textOf = (body: string) => (JSON.parse(body) as { choices: { text: string }[] }).choices[0]?.text;
  const expected = await Promise.all(prompts.map((prompt) => alone.ask('/v1/completions', { prompt, ...asked })));
  await using it = serveTales({}, {}, full);
  await it.models.preload();
  const answers = await Promise.all(prompts.map((prompt) => it.ask('/v1/completions', { prompt, ...asked })));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 503],
  );
  assert.match(answers[2]?.body ?? '', /injected/);
  for (const i of [0, 1]) assert.equal(textOf(answers[i].body), textOf(expected[i].body), 'bits as without it');
  using lease = await it.models.acquire('m', new AbortController().signal);
  await lease.engine.checkIntegrity();
  assert.equal((await lease.engine.status()).cache.used, 0);
});

test('isolated keys: none reads, counts or times what another has computed', async () => {
  const prompt = 'Once upon a time there was a fox who lived in the forest. '.repeat(6);
  const options = { apiKeys: ['a', 'b'], metricsKey: 'm' };
  const stepTokens = (steps: readonly StepRecord[]) =>
    steps.flatMap(({ entries }) => entries).reduce((sum, { count }) => sum + count, 0);
  for (const isolate of [true, false]) {
    await using it = serveTales({}, { ...options, isolate });
    const ask = async (key: string, more: Body = {}) => {
      const before = it.steps.length;
      const { body } = await it.ask('/v1/completions', { prompt, max_tokens: 1, temperature: 0, ...more }, key);
      const { usage, choices } = JSON.parse(body) as {
        usage: { prompt_tokens_details: { cached_tokens: number } };
        choices: { text: string }[];
      };
      const computed = stepTokens(it.steps.slice(before));
      return { cached: usage.prompt_tokens_details.cached_tokens, computed, text: choices[0]?.text };
    };
    const cold = await ask('a');
    assert.equal(cold.cached, 0);
    const other = await ask('b');
    assert.equal(other.text, cold.text);
    if (isolate) {
      assert.equal(other.cached, 0);
      assert.equal(
        other.computed,
        cold.computed,
        'as many tokens as for a prompt that nobody has asked: no time tells',
      );
      assert.equal((await ask('b', { n: 2, best_of: 2 })).cached > 0, true, 'its own is found');
      // At the same time, too.
      const together = 'Tom had a dog. '.repeat(12);
      const pair = await Promise.all(['a', 'b'].map((key) => ask(key, { prompt: together })));
      assert.deepEqual(
        pair.map(({ cached }) => cached),
        [0, 0],
      );
      assert.equal((await it.ask('/metrics', undefined, 'b')).status, 401);
    } else {
      assert.ok(other.cached > 0 && other.computed < cold.computed, 'without isolation it is');
    }
  }
});
