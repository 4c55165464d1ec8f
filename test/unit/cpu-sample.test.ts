/** The kernels of `sample` and of `draw` in it against their decompositions as lowered loops on the same device: ids and bits of log-probabilities. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { inlineComposites } from '../../src/compiler/inline.ts';
import { sample } from '../../src/composites/sample.ts';
import { type StepLimits, samplingInputs, samplingState } from '../../src/composites/step.ts';
import { sampleBuffers, sampleKernel, sampleRowBytes } from '../../src/devices/cpu/kernels/sample.ts';
import { segmentBytes } from '../../src/devices/cpu/kernels/sample-segments.ts';
import type { Device } from '../../src/devices/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { openCpu } from '../conformance/devices.ts';
import { generator, integer, normal } from './composites-harness.ts';
import { skip } from './cpu-emit-harness.ts';
import { machineOf } from './machine.ts';
import { avx2Machine, Guarded, runKernel } from './native-kernel.ts';

const limits: StepLimits = {
  ...{ maxTokens: 8, maxSequences: 4, maxRows: 16, blockSize: 16, blockCount: 1, blocksPerSequence: 1 },
  maxBias: 12,
};
const inputs = samplingInputs(limits);
const [R] = inputs[0].type.shape;

function programOf(V: number) {
  const parameters: readonly Parameter[] = [
    ...inputs,
    { name: 'logits', type: tensor('f32', [R, V]), role: 'input' },
    { name: 'counts', type: samplingState(limits, V)[1].type, role: 'input' },
  ];
  return new ProgramBuilder().program(parameters, (b, values) => ({ ...sample(b, values.logits, values) }));
}

interface Sampled {
  readonly ids: Int32Array;
  readonly logprobs: Float32Array;
}
type Inputs = ReadonlyMap<string, ArrayBufferView>;

let device: Device | undefined;
after(() => device?.[Symbol.asyncDispose]());

/** On the device, with the kernels of composites whose names are given. */
async function onDevice(V: number, ...kernels: readonly string[]) {
  device ??= openCpu(2);
  const on = device;
  const program = programOf(V);
  const bound = await on.bind(
    await on.compile(inlineComposites(program, ({ attributes }) => kernels.includes(attributes.name))),
    new Map(),
    new Map(),
  );
  return async (given: Inputs, rows: number): Promise<Sampled> => {
    const results = await on.wait(on.submit(bound, given, { R: rows }), Number.POSITIVE_INFINITY);
    const view = (name: string) => results.get(name) ?? assert.fail();
    return {
      ids: new Int32Array(view('ids').buffer, view('ids').byteOffset, rows),
      logprobs: new Float32Array(view('logprobs').buffer, view('logprobs').byteOffset, rows),
    };
  };
}

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

/** Rows of every kind: greedy and drawn, with and without each filter, penalties, biases; logits with ties and infinities. */
function makeInputs(V: number, rows: number, seed: number): Inputs {
  const random = generator(seed);
  const pick = <T>(...values: readonly T[]): T => values[integer(random, values.length)] as T;
  const each = <T>(make: () => T) => Array.from({ length: rows }, make);
  const logits = each(() => {
    const kind = pick('wide', 'ties', 'flat', 'steep', 'holes');
    return normal(random, V, kind === 'steep' ? 40 : kind === 'flat' ? 1e-3 : 3).map((x) => {
      if (kind === 'ties') return Math.round(x);
      if (kind === 'holes' && random() < 0.5) return Number.NEGATIVE_INFINITY;
      return x;
    });
  }).flat();
  const temperature = each(() => pick(0, 0.3, 0.8, 1, 2));
  const topK = each(() => pick(0, 1, 2, 5, 40, V - 1, V, V + 7, integer(random, V) + 1));
  const topP = each(() => pick(1, 1 - 2 ** -24, 0.999, 0.95, 0.5, 0, -1)).map((p, row) =>
    p < 0 ? border(logits.slice(row * V, (row + 1) * V), temperature[row] || 1, topK[row] as number, random) : p,
  );
  const bias = Array.from({ length: limits.maxBias }, () => [
    integer(random, rows + 4) - 2,
    integer(random, V + 2) - 1,
  ]);
  return new Map<string, ArrayBufferView>([
    ['logits', Float32Array.from(logits)],
    ['temperature', Float32Array.from(temperature)],
    ['topK', Int32Array.from(topK)],
    ['topP', Float32Array.from(topP)],
    ['minP', Float32Array.from(each(() => pick(0, 0.05, 0.5, 1)))],
    ['seed', Uint32Array.from({ length: 2 * rows }, () => integer(random, 2 ** 32))],
    ['drawPosition', Int32Array.from(each(() => integer(random, 5000)))],
    ['countRow', Int32Array.from(each(() => integer(random, limits.maxSequences + 2) - 1))],
    ['penalties', Float32Array.from(each(() => pick([1, 0, 0], [1, 0, 0], [1.3, 0, 0], [0.7, 0.2, -0.4])).flat())],
    ['biasRow', Int32Array.from(bias, ([row]) => (random() < 0.5 ? -1 : (row as number)))],
    ['biasToken', Int32Array.from(bias, ([, token]) => token as number)],
    ['biasValue', Float32Array.from(bias, () => pick(5, -5, -100, Number.NEGATIVE_INFINITY))],
    [
      'counts',
      Int32Array.from({ length: limits.maxSequences * 2 * V }, () => (random() < 0.1 ? integer(random, 5) : 0)),
    ],
  ]);
}

/** A top-p so near to the share of some tokens that the rounding of their sum decides. */
function border(logits: readonly number[], temperature: number, topK: number, random: () => number): number {
  const first = Math.max(...logits);
  const weights = logits.map((x) => Math.exp((x - first) / temperature)).sort((a, b) => b - a);
  const kept = weights.slice(0, topK > 0 ? topK : weights.length);
  const sum = (list: readonly number[]) => list.reduce((total, x) => total + x, 0);
  const few = kept.slice(0, 1 + integer(random, Math.min(kept.length, 8)));
  return Math.fround(sum(few) / sum(kept) + (integer(random, 5) - 2) * 2 ** -25);
}

function assertSame(actual: Sampled, expected: Sampled, what: string): void {
  assert.deepEqual(actual.ids, expected.ids, what);
  const bits = ({ logprobs }: Sampled) => new Int32Array(logprobs.buffer, logprobs.byteOffset, logprobs.length);
  assert.deepEqual(bits(actual), bits(expected), what);
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
