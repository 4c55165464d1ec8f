/** Memory of weights (devices/cpu/regions.ts): together in pages of 2 MiB, given back when the last of a region is freed. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import type { OperatingSystem } from '../../src/devices/cpu/os/os.ts';
import { Regions } from '../../src/devices/cpu/regions.ts';
import { accessAt } from './cpu-support.ts';

const found = findSystem();
const skip =
  found.usable && process.platform === 'linux' ? false : 'needs machine code, and the files in /proc of Linux';

function system(): OperatingSystem {
  assert.ok(found.usable);
  return found.system;
}

/** Bytes of the mapping that an address is in which lie in huge pages. */
function hugeBytesAt(address: number): number {
  const lines = readFileSync('/proc/self/smaps', 'utf8').split('\n');
  const first = lines.findIndex((line) => {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    return range !== null && Number(`0x${range[1]}`) <= address && address < Number(`0x${range[2]}`);
  });
  const line = lines.slice(first).find((line) => line.startsWith('AnonHugePages:'));
  return 1024 * Number(/\d+/.exec(line ?? '')?.[0] ?? 0);
}

test('weights follow one another in one region, zeroed and apart', { skip }, () => {
  const regions = new Regions(system());
  const sizes = [3 << 20, 100, 64, 5 << 20];
  const parts = sizes.map((size) => regions.take(size));
  parts.forEach((part, i) => {
    const next = parts[i + 1];
    if (next !== undefined) assert.equal(next.address, part.address + 64 * Math.ceil(part.length / 64));
    const bytes = part.bytes();
    assert.equal(bytes.length, sizes[i]);
    assert.ok(bytes.every((byte) => byte === 0));
    bytes.fill(i + 1);
  });
  parts.forEach((part, i) => {
    assert.ok(part.bytes().every((byte) => byte === i + 1));
    assert.deepEqual([...part.bytes(20, 2)], [i + 1, i + 1]);
    for (const [offset, count] of [
      [0, part.length + 1],
      [-1, 1],
      [part.length, 1],
    ]) {
      assert.throws(() => part.bytes(offset, count), { name: 'IngotError', code: 'InvalidArgument' });
    }
  });
  if (system().limits().hugePages) assert.ok(hugeBytesAt(parts[0]?.address ?? 0) >= 8 << 20);
  for (const part of parts) part[Symbol.dispose]();
});

test('a region goes with the last of its weights, and not before', { skip }, () => {
  const regions = new Regions(system());
  const [one, two] = [regions.take(1000), regions.take(1000)];
  one[Symbol.dispose]();
  one[Symbol.dispose](); // twice is harmless
  assert.throws(() => one.bytes(), { name: 'IngotError', code: 'InvalidArgument' });
  assert.throws(() => one.hold(), { name: 'IngotError', code: 'InvalidArgument' });
  const hold = two.hold();
  two[Symbol.dispose]();
  assert.equal(accessAt(two.address), 'rw-p');
  const other = regions.take(1000);
  hold[Symbol.dispose]();
  assert.equal(accessAt(two.address), undefined);
  other.bytes().fill(1);
  other[Symbol.dispose]();
  // What is larger than half a region has a mapping of its own.
  const large = regions.take(200 << 20);
  assert.equal(accessAt(large.address), 'rw-p');
  large[Symbol.dispose]();
  assert.equal(accessAt(large.address), undefined);
});
