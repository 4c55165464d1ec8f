/** The engine in a worker thread: the contract of engines, and what a thread of its own is for. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { isIngotError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openEngine } from '../../src/engine/open-node.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { devices, noCpu } from '../conformance/devices.ts';
import { repositoryPath } from '../fixtures.ts';
import { generateWith, testEngine } from './engine-suite.ts';
import { assertSameText } from './same-text.ts';

const path = repositoryPath('models', 'tales', 'tales-q8_0.gguf');
await using checkpoint = await openCheckpoint(path);
const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata });

testEngine('in a worker', (options) => openEngine(path, { ...options, device: 'reference' }), tokenizer);

testEngine('two replicas', (options) => openEngine(path, { ...options, mesh: 'data=2' }), tokenizer);

test('two replicas of two ranks each say what one device says, at the same time', {
  skip: noCpu ?? false,
}, async (t) => {
  const prompts = ['The fox', 'Once upon a time', 'Tom'].map((text) => tokenizer.encode(text));
  const answers = async (engine: Engine) => {
    const requests = prompts.map((prompt) => ({
      prompt,
      maxTokens: 40,
      ignoreEnd: true,
      sampling: { temperature: 0 },
    }));
    const all = await Promise.all(requests.map((request) => generateWith(engine, request)));
    await engine.checkIntegrity();
    return all.map(({ ids }) => ids);
  };
  await using one = await openEngine(path, { sequences: 3 });
  await using many = await openEngine(path, { sequences: 4, mesh: 'data=2,tensor=2' });
  const [own, theirs] = [await answers(one), await answers(many)];
  for (const [i, prompt] of prompts.entries()) await assertSameText(t, one, prompt, own[i], theirs[i], 'i8');
});

const longPrompt = 'Once upon a time there was a fox. '.repeat(14);

test('the main thread goes on while steps take long', async () => {
  await using engine = await openEngine(path, { device: 'reference' });
  // The prompt is one step, which the worker computes without a pause. A thread that waited for it would have no turns.
  let [turns, computing] = [0, true];
  const go = () => {
    turns++;
    if (computing) setImmediate(go);
  };
  go();
  await generateWith(engine, { prompt: longPrompt, maxTokens: 1 });
  computing = false;
  assert.ok(turns > 100, `${turns} turns of the main thread in a step`);
});

test('loading reports progress in bytes of the file, and a signal ends it', async () => {
  const seen: number[] = [];
  let total = 0;
  const onProgress = (done: number, all: number) => {
    seen.push(done);
    total = all;
  };
  const engine = await openEngine(path, { device: 'reference', contextLength: 32, onProgress });
  await engine[Symbol.asyncDispose]();
  assert.ok(seen.length > 1 && seen.every((done, i) => i === 0 || done > seen[i - 1]));
  assert.equal(seen.at(-1), total);
  const controller = new AbortController();
  const loading = openEngine(path, { signal: controller.signal, onProgress: () => controller.abort() });
  await assert.rejects(loading, (error) => isIngotError(error, 'Aborted'));
  await assert.rejects(openEngine('gone.gguf'), (error) => {
    return isIngotError(error, 'FileNotFound') && error.place.path === 'gone.gguf';
  });
});

test('an engine that nobody uses does not keep the process alive, on any device', async () => {
  for (const device of Object.keys(devices)) {
    const script = `import { Engine } from ${JSON.stringify(repositoryPath('dist', 'src', 'index.js'))};
      const engine = await Engine.load(${JSON.stringify(path)}, { device: '${device}' });
      for await (const { kind } of engine.generate('The fox', { maxTokens: 2 })) console.log(kind);`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
    assert.deepEqual(stdout.trim().split('\n'), ['token', 'token', 'end']);
  }
});
