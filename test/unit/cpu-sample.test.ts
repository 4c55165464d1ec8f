/** The kernels of `sample` and of `draw` in it against their decompositions as lowered loops on the same device: ids and bits of log-probabilities. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sampleBuffers, sampleKernel, sampleRowBytes } from '../../src/devices/cpu/kernels/sample.ts';
import { segmentBytes } from '../../src/devices/cpu/kernels/sample-segments.ts';
import { generator, integer, normal } from './composites-harness.ts';
import { skip } from './cpu-emit-harness.ts';
import {
  assertSame,
  border,
  type Inputs,
  limits,
  makeInputs,
  onDevice,
  R,
  type Sampled,
} from './cpu-sample-harness.ts';
import { machineOf } from './machine.ts';
import { avx2Machine, Guarded, runKernel } from './native-kernel.ts';

const arm64 = machineOf('neon');

/** The kernel alone, on guarded memory. */
function native(V: number, given: Inputs, rows: number, indices: readonly number[], machine = avx2Machine()): Sampled {
  const shape = { rows: R, vocabulary: V, sequences: limits.maxSequences, biases: limits.maxBias, summed: false };
  using ids = new Guarded(4 * rows, machine);
  using logprobs = new Guarded(4 * rows, machine);
  using segments = new Guarded(rows * segmentBytes(V), machine);
  using scratch = new Guarded(rows * sampleRowBytes(V), machine);
  const memory = Object.fromEntries([...given].map(([name, data]) => [name, Guarded.of(data, machine)]));
  assert.deepEqual(Object.keys({ ...memory, ids, logprobs, segments, scratch }).sort(), [...sampleBuffers].sort());
  runKernel(sampleKernel(shape), { ...memory, ids, logprobs, segments, scratch }, rows, indices);
  for (const guarded of Object.values(memory)) guarded[Symbol.dispose]();
  return { ids: new Int32Array(ids.bytes.slice().buffer), logprobs: logprobs.floats() };
}

for (const [V, rounds] of [
  [1, 4],
  [5, 12],
  [37, 30],
  [256, 30],
  [2048, 20],
  [12800, 4],
  [20000, 2],
] as const) {
  test(`sample: ${V} tokens: ids and log-probabilities of the decomposition`, { skip }, async () => {
    const [oracle, whole] = [await onDevice(V), await onDevice(V, 'ingot.sample')];
    const draws = await onDevice(V, 'ingot.draw');
    for (let round = 0; round < rounds; round++) {
      const rows = [1, 5, 16][round % 3] as number;
      const given = makeInputs(V, rows, 1000 * V + round);
      const expected = await oracle(given, rows);
      const team = [[0], [1, 0], [2, 0, 3, 1]][round % 3] as number[];
      assertSame(native(V, given, rows, team), expected, `round ${round}`);
      if (typeof arm64 !== 'string' && round % 3 === 0) {
        assertSame(native(V, given, rows, team, arm64), expected, `round ${round}, arm64`);
      }
      assertSame(await whole(given, rows), expected, `round ${round}, on the device`);
      assertSame(await draws(given, rows), expected, `round ${round}, drawn on the device`);
    }
  });
}

test('sample: rows that are no numbers give an id of the vocabulary', { skip }, () => {
  for (const V of [3, 100]) {
    const given = new Map(makeInputs(V, 16, 5));
    const logits = new Float32Array(16 * V).fill(Number.NaN);
    logits.fill(Number.POSITIVE_INFINITY, 8 * V, 12 * V);
    given.set('logits', logits);
    const { ids } = native(V, given, 16, [0]);
    assert.ok(ids.every((id) => id >= 0 && id < V));
  }
});

test('sample: where the rounding of a sum decides, it is rounded as in the decomposition', { skip }, async () => {
  const V = 37;
  const oracle = await onDevice(V);
  for (let round = 0; round < 60; round++) {
    const random = generator(round);
    const given = new Map(makeInputs(V, 16, round));
    const logits = normal(random, 16 * V, 0.3);
    const topK = Array.from({ length: 16 }, (_, row) => (row % 2) * (3 + integer(random, 9)));
    const topP = topK.map((k, row) => border(logits.slice(row * V, (row + 1) * V), 1, k, random));
    given.set('logits', Float32Array.from(logits)).set('temperature', new Float32Array(16).fill(1));
    given.set('topK', Int32Array.from(topK)).set('topP', Float32Array.from(topP)).set('minP', new Float32Array(16));
    given.set(
      'penalties',
      Float32Array.from({ length: 48 }, (_, i) => (i % 3 === 0 ? 1 : 0)),
    );
    given.set('biasRow', new Int32Array(limits.maxBias).fill(-1));
    assertSame(native(V, given, 16, [0]), await oracle(given, 16), `round ${round}`);
  }
});
