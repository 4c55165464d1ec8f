/** Products of experts in machine code: the bits of numerics/dot.ts, whatever else is in the step. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { routedDot } from '../../src/composites/routed_dot.ts';
import { createCpuDevice } from '../../src/devices/cpu/device.ts';
import {
  activationsOf,
  orderedActivationBytes,
  orderedActivationsKernel,
} from '../../src/devices/cpu/kernels/activations.ts';
import { expertOrderKernel, orderBytes, rowsAt } from '../../src/devices/cpu/kernels/expert-order.ts';
import { packedBytes, packedFormat } from '../../src/devices/cpu/kernels/packing.ts';
import { dotLayout } from '../../src/devices/cpu/kernels/quantized-dot.ts';
import { routedDotKernel } from '../../src/devices/cpu/kernels/routed-dot.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import { whyNot } from '../../src/devices/cpu/target.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { type Dim, tensor } from '../../src/ir/types.ts';
import { type DotNumerics, dotNumerics } from '../../src/numerics/dot.ts';
import { blockFormat, encodableFormat } from '../../src/numerics/quant/formats.ts';
import { assertSameBits, generator, integer, normal } from './composites-harness.ts';
import { testedSets } from './cpu-products-harness.ts';
import { withDrawnSchedule } from './drawn-schedule.ts';
import { type Machine, machineOf } from './machine.ts';
import { Guarded, packed, runKernel } from './native-kernel.ts';

interface Case {
  readonly format: string;
  readonly numerics: DotNumerics;
  readonly E: number;
  readonly N: number;
  readonly K: number;
  readonly chosen: number;
  readonly shared: boolean;
  /** [T, k] */
  readonly ids: Int32Array;
  readonly x: Float32Array;
  readonly weight: Uint8Array;
}

const expertOf = (id: number, E: number) => Math.min(E - 1, Math.max(0, id));

function reference({ format, numerics, E, N, K, chosen, shared, ids, x, weight }: Case): Float32Array {
  const blocks = blockFormat(format);
  const rowBytes = (K / blocks.blockSize) * blocks.blockBytes;
  const y = new Float32Array(ids.length * N);
  ids.forEach((id, pair) => {
    const row = shared ? Math.floor(pair / chosen) : pair;
    const dot = dotNumerics[numerics](x.subarray(row * K, (row + 1) * K), blocks);
    const first = expertOf(id, E) * N;
    for (let n = 0; n < N; n++)
      y[pair * N + n] = dot(weight.subarray((first + n) * rowBytes, (first + n + 1) * rowBytes));
  });
  return y;
}

const teams: readonly (readonly number[])[] = [[0], [1, 0], [2, 0, 1]];

function run(c: Case, machine: Machine, team: readonly number[]): Float32Array {
  const { numerics, E, N, K, chosen, shared } = c;
  const { target } = machine;
  const format = packedFormat(c.format);
  const T = c.ids.length / chosen;
  // Every other kernel is made for this number of tokens alone.
  const tokens: Dim = team.length === 2 ? T : { sym: 'T', max: T + 3 };
  const { layout } = dotLayout({ format, numerics, N, K }, target);
  const order = { tokens, chosen, experts: E, chunk: layout.chunk };
  using weight = new Guarded(packedBytes(format, [E, N, K]), machine);
  const [from, to] = [c.weight.length / E, packedBytes(format, [N, K])];
  for (let e = 0; e < E; e++) {
    weight.bytes.set(packed(format, c.weight.subarray(e * from, (e + 1) * from), [N, K]), e * to);
  }
  using ids = Guarded.of(c.ids, machine);
  using floats = Guarded.of(c.x, machine);
  using sorted = new Guarded(orderBytes(order), machine);
  runKernel(expertOrderKernel(order), { ids, order: sorted }, T, team);
  const activations = activationsOf(format, numerics, target);
  using x = new Guarded(orderedActivationBytes(activations, T * chosen, K), machine);
  const prepare = orderedActivationsKernel(activations, tokens, K, { order, shared });
  runKernel(prepare, { x: floats, order: sorted, activations: x }, T, team);
  using y = new Guarded(4 * T * chosen * N, machine);
  const kernel = routedDotKernel({ format, numerics, tokens, N, K, order }, target);
  runKernel(kernel, { x, weight, order: sorted, y }, T, team);
  return y.floats();
}

function makeCase(
  shape: Pick<Case, 'format' | 'numerics' | 'E' | 'N' | 'K' | 'chosen' | 'shared'>,
  T: number,
  choose: (pair: number) => number,
  random: () => number,
): Case {
  const { format, E, N, K, chosen, shared } = shape;
  const { blockSize, blockBytes, encode } = encodableFormat(format);
  const weight = new Uint8Array(((E * N * K) / blockSize) * blockBytes);
  encode(Float32Array.from(normal(random, E * N * K)), weight);
  const ids = Int32Array.from({ length: T * chosen }, (_, pair) => choose(pair));
  const x = Float32Array.from(normal(random, (shared ? T : T * chosen) * K));
  return { ...shape, ids, x, weight };
}

function check(c: Case, machine: Machine, team: readonly number[]): void {
  assertSameBits([...run(c, machine, team)], [...reference(c)], `${c.format} ${c.numerics} of ${c.ids.length} rows:`);
}

for (const set of testedSets('q4_0 in i8 numerics')) {
  const machine = machineOf(set);
  const skip = typeof machine === 'string' && machine;
  for (const [format, numerics, K] of [
    ['q4_0', 'i8', 64],
    ['q8_0', 'i8', 96],
    ['q4_K', 'i8', 256],
    ['q4_0', 'bf16', 64],
    ['bf16', 'bf16', 70],
    ['f32', 'f32', 13],
    ['f16', 'f32', 24],
  ] as const) {
    test(`routed_dot: ${format} in ${numerics} numerics has the reference's bits (${set})`, { skip }, () => {
      if (typeof machine === 'string') return assert.fail(machine);
      const random = generator(K);
      const [E, chosen] = [5, 2];
      const counts = machine.emulated ? [1, 17] : [1, 2, 17, 41];
      let round = 0;
      for (const N of machine.emulated ? [20] : [16, 20, 1]) {
        for (const T of counts) {
          for (const shared of machine.emulated ? [round % 2 === 0] : [true, false]) {
            const c = makeCase({ format, numerics, E, N, K, chosen, shared }, T, () => integer(random, E), random);
            const on = round % 2 === 0 ? machine : withDrawnSchedule(machine, () => integer(random, 1000));
            check(c, on, teams[round++ % teams.length] ?? assert.fail());
          }
        }
      }
    });
  }

  test(`routed_dot: one expert takes all, others nothing; ids out of range clamp (${set})`, { skip }, () => {
    if (typeof machine === 'string') return assert.fail(machine);
    const random = generator(7);
    const shape = { format: 'q4_0', numerics: 'i8', E: 6, N: 20, K: 32, chosen: 3, shared: true } as const;
    const T = machine.emulated ? 12 : 120;
    for (const [i, choose] of [
      () => 3,
      () => 0,
      () => 5,
      (pair: number) => [-1, 6, 2 ** 31 - 1][pair % 3] ?? 0,
    ].entries()) {
      if (machine.emulated && i > 0) continue;
      check(makeCase(shape, T, choose, random), machine, [1, 0]);
    }
  });
}

const native = machineOf('avx2');
const noNative = typeof native === 'string' && native;

test('rows are put in the order of their experts, those of one as they came', { skip: noNative }, () => {
  if (typeof native === 'string') return assert.fail(native);
  const random = generator(11);
  for (const [T, chosen, experts, chunk] of [
    [1, 1, 1, 32],
    [1, 8, 128, 128],
    [50, 4, 7, 32],
    [300, 2, 3, 128],
    [64, 1, 1, 32],
  ] as const) {
    const shape = { tokens: { sym: 'T', max: T + 5 }, chosen, experts, chunk } as const;
    const ids = Int32Array.from({ length: T * chosen }, () => integer(random, experts));
    using input = Guarded.of(ids);
    using order = new Guarded(orderBytes(shape));
    runKernel(expertOrderKernel(shape), { ids: input, order }, T, [1, 0]);
    const words = new Uint32Array(order.bytes.slice().buffer);
    const segments = words[0] as number;
    const expected = [...ids.keys()].sort((a, b) => (ids[a] as number) - (ids[b] as number) || a - b);
    const rows = [...words.subarray(rowsAt(shape) / 4)].slice(0, ids.length);
    assert.deepEqual(rows, expected);
    let row = 0;
    for (let s = 0; s < segments; s++) {
      const [expert, start, end] = [words[16 + 2 * s], words[17 + 2 * s], words[19 + 2 * s]];
      assert.equal(start, row);
      assert.ok(end !== undefined && end > row && end - row <= chunk, `segment of rows ${row} to ${end}`);
      for (; row < end; row++) assert.equal(ids[rows[row] as number], expert);
    }
    assert.equal(row, ids.length);
  }
});

const found = findSystem();
const reason = found.usable ? whyNot(found.system) : found.reason;

test('a step of several products of the same routing sorts it once', { skip: reason ?? false }, async () => {
  if (!found.usable) return assert.fail(found.reason);
  await using device = createCpuDevice(found.system, { threads: 2, profile: 'sums' });
  // 20 rows an expert fill no panels.
  const [E, N, K, T, chosen] = [5, 20, 32, 9, 2];
  const random = generator(3);
  const shape = { format: 'q4_0', numerics: 'i8', E, K, chosen } as const;
  const up = makeCase({ ...shape, N, shared: true }, T, () => integer(random, E), random);
  const down = makeCase({ ...shape, N: 32, shared: false }, T, () => 0, random);
  const options = { format: 'q4_0', numerics: 'i8' } as const;
  const dim = { sym: 'T', max: 16 } as const;
  const program = new ProgramBuilder().program(
    [
      { name: 'x', type: tensor('f32', [dim, K]), role: 'input' },
      { name: 'each', type: tensor('f32', [dim, chosen, K]), role: 'input' },
      { name: 'ids', type: tensor('i32', [dim, chosen]), role: 'input' },
      { name: 'others', type: tensor('i32', [dim, chosen]), role: 'input' },
      { name: 'up', type: tensor('f32', [E, N, K]), role: 'weight', format: 'q4_0' },
      { name: 'down', type: tensor('f32', [E, 32, K]), role: 'weight', format: 'q4_0' },
    ],
    (b, v) => ({
      first: routedDot(b, v.x, v.up, v.ids, options),
      second: routedDot(b, v.x, v.up, v.ids, options),
      down: routedDot(b, v.each, v.down, v.ids, options),
      other: routedDot(b, v.x, v.up, v.others, options),
    }),
  );
  using executable = await device.compile(program);
  using upWeight = await device.pack({ name: 'up', format: 'q4_0', shape: [E, N, K], bytes: memoryBytes(up.weight) });
  using downWeight = await device.pack({
    ...{ name: 'down', format: 'q4_0', shape: [E, 32, K], bytes: memoryBytes(down.weight) },
  });
  using bound = await device.bind(executable, new Map(Object.entries({ up: upWeight, down: downWeight })), new Map());
  const others = up.ids.map((id) => (id + 1) % E);
  const inputs = new Map(Object.entries({ x: up.x, each: down.x, ids: up.ids, others }));
  const results = await device.wait(device.submit(bound, inputs, { T }), performance.now() + 60_000);
  const floats = (name: string) => {
    const view = results.get(name) ?? assert.fail(name);
    return [...new Float32Array(view.buffer, view.byteOffset, view.byteLength / 4)];
  };
  assertSameBits(floats('first'), [...reference(up)]);
  assertSameBits(floats('second'), [...reference(up)]);
  assertSameBits(floats('down'), [...reference({ ...down, ids: up.ids })]);
  assertSameBits(floats('other'), [...reference({ ...up, ids: others })]);
  const calls = (prefix: string) =>
    device
      .profile()
      .kernels.filter(({ kernel }) => kernel.startsWith(prefix))
      .reduce((sum, kernel) => sum + kernel.calls, 0);
  assert.equal(calls('expert_order'), 2);
});

test('a fold over the number of tokens alone runs as any other', { skip: reason ?? false }, async () => {
  if (!found.usable) return assert.fail(found.reason);
  await using device = createCpuDevice(found.system, { threads: 1 });
  const dim = { sym: 'T', max: 16 } as const;
  const program = new ProgramBuilder().program([{ name: 'x', type: tensor('i32', [dim]), role: 'input' }], (b, v) => ({
    count: b.reduce('add', b.full('i32', [dim], 1), 0, [0]),
    x: b.add(v.x, v.x),
  }));
  using executable = await device.compile(program);
  using bound = await device.bind(executable, new Map(), new Map());
  const results = await device.wait(
    device.submit(bound, new Map([['x', new Int32Array(7)]]), { T: 7 }),
    performance.now() + 60_000,
  );
  const count = results.get('count') ?? assert.fail();
  assert.equal(new Int32Array(count.buffer, count.byteOffset, 1)[0], 7);
});
