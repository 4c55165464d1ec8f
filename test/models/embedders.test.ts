/** Embeddings of texts against those of Hugging Face transformers (goldens.py), of the folder and of the GGUF file that is made of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { exportGguf } from '../../src/cli/gguf-file.ts';
import type { StepLimits } from '../../src/composites/step.ts';
import type { Device } from '../../src/devices/device.ts';
import { BlockManager } from '../../src/engine/blocks.ts';
import { Runner } from '../../src/engine/runner.ts';
import type { Sequence } from '../../src/engine/scheduler.ts';
import { readGguf } from '../../src/formats/gguf.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import type { Model } from '../../src/models/model.ts';
import { devices } from '../conformance/devices.ts';
import { bytesOf } from '../unit/formats-support.ts';
import { embedderNames, golden, modelFolder } from './golden.ts';

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
  const blocks = new BlockManager(limits.blockCount, limits.blockSize);
  const sequence: Sequence = { row: 0, tokens: [...ids], computed: 0, blocks: [] };
  let embedding = new Float32Array();
  for (const count of pieces) {
    blocks.grow(sequence.blocks, sequence.computed + count);
    embedding = (await runner.embed({ sequence, start: sequence.computed, count, samples: false })).slice();
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
