/** The bundled model on the CPU device: integer products give the same bits for every number of threads and every way to cut a prompt. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalEngine } from '../../src/engine/local-engine.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { noCpu, openCpu } from '../conformance/devices.ts';
import { repositoryPath } from '../fixtures.ts';

async function onThreads<T>(threads: number, work: (engine: LocalEngine) => Promise<T>): Promise<T> {
  await using checkpoint = await openCheckpoint(repositoryPath('models', 'tales', 'tales-q8_0.gguf'));
  const model = openModel(checkpoint);
  const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata }, model);
  await using device = openCpu(threads);
  await using engine = await LocalEngine.load(device, model, tokenizer, { contextLength: 256 });
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
