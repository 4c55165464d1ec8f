/** What is remembered between starts: where it lies, that it comes back, and that nothing fails where it cannot be kept. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { after, test } from 'node:test';
import { cacheFolder, recall, remember } from '../../src/devices/cpu/cache-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'ingot-cache-'));
const before = process.env.XDG_CACHE_HOME;
const setFolder = (value: string | undefined) => {
  if (value === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = value;
};
after(() => {
  setFolder(before);
  rmSync(folder, { recursive: true, force: true });
});

test('the folder is the one that the system or the user names', () => {
  setFolder(folder);
  assert.equal(cacheFolder(), join(folder, 'ingot'));
  setFolder('relative');
  assert.ok(isAbsolute(cacheFolder()) && cacheFolder().includes('ngot'));
});

test('what was remembered comes back; what is broken or absent does not', async () => {
  setFolder(folder);
  assert.equal(recall('figures'), undefined);
  assert.ok(await remember('figures', { a: [1, 2] }));
  assert.ok(await remember('figures', { a: [3] }));
  assert.deepEqual(recall('figures'), { a: [3] });
  assert.deepEqual(readdirSync(join(folder, 'ingot')), ['figures.json']);
  writeFileSync(join(folder, 'ingot', 'figures.json'), '{ "a": ');
  assert.equal(recall('figures'), undefined);
});

test('a folder that cannot be made is no failure', async () => {
  writeFileSync(join(folder, 'file'), '');
  setFolder(join(folder, 'file'));
  assert.equal(await remember('figures', 1), false);
  assert.equal(recall('figures'), undefined);
});
