/** Logits of every decoder against those of Hugging Face transformers (goldens.py), and the same bits however the prompt is cut. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { StepLimits } from '../../src/composites/step.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { BlockManager } from '../../src/engine/blocks.ts';
import { Runner } from '../../src/engine/runner.ts';
import type { Sequence } from '../../src/engine/scheduler.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { decodeElements } from '../../src/numerics/host-array.ts';
import { fixtures } from '../fixtures.ts';

const folder = fixtures('models');
const limits: StepLimits = {
  maxTokens: 40,
  maxSequences: 2,
  maxRows: 40,
  blockSize: 8,
  blockCount: 32,
  blocksPerSequence: 6,
  maxBias: 8,
};

async function golden(name: string) {
  await using file = await openCheckpoint(join(folder, name, 'golden.safetensors'));
  const read = async (tensor: string) => {
    const stored = file.tensors.get(tensor);
    assert.ok(stored !== undefined, `${name} has no golden ${tensor}`);
    return stored.bytes.read(0, stored.bytes.length);
  };
  const ids = Array.from(decodeElements('i32', await read('ids')) as Int32Array);
  return { ids, logits: decodeElements('f32', await read('logits')) as Float32Array };
}

/** Logits of all tokens, computed in pieces of the given sizes. */
async function logitsOf(runner: Runner, ids: readonly number[], pieces: readonly number[]): Promise<Float32Array> {
  const blocks = new BlockManager(limits.blockCount, limits.blockSize);
  const sequence: Sequence = { row: 0, tokens: [...ids], computed: 0, blocks: [] };
  const parts: Float32Array[] = [];
  for (const count of pieces) {
    blocks.grow(sequence.blocks, sequence.computed + count);
    parts.push((await runner.score({ sequence, start: sequence.computed, count, samples: false })).slice());
    sequence.computed += count;
  }
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function argMax(row: Float32Array): number {
  return row.reduce((best, value, i) => (value > row[best] ? i : best), 0);
}

const names = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
for (const { name } of names) {
  test(`${name}: logits as transformers computes them; prompt at once, in chunks, token by token: the same bits`, async () => {
    const { ids, logits: expected } = await golden(name);
    await using checkpoint = await openCheckpoint(join(folder, name));
    const model = openModel(checkpoint);
    await using device = createReferenceDevice();
    await using runner = await Runner.load(device, model, { limits, kv: 'f32' });

    const logits = await logitsOf(runner, ids, [ids.length]);
    assert.equal(logits.length, expected.length);
    const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    const worst = logits.reduce((max, value, i) => Math.max(max, Math.abs(value - expected[i])), 0);
    assert.ok(worst <= 1e-4 * largest, `largest difference ${worst} of ${largest}`);
    for (let row = 0; row < ids.length; row++) {
      const range = [row * model.vocabularySize, (row + 1) * model.vocabularySize] as const;
      assert.equal(argMax(logits.subarray(...range)), argMax(expected.subarray(...range)), `arg-max of token ${row}`);
    }
    assert.deepEqual(await logitsOf(runner, ids, [5, 1, 17, 8, 9]), logits, 'in chunks');
    assert.deepEqual(
      await logitsOf(
        runner,
        ids,
        ids.map(() => 1),
      ),
      logits,
      'token by token',
    );
  });
}
