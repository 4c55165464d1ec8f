/** Several devices as one: programs, weights and state divided among them, seen from outside as if they were not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { isIngotError } from '../../src/base/errors.ts';
import type { Device } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { parseMesh } from '../../src/ir/mesh.ts';
import type { Program } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import type { KeptLayouts } from '../../src/parallel/division.ts';
import { createHostGroup } from '../../src/parallel/host-group.ts';
import { createMeshDevice } from '../../src/parallel/mesh-device.ts';

function openRanks(size: number, layouts?: KeptLayouts): Device {
  const ranks = createHostGroup(size).map((communicator) => ({ device: createReferenceDevice(), communicator }));
  return createMeshDevice(parseMesh(`tensor=${size}`), ranks, { layouts });
}

const [rows, columns, inner] = [3, 8, 10];

/** Adds what x makes of the weights to every row of the state. */
const program: Program = new ProgramBuilder().program(
  [
    { name: 'x', type: tensor('f32', [1, inner]), role: 'input' },
    { name: 'w', type: tensor('f32', [inner, columns]), role: 'weight', format: 'f32' },
    { name: 'sums', type: tensor('f32', [rows, columns, 2]), role: 'state' },
  ],
  (b, { x, w, sums }) => {
    const y = b.reshape(b.dot(x, w, { contract: [[1, 0]] }), [columns]);
    const updated = b.add(sums, b.broadcast(y, [rows, columns, 2], [1]));
    return { updated, total: b.reduce('add', updated, 0, [0, 1, 2]) };
  },
  { updated: 'sums' },
);

const counting = (count: number) => new Float32Array(count).map((_, i) => i);

async function load(device: Device) {
  const values = counting(inner * columns);
  const weight = {
    name: 'w',
    parameter: 'w',
    format: 'f32',
    shape: [inner, columns],
    bytes: memoryBytes(new Uint8Array(values.buffer)),
  };
  const kept = {
    weights: new Map([['w', await device.pack(weight)]]),
    state: new Map([['sums', await device.allocate(tensor('f32', [rows, columns, 2]), 'state')]]),
  };
  const executable = await device.compile(program);
  const bound = await device.bind(executable, kept.weights, kept.state);
  return { ...kept, executable, bound };
}

const floats = (view: ArrayBufferView | undefined) => {
  assert.ok(view !== undefined);
  return [...new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength))];
};

for (const size of [2, 3]) {
  test(`${size} ranks: results and state are those of one device, read and written in any pieces`, async () => {
    await using one = createReferenceDevice();
    await using many = openRanks(size);
    const outcomes: unknown[] = [];
    for (const device of [one, many]) {
      const { state, bound } = await load(device);
      const sums = state.get('sums');
      assert.ok(sums !== undefined);
      device.write(sums, counting(rows * columns * 2));
      device.write(sums, Float32Array.of(70, 71, 72, 73, 74), 4 * 13);
      const inputs = new Map([['x', new Float32Array(inner).fill(0.5)]]);
      const runs = [device.submit(bound, inputs, {}), device.submit(bound, inputs, {})];
      const totals: number[] = [];
      for (const run of runs) totals.push(...floats((await device.wait(run, Number.POSITIVE_INFINITY)).get('total')));
      const whole = floats(await device.read(sums));
      const pieces: number[] = [];
      for (let at = 0; at < whole.length; at += 5) {
        pieces.push(...floats(await device.read(sums, 4 * at, 4 * Math.min(5, whole.length - at))));
      }
      assert.deepEqual(pieces, whole);
      outcomes.push({ totals, whole });
    }
    assert.deepEqual(outcomes[1], outcomes[0]);
    // Each rank has a part: together they hold little more than one device does.
    assert.ok(many.memory().weights.now < 1.5 * one.memory().weights.now);
    assert.equal(many.memory().state.now, one.memory().state.now);
  });
}

type Layouts = Parameters<KeptLayouts['keep']>[0];

/** Word from an earlier start, and what the next one gets. */
class Kept implements KeptLayouts {
  said: Layouts | undefined;
  find = () => this.said;
  keep = (layouts: Layouts) => {
    this.said = layouts;
  };
}

const totalOf = async (device: Device) => {
  const { bound } = await load(device);
  const run = device.submit(bound, new Map([['x', new Float32Array(inner).fill(0.5)]]), {});
  return floats((await device.wait(run, Number.POSITIVE_INFINITY)).get('total'));
};

test('weights are read before there is a program, as ranks took them at an earlier start', async () => {
  const kept = new Kept();
  await using first = openRanks(2, kept);
  const total = await totalOf(first);
  const right = kept.said;
  assert.ok(right !== undefined);
  await using second = openRanks(2, kept);
  const bytes = memoryBytes(new Uint8Array(4 * inner * columns));
  using early = await second.pack({ name: 'w', parameter: 'w', format: 'f32', shape: [inner, columns], bytes });
  assert.equal(early.bytes, 4 * inner * columns);
  assert.equal(second.memory().weights.now, first.memory().weights.now);
  assert.deepEqual(await totalOf(second), total);
  assert.equal(kept.said, right);
});

test('where the word is wrong, weights are read once more, and the right word is left', async () => {
  const kept = new Kept();
  kept.said = new Map([['w', { splits: [undefined, undefined] }]]);
  await using device = openRanks(2, kept);
  await using other = openRanks(2);
  assert.deepEqual(await totalOf(device), await totalOf(other));
  assert.equal(device.memory().weights.now, other.memory().weights.now);
  assert.notDeepEqual(kept.said?.get('w')?.splits, [undefined, undefined]);
});

test('more ranks than there is something for are refused before weights are read, with the most that have something', async () => {
  await using device = openRanks(11);
  const refused = (error: unknown) =>
    isIngotError(error, 'Usage') &&
    /11 ranks along 'tensor'/.test(error.message) &&
    /--mesh tensor=10 /.test(`${error.hint}`);
  await assert.rejects(load(device), refused);
  assert.equal(device.memory().weights.peak, 0);
});

test('a rank that joins twice, or in the place of another, is refused', () => {
  const [first, second] = createHostGroup(2);
  for (const [ends, said] of [
    [[first, first], /rank 1 is given the end of rank 0/],
    [[second, first], /rank 0 is given the end of rank 1/],
  ] as const) {
    const ranks = ends.map((communicator) => ({ device: createReferenceDevice(), communicator }));
    assert.throws(
      () => createMeshDevice(parseMesh('tensor=2'), ranks),
      (error) => isIngotError(error, 'InvalidArgument') && said.test(error.message),
    );
  }
});

test('what is not bound yet has no parts, and errors of a rank are those of all', async () => {
  await using device = openRanks(2);
  const state = await device.allocate(tensor('f32', [rows, columns, 2]), 'state');
  assert.throws(
    () => device.write(state, counting(1)),
    (error) => isIngotError(error, 'InvalidArgument'),
  );
  const { bound } = await load(device);
  assert.throws(
    () => device.submit(bound, new Map(), {}),
    (error) => isIngotError(error, 'InvalidArgument'),
  );
  const ticket = device.submit(bound, new Map([['x', new Float32Array(inner)]]), {});
  await assert.rejects(device.wait(ticket, 0), (error) => isIngotError(error, 'DeadlineExceeded'));
});
