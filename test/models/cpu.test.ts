/** The bundled model on the CPU device: integer products give the same bits for every number of threads and every way to cut a prompt. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EngineNumerics } from '../../src/engine/engine.ts';
import { LocalEngine } from '../../src/engine/local-engine.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { noCpu, openCpu } from '../conformance/devices.ts';
import { repositoryPath } from '../fixtures.ts';

async function onThreads<T>(
  threads: number,
  work: (engine: LocalEngine) => Promise<T>,
  numerics: EngineNumerics = 'exact',
): Promise<T> {
  await using checkpoint = await openCheckpoint(repositoryPath('models', 'tales', 'tales-q8_0.gguf'));
  const model = openModel(checkpoint);
  const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata }, model);
  await using device = openCpu(threads);
  await using engine = await LocalEngine.load(device, model, tokenizer, { contextLength: 256, numerics });
  return await work(engine);
}

/** 170 tokens: the prompt of the second generation takes two steps, the first computed them one by one. */
async function bits(engine: LocalEngine) {
  const run = async (prompt: readonly number[], maxTokens: number) => {
    const ids: number[] = [];
    const logprobs: number[] = [];
    const sampling = { temperature: 0.9, topK: 40, topP: 0.95, minP: 0.05, seed: 5n };
    for await (const event of engine.generate({ prompt, maxTokens, sampling, ignoreEnd: true })) {
      if (event.kind !== 'token') continue;
      ids.push(event.id);
      logprobs.push(event.logprob);
    }
    return { ids, logprobs };
  };
  const prompt = engine.tokenizer.encode('Once upon a time');
  const whole = await run(prompt, 170);
  const again = await run([...prompt, ...whole.ids.slice(0, 160)], 10);
  assert.deepEqual(again, { ids: whole.ids.slice(160), logprobs: whole.logprobs.slice(160) });
  await engine.checkIntegrity();
  return whole;
}

test('the same bits on one and two threads, with prompts in steps and token by token', {
  skip: noCpu ?? false,
}, async () => {
  const one = await onThreads(1, bits);
  assert.equal(one.ids.length, 170);
  assert.deepEqual(await onThreads(2, bits), one);
});

test('fast numerics read a prompt in bf16, and decode as exact ones', { skip: noCpu ?? false }, async () => {
  const logprobs = async (engine: LocalEngine, prompt: readonly number[]) => {
    const all: number[] = [];
    for await (const event of engine.generate({ prompt, maxTokens: 6 })) {
      if (event.kind === 'token') all.push(event.logprob);
    }
    return all;
  };
  const both = async (engine: LocalEngine) => {
    const prompt = engine.tokenizer.encode('The fox looked at the');
    return { decoded: await logprobs(engine, prompt.slice(0, 1)), read: await logprobs(engine, prompt) };
  };
  const [exact, fast] = [await onThreads(2, both), await onThreads(2, both, 'fast')];
  assert.deepEqual(fast.decoded, exact.decoded);
  assert.notDeepEqual(fast.read, exact.read);
  fast.read.forEach((logprob, i) => {
    assert.ok(Math.abs(logprob - (exact.read[i] as number)) < 0.1, `${logprob} is not near ${exact.read[i]}`);
  });
});
