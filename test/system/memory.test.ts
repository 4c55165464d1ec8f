/** What `ingot inspect` says that a run will take, beside what runs take. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { randomModel, type ShapeName } from '../../bench/random-model.ts';
import { formatPrediction, type MemoryPrediction, predictMemory } from '../../src/cli/memory.ts';
import { formatBytes } from '../../src/cli/report.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { Runner } from '../../src/engine/runner.ts';
import { stepLimits } from '../../src/engine/step-limits.ts';
import { createFile } from '../../src/formats/atomic-write-node.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { Settings } from '../../src/models/settings.ts';
import { noCpu } from '../conformance/devices.ts';
import { repositoryPath } from '../fixtures.ts';
import { modelFolder } from '../models/golden.ts';
import { ingot } from '../unit/formats-support.ts';

const main = repositoryPath('dist', 'ingot', 'main.js');
const bundled = repositoryPath('models', 'tales', 'tales-q8_0.gguf');
const folder = mkdtempSync(join(tmpdir(), 'ingot-memory-'));
after(() => rmSync(folder, { recursive: true, force: true }));

async function runIngot(...args: readonly string[]): Promise<string> {
  const env = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') };
  return (await promisify(execFile)(process.execPath, [main, ...args], { env, maxBuffer: 64 << 20 })).stdout;
}

/** Longer than a step, so that all of its temporaries are touched. */
const prompt = 'the fox '.repeat(150);

async function compare(path: string): Promise<{ readonly predicted: number; readonly taken: number }> {
  const run = async () => JSON.parse(await runIngot('run', path, prompt, '-n', '2', '--temperature', '0', '--json'));
  // Compiling, the first time, takes more.
  await run();
  const { peakBytes: taken, promptTokens } = (await run()).statistics;
  assert.ok(promptTokens > 128, String(promptTokens));
  const { memory } = JSON.parse(await runIngot('inspect', path, '--context', String(promptTokens + 2), '--json'));
  return { predicted: (memory as MemoryPrediction).totalBytes, taken };
}

async function written(shape: ShapeName): Promise<string> {
  const path = join(folder, `${shape}.gguf`);
  const layout = layoutGguf(randomModel(shape, 'q4_0', 1));
  await using file = await createFile(path, { length: layout.length });
  await layout.writeTo(file);
  await file.commit();
  return path;
}

/** Of the smaller ones most is JavaScript. */
const models: Readonly<Record<string, () => string | Promise<string>>> = {
  '324 MiB of weights': () => written('qwen3-0.6b'),
  'the bundled model': () => bundled,
};

for (const [name, pathOf] of Object.entries(models)) {
  test(`within 5% of a run of ${name}`, { skip: noCpu ?? false }, async () => {
    const { predicted, taken } = await compare(await pathOf());
    assert.ok(Math.abs(predicted / taken - 1) < 0.05, `predicted ${predicted}, taken ${taken}`);
  });
}

test('what fits: a context, or other formats', async () => {
  await using checkpoint = await openCheckpoint(bundled);
  const model = openModel(checkpoint);
  const all = await predictMemory(checkpoint, model, 'f32');
  const { weightBytes, scratchBytes, kvBytes, kvBytesPerThousandTokens } = all;
  assert.deepEqual([all.longestContext, all.fittingFormats], [512, []]);
  assert.equal(kvBytesPerThousandTokens, (1000 * 2 * 2 ** 20) / 512);
  assert.ok(Math.abs(kvBytes - 2 * 2 ** 20) < 1 << 16);
  const half = await predictMemory(checkpoint, model, 'f32', 512, weightBytes + scratchBytes + kvBytes / 2);
  assert.ok(half.longestContext > 250 && half.longestContext <= 260, String(half.longestContext));
  assert.ok(half.fittingFormats.some(({ format }) => format === 'q4_0'));
  assert.ok(!half.fittingFormats.some(({ format }) => format === 'f16' || format === 'q8_0'));
  const none = await predictMemory(checkpoint, model, 'f32', 512, 1000);
  assert.deepEqual([none.longestContext, none.fittingFormats], [0, []]);

  const room = `There is room for a context of ${half.longestContext} tokens.`;
  const noRoom = 'There is not enough room for this model.';
  const other = 'With its matrices in another format it would fit:';
  const said = (memory: MemoryPrediction) =>
    [room, noRoom, other].filter((sentence) => formatPrediction(memory).includes(sentence));
  assert.deepEqual([all, half, none].map(said), [[], [room, other], [noRoom]]);
  const [best] = half.fittingFormats;
  assert.ok(formatPrediction(half).includes(`${other} ${best?.format} (${formatBytes(best?.totalBytes ?? 0)})`));
});

test('a run that cannot fit says the same figures before it reads', async () => {
  await using checkpoint = await openCheckpoint(modelFolder('llama'));
  const model = openModel(checkpoint);
  const large = { ...model, contextLength: 2 ** 22 };
  const { weightBytes, kvBytes } = await predictMemory(checkpoint, large, 'f32');
  assert.ok(kvBytes > 2 ** 30, String(kvBytes));
  const read = () => assert.fail('a weight is read');
  const weights = new Map(
    [...model.weights].map(([name, stored]) => {
      const { bytes } = stored;
      return [name, { ...stored, bytes: { name: bytes.name, length: bytes.length, read } }];
    }),
  );
  await using device = createReferenceDevice({ memoryBytes: 2 ** 28 });
  const limits = { ...stepLimits(large, { contextLength: large.contextLength }), maxRows: 1 };
  await assert.rejects(
    Runner.load(device, { ...large, weights }, { limits, kv: 'f32' }),
    ingot(
      'OutOfMemory',
      new RegExp(
        `${formatBytes(weightBytes)} for weights, ${formatBytes(kvBytes)} for the KV cache of ${2 ** 22} tokens`,
      ),
    ),
  );
});

test('of a model that embeds texts the vectors of all tokens are counted', { skip: noCpu ?? false }, async () => {
  await using checkpoint = await openCheckpoint(modelFolder('bert-mean'));
  const model = openModel(checkpoint);
  const { scratchBytes } = await predictMemory(checkpoint, model, 'f32');
  const hidden = new Settings(checkpoint).count('hidden_size');
  assert.ok(scratchBytes >= model.contextLength * hidden * 4, String(scratchBytes));
});
