/** KV blocks in a file: what is written comes back or is missed, whatever happens to the file. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { FileSlots, openSlots } from '../../src/engine/slots-node.ts';

const folder = mkdtempSync(join(tmpdir(), 'ingot-slots-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const kv = join(folder, 'kv');
const contents = (value: number) => new Uint8Array(100).fill(value);
const fileOf = () => join(kv, readdirSync(kv)[0] ?? '', 'blocks');

test('slots keep what was written last, in the order in which it was asked for, and nothing stays behind', async () => {
  {
    await using slots = await openSlots(folder, 1050, 100);
    assert.equal(slots.count, 10);
    assert.equal(await slots.read(3), undefined);
    for (const value of [1, 2]) assert.ok(slots.write(3, contents(value)));
    assert.ok(slots.write(9, contents(9)));
    const [third, ninth] = [slots.read(3), slots.read(9)];
    assert.ok(slots.write(9, contents(10)));
    assert.deepEqual([await third, await ninth], [contents(2), contents(9)]);
    assert.deepEqual(await slots.read(9), contents(10));
  }
  assert.deepEqual(readdirSync(kv), []);
  await assert.rejects(openSlots(folder, 99, 100), (error) => isIngotError(error, 'InvalidArgument'));
});

test('what is damaged, or gone, is missed', async () => {
  await using slots = await openSlots(folder, 1000, 100);
  for (const slot of [0, 1, 2]) slots.write(slot, contents(slot));
  assert.deepEqual(await slots.read(2), contents(2));
  const file = fileOf();
  writeFileSync(file, Uint8Array.of(1), { flag: 'r+' });
  truncateSync(file, 250);
  assert.deepEqual(
    [await slots.read(0), await slots.read(1), await slots.read(2)],
    [undefined, contents(1), undefined],
  );
});

test('a disk that is full ends the writing with one warning', {
  skip: !existsSync('/dev/full') && 'skipped, because there is no /dev/full',
}, async () => {
  const warnings: string[] = [];
  const onWarning = ({ message }: Error) => warnings.push(message);
  process.on('warning', onWarning);
  {
    await using slots = new FileSlots(join(folder, 'none'), await open('/dev/full', 'r+'), 10, 100);
    assert.ok(slots.write(0, contents(1)), 'it is not known yet');
    assert.ok(slots.write(1, contents(1)));
    assert.equal(await slots.read(0), undefined);
    assert.equal(slots.write(2, contents(1)), false);
  }
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', onWarning);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /no longer written/);
});

test('what a process left behind that ended is removed at the next start, and nothing else', async () => {
  // No process has this number.
  const left = join(kv, '999999999-1-abc');
  const reused = join(kv, `${process.pid}-1-abc`);
  const alive = join(kv, `${process.ppid}-1-abc`);
  for (const each of [left, reused, alive]) {
    mkdirSync(each, { recursive: true });
    writeFileSync(join(each, 'blocks'), 'x');
  }
  await using slots = await openSlots(folder, 1000, 100);
  await using second = await openSlots(folder, 1000, 100);
  assert.deepEqual([left, reused, alive].map(existsSync), [false, false, true]);
  slots.write(0, contents(5));
  second.write(0, contents(6));
  assert.deepEqual([await slots.read(0), await second.read(0)], [contents(5), contents(6)]);
});
