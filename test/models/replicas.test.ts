/** Several engines as one, with a model: answers go on with the same text, tokens and figures whatever is lost under them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorCode } from '../../src/base/errors.ts';
import type { Device } from '../../src/devices/device.ts';
import { openDevice } from '../../src/devices/open-node.ts';
import type { GenerateRequest } from '../../src/engine/engine.ts';
import { LocalEngine } from '../../src/engine/local-engine.ts';
import { openReplicas } from '../../src/engine/replicas.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { devices } from '../conformance/devices.ts';
import { repositoryPath } from '../fixtures.ts';
import { generateWith } from './engine-suite.ts';
import { faultyDevice } from './faulty-device.ts';
import { loseReplicas } from './replica-losses.ts';

test('a worker that is killed under eight streams costs none of them', async () => {
  const { replays } = await loseReplicas(3, Object.keys(devices).includes('cpu') ? 'cpu' : 'reference');
  assert.ok(replays >= 3, `${replays} replays`);
});

test('a device or a rank that is lost in a step changes no answer, of any kind', async () => {
  await using checkpoint = await openCheckpoint(repositoryPath('models', 'tales', 'tales-q8_0.gguf'));
  const model = openModel(checkpoint);
  const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata });
  await using device = await openDevice();
  const long = 'Once upon a time there was a fox. '.repeat(12);
  const requests: Partial<GenerateRequest>[] = [
    { prompt: 'The fox', maxTokens: 40, ignoreEnd: true },
    { prompt: long, maxTokens: 20, topLogprobs: 3, sampling: { temperature: 1, seed: 4n, frequencyPenalty: 0.4 } },
    { prompt: [3], maxTokens: 30, minTokens: 25, sampling: { temperature: 2, seed: 9n } },
  ];
  const options = { sequences: 2, contextLength: 200 };
  await using whole = await LocalEngine.load(device, model, tokenizer, options);
  const { text } = await generateWith(whole, { prompt: 'Tom', maxTokens: 30, ignoreEnd: true });
  requests.push({ prompt: 'Tom', maxTokens: 30, stop: [text.slice(40, 52)] });
  const expected: Awaited<ReturnType<typeof generateWith>>[] = [];
  for (const request of requests) expected.push(await generateWith(whole, request));
  for (const [code, at] of [
    ['RankLost', 'wait'],
    ['DeviceLost', 'wait'],
    ['DeviceLost', 'submit'],
  ] as const) {
    let [runs, losses] = [0, 0];
    const fails = (): ErrorCode | undefined => {
      if (++runs % 14 !== 0 || losses >= 3) return undefined;
      losses++;
      return code;
    };
    // Each engine has a device of its own: who gives up a run stops all runs of its device.
    const own: Device[] = [];
    const open = async () => {
      const one = await openDevice(undefined, { threads: 1 });
      own.push(one);
      return LocalEngine.load(faultyDevice(one, fails, at), model, tokenizer, options);
    };
    await using _ = { [Symbol.asyncDispose]: () => closeAll(own) };
    await using engine = await openReplicas([{ open }, { open }], { sequences: 2, queue: 8 });
    const answers = await Promise.all(requests.map((request) => generateWith(engine, request)));
    assert.equal(losses, 3);
    answers.forEach(({ tokens, text: said, end }, i) => {
      assert.deepEqual(tokens, expected[i].tokens, `${code} at ${at}: request ${i}`);
      assert.equal(said, expected[i].text);
      const { promptTokens, generatedTokens } = expected[i].end.statistics;
      assert.deepEqual(
        [end.reason, end.statistics.promptTokens, end.statistics.generatedTokens],
        [expected[i].end.reason, promptTokens, generatedTokens],
      );
    });
    await engine.checkIntegrity();
  }
});

async function closeAll(devices: readonly Device[]): Promise<void> {
  for (const device of devices) await device[Symbol.asyncDispose]();
}
