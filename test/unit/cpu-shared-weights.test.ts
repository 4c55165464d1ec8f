/** Weights that devices of several threads have in common: packed once, counted once, and there for whoever comes after a loss. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { isIngotError } from '../../src/base/errors.ts';
import { createCpuDevice } from '../../src/devices/cpu/device.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import type { OperatingSystem } from '../../src/devices/cpu/os/os.ts';
import { createWeightTable, freeWeights, releaseWeights, SharedWeights } from '../../src/devices/cpu/shared-weights.ts';
import { accessAt } from './cpu-support.ts';

const found = findSystem();
const skip = found.usable && process.platform === 'linux' ? false : 'threads have memory in common on Linux only';

function systemOf(): OperatingSystem & { readonly shared: NonNullable<OperatingSystem['shared']> } {
  assert.ok(found.usable && found.system.shared !== undefined);
  return { ...found.system, shared: found.system.shared };
}

const never = async () => assert.fail('it is there already');

test('what one has packed the others are given, and what one had begun another packs', { skip }, async () => {
  const system = systemOf();
  const table = createWeightTable();
  const of = (holder: number) => new SharedWeights(system.shared, { table, holder, sharers: 3 });
  const [one, other, third] = [1, 2, 3].map(of);
  let packed = 0;
  const fill = async (memory: { bytes(): Uint8Array }) => {
    packed++;
    memory.bytes().fill(7);
  };
  // Both at once: one packs, the other waits for it.
  const [a, b] = await Promise.all([one.take('w', 5000, fill), other.take('w', 5000, fill)]);
  assert.equal(packed, 1);
  assert.ok(a !== undefined && a.address === b?.address && b.bytes().every((byte) => byte === 7));
  assert.notEqual((await other.take('v', 5000, fill))?.address, a.address);
  // Whoever fails has packed nothing; whoever is lost while it packs never says so.
  await assert.rejects(
    one.take('x', 64, async () => Promise.reject(new Error('no file'))),
    /no file/,
  );
  void one.take('x', 64, () => new Promise(() => {}));
  const late = third.take('x', 64, fill);
  releaseWeights(table, 1);
  assert.ok((await late)?.bytes().every((byte) => byte === 7));
  await assert.rejects(other.take('w', 5001, never), (error) => isIngotError(error, 'InvalidArgument'));
  // A thread that comes later, in the place of the first.
  const again = await of(4).take('w', 5000, never);
  assert.equal(again?.address, a.address);
  assert.equal(accessAt(a.address), 'rw-p');
  freeWeights(system, table);
  assert.equal(accessAt(a.address), undefined);
});

test('devices that share weights hold them once, and each counts its part', { skip }, async () => {
  const system = systemOf();
  const table = createWeightTable();
  const values = Float32Array.from({ length: 32 * 64 }, (_, i) => i);
  const weight = {
    ...{ name: 'w', parameter: 'w', format: 'f32', shape: [32, 64] },
    bytes: memoryBytes(new Uint8Array(values.buffer)),
  };
  {
    await using alone = createCpuDevice(system, { threads: 1 });
    await using one = createCpuDevice(system, { threads: 1, weightShare: { table, holder: 1, sharers: 2 } });
    await using other = createCpuDevice(system, { threads: 1, weightShare: { table, holder: 2, sharers: 2 } });
    const whole = alone.packedBytes(weight);
    assert.equal(one.packedBytes(weight), whole / 2);
    using _ = await one.pack(weight);
    // Nothing is read a second time.
    using same = await other.pack({ ...weight, bytes: { ...weight.bytes, read: never } });
    assert.equal(one.memory().weights.now + other.memory().weights.now, whole);
    using part = await one.pack({ ...weight, ranges: [{ start: 0, limit: 32 }].map((range) => [range]) });
    assert.equal(part.bytes, same.bytes);
    assert.equal(one.memory().weights.now, whole);
  }
  freeWeights(system, table);
});
