/** What steps ask of the machine, against sums by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Hardware } from '../../src/compiler/cost.ts';
import type { Device } from '../../src/devices/device.ts';
import type { CachedSequence } from '../../src/engine/sequence.ts';
import { StepWork } from '../../src/engine/step-work.ts';
import type { Model } from '../../src/models/model.ts';

const hardware = {
  name: '',
  memoryBytes: 0,
  threads: 1,
  readBytesPerSecond: 7,
  operationsPerSecond: { f32: 5, i8: 9 },
};

function work(
  weights: Readonly<Record<string, readonly [string, ...number[]]>>,
  of: Hardware,
  expertsOfToken?: number,
) {
  const stored = Object.entries(weights).map(([name, [format, ...shape]]) => [name, { format, shape }] as const);
  const bytes = { f32: 32, q8_0: 34 };
  const device: Partial<Device> = {
    hardware: of,
    packedBytes: ({ format, shape }) =>
      (shape.reduce((a, b) => a * b, 1) / (format === 'f32' ? 8 : 32)) * bytes[format as keyof typeof bytes],
  };
  return new StepWork(device as Device, { weights: new Map(stored), expertsOfToken } as unknown as Model, 10);
}

const sequence: CachedSequence = { tokens: [], computed: 0, blocks: [], row: 0 };
const entry = (start: number, count: number, samples: boolean) => ({ sequence, start, count, samples });

test('layers are for every token, the head for those that are sampled, the cache once a sequence', () => {
  const weights = {
    'token_embd.weight': ['q8_0', 10, 32],
    'blk.0.attn_q.weight': ['q8_0', 4, 32],
    'blk.0.attn_norm.weight': ['f32', 32],
    'blk.1.ffn_up.weight': ['q8_0', 6, 32],
    'output_norm.weight': ['f32', 32],
  } as const;
  const tied = work(weights, { ...hardware, measured: true });
  const layers = 4 * 34 + 128 + 6 * 34;
  // Five tokens of a prompt, of which none is sampled: no head. Two streams: one.
  assert.deepEqual(tied.of([entry(3, 5, false)]), { operations: 2 * 320 * 5, bytes: layers + 10 * 8 });
  assert.deepEqual(tied.of([entry(3, 1, true), entry(7, 1, true)]), {
    operations: 2 * (320 * 2 + 320 * 2),
    bytes: layers + 340 + 10 * (4 + 8),
  });
  assert.deepEqual(tied.limits, { operations: 9, bytes: 7 });
  const own = work({ ...weights, 'output.weight': ['f32', 3, 32] }, { ...hardware, measured: true });
  assert.equal(own.of([entry(0, 1, true)]).operations, 2 * (320 + 96), 'the embedding is looked up');
});

test('what was not measured is no limit', () => {
  const weights = { 'blk.0.a.weight': ['f32', 4, 32] } as const;
  assert.equal(work(weights, hardware).limits, undefined);
  assert.deepEqual(work(weights, { ...hardware, measured: true }).limits, { operations: 5, bytes: 7 });
});

test('of a mixture a token uses some experts, and tokens may choose the same', () => {
  const weights = {
    'blk.0.ffn_up_exps.weight': ['q8_0', 8, 4, 32],
    'blk.0.ffn_gate_inp.weight': ['f32', 8, 32],
  } as const;
  const mixture = work(weights, { ...hardware, measured: true }, 2);
  assert.deepEqual(mixture.of([entry(0, 3, false)]), {
    operations: 2 * 3 * (2 * 4 * 32 + 8 * 32),
    bytes: 2 * 4 * 34 + 8 * 128 + 10 * 3,
  });
  assert.deepEqual(mixture.limits, { operations: 5, bytes: 7 });
});
