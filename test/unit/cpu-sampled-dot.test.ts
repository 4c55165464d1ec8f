/**
 * The head and what is sampled from it in two kernels, against the decomposition of `sample` as lowered loops on the same device, of
 * logits by numerics/dot.ts: ids and bits of log-probabilities, whatever else is in the step and whichever logits are not written.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { quantizedDot } from '../../src/composites/quantized_dot.ts';
import { sample, segmentsOf } from '../../src/composites/sample.ts';
import { samplingInputs, samplingState } from '../../src/composites/step.ts';
import { activationBytes, activationsKernel, activationsOf } from '../../src/devices/cpu/kernels/activations.ts';
import { packedFormat } from '../../src/devices/cpu/kernels/packing.ts';
import { sampleKernel, sampleRowBytes } from '../../src/devices/cpu/kernels/sample.ts';
import { segmentBytes } from '../../src/devices/cpu/kernels/sample-segments.ts';
import { sampledDotKernel } from '../../src/devices/cpu/kernels/sampled-dot.ts';
import type { Bound } from '../../src/devices/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { type DotNumerics, dotNumerics } from '../../src/numerics/dot.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { openCpu } from '../conformance/devices.ts';
import { generator, normal } from './composites-harness.ts';
import { skip } from './cpu-emit-harness.ts';
import { generator as integers, randomWeight, testedSets } from './cpu-products-harness.ts';
import { assertSame, type Inputs, limits, makeInputs, onDevice, R, type Sampled } from './cpu-sample-harness.ts';
import { withDrawnSchedule } from './drawn-schedule.ts';
import { type Machine, machineOf } from './machine.ts';
import { Guarded, packed, runKernel } from './native-kernel.ts';

interface Head {
  readonly format: string;
  readonly numerics: DotNumerics;
  readonly V: number;
  readonly K: number;
  readonly weight: Uint8Array;
  readonly bias: Float32Array | undefined;
}

function logitsOf({ format, numerics, V, K, weight, bias }: Head, x: Float32Array): Float32Array {
  const blocks = blockFormat(format);
  const rowBytes = weight.length / V;
  const rows = x.length / K;
  const logits = new Float32Array(rows * V);
  for (let row = 0; row < rows; row++) {
    const dot = dotNumerics[numerics](x.subarray(row * K, (row + 1) * K), blocks);
    for (let n = 0; n < V; n++) {
      const sum = dot(weight.subarray(n * rowBytes, (n + 1) * rowBytes));
      logits[row * V + n] = bias === undefined ? sum : sum + bias[n];
    }
  }
  return logits;
}

interface Ran extends Sampled {
  /** Of segments whose logits were written, of all rows. */
  readonly written: number;
}

/** Both kernels alone, on guarded memory. */
function native(head: Head, x: Float32Array, given: Inputs, machine: Machine, team: readonly number[]): Ran {
  const { numerics, V, K } = head;
  const { target } = machine;
  const format = packedFormat(head.format);
  const rows = x.length / K;
  const activations = activationsOf(format, numerics, target);
  using weight = Guarded.of(packed(format, head.weight, [V, K]), machine);
  using bias = Guarded.of(head.bias ?? new Float32Array(0), machine);
  using floats = Guarded.of(x, machine);
  const prepared = activations.kind !== 'plain';
  using made = new Guarded(prepared ? activationBytes(activations, rows, K) : 0, machine);
  if (prepared) runKernel(activationsKernel(activations, R, K), { x: floats, activations: made }, rows, team);
  const memory = Object.fromEntries([...given].map(([name, data]) => [name, Guarded.of(data, machine)]));
  using logits = new Guarded(4 * rows * V, machine);
  // Greater than every other, so that whoever reads what was not written takes it.
  logits.bytes.fill(0x7f);
  const untouched = logits.bytes.slice(0, 4);
  using segments = new Guarded(rows * segmentBytes(V), machine);
  using scratch = new Guarded(rows * sampleRowBytes(V), machine);
  using ids = new Guarded(4 * rows, machine);
  using logprobs = new Guarded(4 * rows, machine);
  const { maxBias: biases, maxSequences: sequences } = limits;
  const shape = { format, numerics, tokens: R, N: V, K, bias: head.bias !== undefined, biases };
  const product = { ...memory, x: prepared ? made : floats, weight, bias, logits, segments };
  runKernel(sampledDotKernel(shape, target), product, rows, team);
  const { count, size } = segmentsOf(V);
  const firsts = Array.from({ length: rows * count }, (_, i) => logits.bytes.subarray(4 * i * size, 4 * i * size + 4));
  const written = firsts.filter((word) => Buffer.compare(word, untouched) !== 0).length;
  const sampling = sampleKernel({ rows: R, vocabulary: V, sequences, biases, summed: true });
  runKernel(sampling, { ...memory, logits, segments, scratch, ids, logprobs }, rows, team);
  for (const guarded of Object.values(memory)) guarded[Symbol.dispose]();
  return { ids: new Int32Array(ids.bytes.slice().buffer), logprobs: logprobs.floats(), written };
}

function makeHead(format: string, numerics: DotNumerics, V: number, K: number, seed: number): Head {
  const next = integers(seed);
  const weight = randomWeight(format, V * K, next);
  const bias = seed % 2 === 0 ? undefined : Float32Array.from(normal(generator(seed), V));
  return { format, numerics, V, K, weight, bias };
}

const activationsFor = (rows: number, K: number, seed: number, size = 1 / Math.sqrt(K)) =>
  Float32Array.from(normal(generator(seed), rows * K, size * 3));

const samplingOf = (given: Inputs) => new Map([...given].filter(([name]) => name !== 'logits'));

const teams: readonly (readonly number[])[] = [[0], [1, 0], [2, 0, 1]];

for (const set of testedSets('q4_0 in i8 numerics')) {
  const machine = machineOf(set);
  for (const [format, numerics, V, K] of [
    ['q4_0', 'i8', 1280, 64],
    ['q6_K', 'i8', 256, 256],
    ['q8_0', 'i8', 384, 96],
    ['q4_K', 'bf16', 256, 256],
    ['bf16', 'bf16', 384, 70],
    ['f16', 'f32', 256, 24],
    ['f32', 'f32', 12800, 8],
  ] as const) {
    const why = typeof machine === 'string' ? machine : machine.emulated && V * K > 100_000 ? 'too long' : skip;
    test(`sampled_dot: ${format} in ${numerics} numerics, ${V} tokens (${set})`, { skip: why }, async () => {
      if (typeof machine === 'string') return assert.fail(machine);
      const oracle = await onDevice(V);
      for (const [round, rows] of (machine.emulated ? [3] : [1, 4, 16, 17, 20]).entries()) {
        const head = makeHead(format, numerics, V, K, V + round);
        const x = activationsFor(rows, K, round);
        const given = new Map(makeInputs(V, rows, V + 7 * round));
        given.set('logits', logitsOf(head, x));
        const expected = await oracle(given, rows);
        const drawn = withDrawnSchedule(machine, integers(round));
        const actual = native(head, x, samplingOf(given), drawn, teams[round % 3]);
        assertSame(actual, expected, `round ${round} of ${rows} rows`);
      }
    });
  }
}

/** Rows that each take one column of the weight: its logits are what `make` says of a token and a row. */
function columns(V: number, rows: number, make: (token: number, row: number) => number) {
  const weight = new Float32Array(V * rows);
  for (let token = 0; token < V; token++)
    for (let row = 0; row < rows; row++) weight[token * rows + row] = make(token, row);
  const head: Head = {
    format: 'f32',
    numerics: 'f32',
    V,
    K: rows,
    weight: new Uint8Array(weight.buffer),
    bias: undefined,
  };
  return { head, x: Float32Array.from({ length: rows * rows }, (_, i) => (i % (rows + 1) === 0 ? 2 : 0)) };
}

/** Greedy rows, without anything else. */
function plain(
  V: number,
  rows: number,
  change: Readonly<Record<string, ArrayBufferView>> = {},
): Map<string, ArrayBufferView> {
  return new Map([
    ...makeInputs(V, rows, 1),
    ...Object.entries({
      temperature: new Float32Array(rows),
      penalties: Float32Array.from({ length: 3 * rows }, (_, i) => (i % 3 === 0 ? 1 : 0)),
      biasRow: new Int32Array(limits.maxBias).fill(-1),
      ...change,
    }),
  ]);
}

const avx2 = machineOf('avx2');
const skipNative = typeof avx2 === 'string' ? avx2 : skip;

test('sampled_dot: ties, zeros of both signs, infinities and rows without any number', {
  skip: skipNative,
}, async () => {
  if (typeof avx2 === 'string') return assert.fail(avx2);
  const [V, rows] = [1024, 12];
  const oracle = await onDevice(V);
  const huge = 3e38;
  const kinds: readonly ((token: number) => number)[] = [
    (token) => (token === 130 || token === 900 ? 5 : 1),
    () => 0.5,
    (token) => (token % 3 === 0 ? -0 : 0),
    (token) => (token % 2 === 0 ? -huge : -1),
    (token) => (token < 512 ? -huge : token),
    () => -huge,
    (token) => (token === 1023 ? 7 : -huge),
    // Over a temperature as great as there is, all of these are one number, and the lowest ids come first.
    (token) => 1e-3 * (1 - 1e-7 * token),
  ];
  for (const topK of [0, 3, 64, 65]) {
    const temperature = Float32Array.from({ length: rows }, (_, row) =>
      topK === 0 ? 0 : row % 8 === 7 ? 3e38 : (row % 3) / 2,
    );
    const given = plain(V, rows, { temperature, topK: new Int32Array(rows).fill(topK) });
    const { head, x } = columns(V, rows, (token, row) => kinds[row % kinds.length](token));
    const logits = logitsOf(head, x);
    assert.ok(logits.includes(Number.NEGATIVE_INFINITY));
    given.set('logits', logits);
    // A row without anything has no probabilities: NaNs whose bits say nothing.
    const numbers = ({ ids, logprobs }: Sampled) => ({ ids, logprobs: logprobs.map((x) => (Number.isNaN(x) ? 1 : x)) });
    const expected = await oracle(given, rows);
    const actual = native(head, x, samplingOf(given), avx2, [1, 0]);
    assertSame(numbers(actual), numbers(expected), `top-k ${topK}`);
  }
});

test('sampled_dot: greedy rows with a NaN take the last id', { skip: skipNative }, () => {
  if (typeof avx2 === 'string') return assert.fail(avx2);
  const [V, rows] = [384, 4];
  const { head, x } = columns(V, rows, (token) => (token === 200 ? Number.NaN : token));
  const { ids, logprobs } = native(head, x, samplingOf(plain(V, rows)), avx2, [0]);
  assert.deepEqual([...ids], [V - 1, V - 1, V - 1, V - 1]);
  assert.ok(logprobs.every(Number.isNaN));
});

test('sampled_dot: logits that no row can need are not written, and what is in a step changes no other row', {
  skip: skipNative,
}, () => {
  if (typeof avx2 === 'string') return assert.fail(avx2);
  const [V, rows, count] = [12800, 6, 100];
  // The fourth row draws from more than are followed, the fifth has a bias, the sixth a penalty: they want all.
  const given = plain(V, rows, {
    temperature: Float32Array.of(0, 0.7, 1, 1, 0, 0),
    topK: Int32Array.of(0, 1, 40, 65, 0, 0),
    biasRow: new Int32Array(limits.maxBias).fill(-1).fill(4, 0, 1),
    biasToken: new Int32Array(limits.maxBias).fill(9),
    biasValue: new Float32Array(limits.maxBias).fill(100),
    penalties: Float32Array.from({ length: 3 * rows }, (_, i) => (i === 15 ? 1.5 : i % 3 === 0 ? 1 : 0)),
  });
  const random = generator(3);
  const all = normal(random, V * rows);
  const { head, x } = columns(V, rows, (token, row) => all[row * V + token]);
  const together = native(head, x, samplingOf(given), avx2, [0]);
  assert.equal(together.ids[4], 9);
  const alone = Array.from({ length: rows }, (_, row) => {
    const own = new Map<string, ArrayBufferView>();
    for (const [name, view] of samplingOf(given)) {
      const array = view as Float32Array;
      const each = array.length / rows;
      const isRow = !name.startsWith('bias') && name !== 'counts';
      own.set(name, isRow ? array.slice(row * each, (row + 1) * each) : array);
    }
    own.set('biasRow', new Int32Array(limits.maxBias).fill(-1).fill(0, 0, row === 4 ? 1 : 0));
    return native(head, x.subarray(row * rows, (row + 1) * rows), own, avx2, [1, 0]);
  });
  assertSame(
    together,
    {
      ids: Int32Array.from(alone, ({ ids }) => ids[0]),
      logprobs: Float32Array.from(alone, ({ logprobs }) => logprobs[0]),
    },
    'alone',
  );
  const written = alone.map((ran) => ran.written);
  assert.deepEqual(written.slice(3), [count, count, count]);
  assert.ok(
    written[0] < 20 && written[1] < 20 && written[2] > 39 && written[2] < 99,
    `${written} of ${count} segments`,
  );
});

test('sampled_dot: on the device, by several threads', { skip }, async () => {
  const [V, K] = [5120, 64];
  const head = makeHead('q8_0', 'i8', V, K, 2);
  await using device = openCpu(3, { profile: 'sums' });
  const counts = { ...samplingState(limits, V)[1], role: 'input' as const };
  const parameters: readonly Parameter[] = [
    ...samplingInputs(limits),
    counts,
    { name: 'x', type: tensor('f32', [R, K]), role: 'input' },
    { name: 'weight', type: tensor('f32', [V, K]), role: 'weight', format: 'q8_0' },
  ];
  using weight = await device.pack({ name: 'weight', format: 'q8_0', shape: [V, K], bytes: memoryBytes(head.weight) });
  const bind = async (withLogits: boolean) => {
    const program = new ProgramBuilder().program(parameters, (b, values) => {
      const logits = quantizedDot(b, values.x, values.weight, { format: 'q8_0', numerics: 'i8' });
      const { ids, logprobs } = sample(b, logits, values);
      return { ids, logprobs, ...(withLogits && { logits }) };
    });
    return device.bind(await device.compile(program), new Map([['weight', weight]]), new Map());
  };
  using apart = await bind(true);
  using joined = await bind(false);
  const run = async (bound: Bound, given: Inputs, rows: number): Promise<Sampled> => {
    const results = await device.wait(device.submit(bound, given, { R: rows }), Number.POSITIVE_INFINITY);
    const view = (name: string) => results.get(name) ?? assert.fail();
    return {
      ids: new Int32Array(view('ids').buffer, view('ids').byteOffset, rows).slice(),
      logprobs: new Float32Array(view('logprobs').buffer, view('logprobs').byteOffset, rows).slice(),
    };
  };
  for (let round = 0; round < 12; round++) {
    const rows = [1, 2, 16, 17][round % 4];
    const given = samplingOf(makeInputs(V, rows, round)).set('x', activationsFor(rows, K, round));
    assertSame(await run(joined, given, rows), await run(apart, given, rows), `round ${round}`);
  }
  const names = device.profile().kernels.map(({ kernel }) => kernel);
  assert.ok(
    names.some((name) => name.startsWith('sampled_dot')) && names.some((name) => name.startsWith('quantized_dot')),
  );
});
