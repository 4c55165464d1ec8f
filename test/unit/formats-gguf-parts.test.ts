/** GGUF in several files, made by gguf-py (goldens/make-gguf-parts.py). */
import assert from 'node:assert/strict';
import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { fixtures } from '../fixtures.ts';
import { folderWith, ingot } from './formats-support.ts';

const part = (i: number, count = 3) => `model-0000${i}-of-0000${count}.gguf`;
const golden = (i: number) => join(fixtures('unit'), 'gguf-parts', part(i));

/** A folder in which part i is the golden that `from` names. */
async function parts(from: Readonly<Record<number, number>>) {
  const folder = await folderWith({});
  for (const [i, source] of Object.entries(from)) await copyFile(golden(source), join(folder.path, part(Number(i))));
  return folder;
}

test('the first part opens all of them', async () => {
  await using checkpoint = await openCheckpoint(golden(1));
  assert.deepEqual([...checkpoint.tensors.keys()], ['a', 'b', 'c']);
  assert.equal(checkpoint.metadata.get('general.name'), 'three tensors');
  assert.ok(![...checkpoint.metadata.keys()].some((key) => key.startsWith('split.')));
  const c = checkpoint.tensors.get('c');
  assert.deepEqual(c?.shape, [2, 4]);
  const bytes = await c?.bytes.read(0, 32);
  assert.deepEqual(bytes && [...new Float32Array(bytes.buffer)], [2, 3, 4, 5, 6, 7, 8, 9]);
});

test('a part that is not the first, is missing, in the wrong place, or under another name', async () => {
  await assert.rejects(openCheckpoint(golden(2)), ingot('UnsupportedFile', /one of the 3 parts/));
  await using missing = await parts({ 1: 1, 2: 2 });
  await assert.rejects(
    openCheckpoint(join(missing.path, part(1))),
    ingot('FileNotFound', /00003-of-00003\.gguf does not exist/),
  );
  await using twice = await parts({ 1: 1, 2: 2, 3: 2 });
  await assert.rejects(
    openCheckpoint(join(twice.path, part(1))),
    ingot('InvalidFile', /does not say that it is part 3 of 3/),
  );
  await using renamed = await folderWith({ 'm.gguf': await readFile(golden(1)) });
  await assert.rejects(openCheckpoint(join(renamed.path, 'm.gguf')), ingot('UnsupportedFile', /one of the 3 parts/));
});

test('parts whose tensors are fewer than the first says', async () => {
  const text = await readFile(golden(1), 'latin1');
  const at = text.indexOf('split.tensors.count') + 'split.tensors.count'.length + 4;
  const more = Buffer.from(text, 'latin1');
  assert.equal(more.readInt32LE(at), 3);
  more.writeInt32LE(4, at);
  await using folder = await parts({ 2: 2, 3: 3 });
  await using other = await folderWith({ [part(1)]: more });
  await copyFile(join(other.path, part(1)), join(folder.path, part(1)));
  await assert.rejects(openCheckpoint(join(folder.path, part(1))), ingot('InvalidFile', /have 3 tensors; it says 4/));
});
