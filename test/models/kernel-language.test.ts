/** Decoders as kernels of the loop language, evaluated, give the bits of the reference device: prompt and single tokens. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StepLimits } from '../../src/composites/step.ts';
import type { Device } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { BlockManager } from '../../src/engine/blocks.ts';
import { Runner } from '../../src/engine/runner.ts';
import { greedy } from '../../src/engine/sampling.ts';
import type { CachedSequence } from '../../src/engine/sequence.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { createPlanDevice } from '../conformance/plan-device.ts';
import { modelFolder, modelNames } from './golden.ts';

const limits: StepLimits = {
  maxTokens: 8,
  maxSequences: 2,
  maxRows: 8,
  blockSize: 4,
  blockCount: 8,
  blocksPerSequence: 4,
  maxBias: 8,
};

async function run(device: Device, name: string) {
  await using checkpoint = await openCheckpoint(modelFolder(name));
  await using runner = await Runner.load(device, openModel(checkpoint), { limits, kv: 'bf16' });
  const blocks = new BlockManager(limits);
  const sequence: CachedSequence = { row: 0, tokens: [3, 1, 4, 1, 5, 9, 2, 6], computed: 0, blocks: [] };
  const out: unknown[] = [];
  for (const count of [5, 1]) {
    blocks.grow(sequence.blocks, sequence.computed + count);
    const entry = { sequence, start: sequence.computed, count, samples: true };
    const { ids, logits } = await (await runner.submit([entry], [greedy], true)).result();
    out.push(ids.slice(), logits?.slice());
    sequence.computed += count;
  }
  return out;
}

for (const name of modelNames) {
  test(`${name} as kernels has the bits of the reference device`, async () => {
    await using reference = createReferenceDevice();
    await using kernels = createPlanDevice();
    const expected = await run(reference, name);
    assert.notEqual(expected.length, 0);
    assert.deepEqual(await run(kernels, name), expected);
  });
}
