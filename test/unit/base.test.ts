import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryBytes, sliceBytes } from '../../src/base/bytes.ts';
import { IngotError, isIngotError } from '../../src/base/errors.ts';
import { formatBytes } from '../../src/base/format-bytes.ts';
import { makeFolder } from '../../src/base/make-folder-node.ts';
import { dumpTo } from '../../src/compiler/dump-node.ts';

test('an error carries its code, place and hint', () => {
  const error = new IngotError('InvalidFile', 'bad magic', { path: 'a.gguf', offset: 0, hint: 'download it again' });
  assert.equal(isIngotError(error, 'InvalidFile'), true);
  assert.equal(isIngotError(error, 'Usage'), false);
  assert.deepEqual(error.place, { path: 'a.gguf', offset: 0 });
  assert.equal(error.hint, 'download it again');
});

test('a slice of a byte source reads relative to its own start', async () => {
  const source = sliceBytes(memoryBytes(Uint8Array.of(1, 2, 3, 4, 5)), 1, 3);
  assert.deepEqual(await source.read(1, 2), Uint8Array.of(3, 4));
});

test('amounts of memory have two digits, or all before the point', () => {
  const amounts = [0, 1023, 1024, 99.4 * 1024, 99.6 * 1024, 1023.7 * 1024, 2.5 * 2 ** 40];
  assert.deepEqual(amounts.map(formatBytes), ['0 B', '1023 B', '1.0 KiB', '99 KiB', '100 KiB', '1024 KiB', '2.5 TiB']);
});

test('a folder is made with what is missing above it; where none can be made that is said, and not tried for ever', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-base-'));
  try {
    const deep = join(folder, 'a', 'b');
    makeFolder(deep);
    makeFolder(deep);
    assert.ok(existsSync(deep));
  } finally {
    rmSync(folder, { recursive: true });
  }
  if (process.platform !== 'linux') return;
  assert.throws(
    () => dumpTo('/proc/nowhere/a'),
    (error) => isIngotError(error) && error.place.path === '/proc/nowhere/a',
  );
});
