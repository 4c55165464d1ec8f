/** Embeddings of texts against those of Hugging Face transformers (goldens.py), of the folder and of the GGUF file that is made of it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { exportGguf } from '../../src/cli/gguf-file.ts';
import type { StepLimits } from '../../src/composites/step.ts';
import type { Device } from '../../src/devices/device.ts';
import { BlockManager } from '../../src/engine/blocks.ts';
import { LocalEngine } from '../../src/engine/local-engine.ts';
import { Runner } from '../../src/engine/runner.ts';
import type { CachedSequence } from '../../src/engine/sequence.ts';
import { readGguf } from '../../src/formats/gguf.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import type { Model } from '../../src/models/model.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { devices } from '../conformance/devices.ts';
import { repositoryPath } from '../fixtures.ts';
import { bytesOf, folderWith, ingot } from '../unit/formats-support.ts';
import { anyVocabulary, embedderNames, golden, modelFolder } from './golden.ts';

const limits: StepLimits = {
  maxTokens: 40,
  maxSequences: 1,
  maxRows: 1,
  blockSize: 16,
  blockCount: 4,
  blocksPerSequence: 4,
  maxBias: 1,
};

async function embeddingOf(device: Device, model: Model, ids: readonly number[], pieces: readonly number[]) {
  await using runner = await Runner.load(device, model, { limits, kv: 'f32' });
  const blocks = new BlockManager(limits);
  const sequence: CachedSequence = { row: 0, tokens: [...ids], computed: 0, blocks: [] };
  let embedding = new Float32Array();
  for (const count of pieces) {
    blocks.grow(sequence.blocks, sequence.computed + count);
    embedding = (await runner.embed([{ sequence, start: sequence.computed, count, samples: false }])).slice();
    sequence.computed += count;
  }
  return embedding;
}

for (const [on, create] of Object.entries(devices)) {
  for (const name of embedderNames) {
    test(`${name} on ${on}: the embedding that transformers computes; of its GGUF file the same bits`, async () => {
      const { ids, embedding: expected } = await golden(name);
      await using checkpoint = await openCheckpoint(modelFolder(name));
      const model = openModel(checkpoint);
      await using device = create();
      const embedding = await embeddingOf(device, model, ids, [ids.length]);
      assert.equal(embedding.length, expected.length);
      const worst = embedding.reduce((max, value, i) => Math.max(max, Math.abs(value - expected[i])), 0);
      assert.ok(worst <= 1e-5, `largest difference ${worst}`);
      assert.ok(Math.abs(Math.hypot(...embedding) - 1) < 1e-6, 'its length is 1');
      if (!model.wholeSequences) assert.deepEqual(await embeddingOf(device, model, ids, [7, 1, 32]), embedding);

      const contents = exportGguf(checkpoint, model, { name, tokenizer: new Map() });
      const file = openModel(await readGguf(memoryBytes(await bytesOf(layoutGguf(contents)))));
      assert.deepEqual(file.results, model.results);
      assert.deepEqual(await embeddingOf(device, file, ids, [ids.length]), embedding);
    });
  }
}

test('ingot embed prints a vector for each line', async () => {
  await using folder = await folderWith();
  await using checkpoint = await openCheckpoint(modelFolder('qwen3-embedding'));
  const model = openModel(checkpoint);
  const tokenizer = anyVocabulary(model.vocabularySize);
  const path = join(folder.path, 'model.gguf');
  await writeFile(path, await bytesOf(layoutGguf(exportGguf(checkpoint, model, { name: 'a fixture', tokenizer }))));
  const options = { input: 'one\nand two\none\n', encoding: 'utf8' } as const;
  const cli = repositoryPath('dist', 'src', 'cli', 'main.js');
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [cli, 'embed', path, '--device', 'reference'],
    options,
  );
  assert.equal(status, 0, stderr);
  const vectors = stdout
    .trimEnd()
    .split('\n')
    .map((line): number[] => JSON.parse(line));
  assert.deepEqual(
    vectors.map((vector) => vector.length),
    [32, 32, 32],
  );
  assert.deepEqual(vectors[2], vectors[0]);
  assert.notDeepEqual(vectors[1], vectors[0]);
});

test('an engine embeds texts of any length that fits; what the model does not compute is refused', async () => {
  for (const name of ['bert-mean', 'qwen3-embedding']) {
    const { ids, embedding: expected } = await golden(name);
    await using checkpoint = await openCheckpoint(modelFolder(name));
    const model = openModel(checkpoint);
    const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: anyVocabulary(model.vocabularySize) });
    await using device = devices.reference();
    await using engine = await LocalEngine.load(device, model, tokenizer, { contextLength: 64 });
    const embedding = await engine.embed(ids);
    assert.ok(embedding.every((value, i) => Math.abs(value - expected[i]) < 1e-5));
    assert.deepEqual(await engine.embed(ids), embedding, 'once more');
    await assert.rejects(engine.embed(new Array(65).fill(3)), ingot('ContextOverflow'));
    // Together they take fewer steps, and say the same.
    await using several = await LocalEngine.load(device, model, tokenizer, { contextLength: 64, sequences: 4 });
    const texts = [9, 3, 64, 17, 1, 30, 5].map((length) =>
      Array.from({ length }, (_, i) => 3 + ((7 * i + length) % 20)),
    );
    const apart: Float32Array[] = [];
    for (const text of texts) apart.push(await several.embed(text));
    device.profile();
    const left = assert.rejects(several.embed([4, 5, 6], AbortSignal.abort()), ingot('Aborted'));
    assert.deepEqual(await Promise.all(texts.map((text) => several.embed(text))), apart);
    await left;
    const { runs } = device.profile();
    assert.ok(runs > 1 && runs < 6, `${runs} steps`);
    const { totals } = await several.status();
    assert.equal(totals.stepTokens, 2 * texts.flat().length, 'alone and together');
    assert.ok(totals.stepRequests >= 2 * texts.length && totals.stepSeconds > 0 && totals.steps > runs);
    await several.checkIntegrity();
    await assert.rejects(engine.embed(ids, AbortSignal.abort()), ingot('Aborted'));
    await engine.checkIntegrity();
    if (name === 'bert-mean') await assert.rejects(engine.score(ids), ingot('InvalidArgument', /embeds texts/));
  }
  await using checkpoint = await openCheckpoint(modelFolder('qwen3'));
  const model = openModel(checkpoint);
  const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: anyVocabulary(model.vocabularySize) });
  await using device = devices.reference();
  await using engine = await LocalEngine.load(device, model, tokenizer, { contextLength: 64 });
  await assert.rejects(engine.embed([3, 4]), ingot('InvalidArgument', /embeds none/));
});
