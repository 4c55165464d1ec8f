/** The device that computes nothing: memory as if it did, zeros for results, and meshes of thousands of ranks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { isIngotError } from '../../src/base/errors.ts';
import { reportMesh } from '../../src/cli/mesh-report.ts';
import type { Hardware } from '../../src/compiler/cost.ts';
import { createNullDevice } from '../../src/devices/null/device.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { parseMesh } from '../../src/ir/mesh.ts';
import { tensor } from '../../src/ir/types.ts';
import { openModel } from '../../src/models/architectures.ts';
import { fixtures, repositoryPath } from '../fixtures.ts';

const hardware: Hardware = {
  ...{ name: 'a rank', memoryBytes: 1000, threads: 1, readBytesPerSecond: 1e9 },
  operationsPerSecond: { f32: 1e10 },
};

test('it counts memory and gives zeros', async () => {
  await using device = createNullDevice(hardware);
  const T = { sym: 'T', max: 8 } as const;
  const program = new ProgramBuilder().program(
    [
      { name: 'x', type: tensor('f32', [T, 4]), role: 'input' },
      { name: 'w', type: tensor('f32', [4]), role: 'weight', format: 'f16' },
    ],
    (b, { x, w }) => ({ y: b.dot(x, w, { contract: [[1, 0]] }) }),
  );
  using executable = await device.compile(program);
  const weight = { name: 'w', format: 'f16', shape: [4], bytes: memoryBytes(new Uint8Array(8)) };
  const packed = await device.pack(weight);
  assert.deepEqual(device.memory().weights, { now: 8, peak: 8 });
  using bound = await device.bind(executable, new Map([['w', packed]]), new Map());
  const ticket = device.submit(bound, new Map([['x', new Float32Array(12)]]), { T: 3 });
  const results = await device.wait(ticket, Number.POSITIVE_INFINITY);
  assert.deepEqual(results.get('y'), new Uint8Array(12));
  assert.equal(device.profile().runs, 1);
  await assert.rejects(device.allocate(tensor('f32', [250]), 'state'), (error) => isIngotError(error, 'OutOfMemory'));
  assert.throws(
    () => device.submit(bound, new Map([['x', new Float32Array(11)]]), { T: 3 }),
    (error) => isIngotError(error, 'InvalidArgument'),
  );
  await assert.rejects(device.bind(executable, new Map(), new Map()), (error) =>
    isIngotError(error, 'InvalidArgument'),
  );
  packed[Symbol.dispose]();
  packed[Symbol.dispose]();
  assert.deepEqual(device.memory().weights, { now: 0, peak: 8 });
});

test('meshes up to thousands of ranks, without reading a weight', async () => {
  await using checkpoint = await openCheckpoint(repositoryPath('models', 'tales', 'tales-q8_0.gguf'));
  const opened = openModel(checkpoint);
  const unread = [...opened.weights].map(([name, stored]) => {
    const read = () => Promise.reject(new Error('a weight is read'));
    return [name, { ...stored, bytes: { name, length: stored.bytes.length, read } }] as const;
  });
  const model = { ...opened, weights: new Map(unread) };
  const report = (mesh: string) =>
    reportMesh(model, parseMesh(mesh), { contextLength: 256, kv: 'f32' }, { ...hardware, memoryBytes: 1e12 });
  const one = await report('tensor=1');
  const [whole] = one.ranks;
  assert.equal(whole.collectivesPerToken, 0);
  const two = await report('tensor=2');
  assert.equal(two.ranks.length, 1);
  const [half] = two.ranks;
  assert.ok(half.weightBytes < 0.75 * whole.weightBytes && half.weightBytes >= 0.5 * whole.weightBytes);
  assert.ok(half.sentBytesPerToken > 0 && half.communicatingSecondsPerToken > 0);
  assert.ok(half.computingSecondsPerToken < whole.computingSecondsPerToken);
  const many = await report('data=1024,tensor=2');
  assert.equal(many.ranks[0].ranks, 2048);
  assert.equal(many.replicas, 1024);
  assert.deepEqual({ ...many.ranks[0], ranks: 0 }, { ...half, ranks: 0 });
  const uneven = await report('tensor=3:1');
  assert.ok(uneven.ranks[0].weightBytes > uneven.ranks[1].weightBytes);
});

test('meshes that a model cannot be divided over', async () => {
  await using checkpoint = await openCheckpoint(`${fixtures('models')}/llama`);
  const model = openModel(checkpoint);
  const cases = [
    ['tensor=97,data=2', /97 ranks along 'tensor'/, /^--mesh tensor=48,data=2 /],
    ['pipeline=2', /'pipeline'/, /data and tensor/],
  ] as const;
  for (const [mesh, message, hint] of cases) {
    await assert.rejects(
      reportMesh(model, parseMesh(mesh), { contextLength: 64, kv: 'f32' }, hardware),
      (error) => isIngotError(error, 'Usage') && message.test(error.message) && hint.test(error.hint ?? ''),
      mesh,
    );
  }
});
