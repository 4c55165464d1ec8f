import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFile, chmod, readdir, readFile, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createFile } from '../../src/formats/atomic-write-node.ts';
import { openFile } from '../../src/formats/file-node.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { layoutSafetensors } from '../../src/formats/safetensors-write.ts';
import { bytesOf, concat, folderWith, ingot, ramp, tensor } from './formats-support.ts';

test('ranges of a file are read, several at once', async () => {
  await using folder = await folderWith({ f: ramp(10_000) });
  await using file = await openFile(join(folder.path, 'f'));
  assert.equal(file.length, 10_000);
  const starts = Array.from({ length: 50 }, (_, i) => i * 190);
  const parts = await Promise.all(starts.map((start) => file.read(start, 100)));
  for (const [i, part] of parts.entries()) {
    assert.deepEqual(part, ramp(10_000).slice(starts[i], (starts[i] ?? 0) + 100));
  }
  assert.equal((await file.read(10_000, 0)).length, 0);
  for (const [offset, length] of [
    [9_999, 2],
    [-1, 1],
    [0, -1],
    [0.5, 1],
    [0, Number.NaN],
  ] as const) {
    await assert.rejects(file.read(offset, length), ingot('InvalidFile', /outside/));
  }
});

test('paths that are no files', async () => {
  await using folder = await folderWith({ f: 'x' });
  const path = join(folder.path, 'f');
  await assert.rejects(openFile(join(folder.path, 'none')), ingot('FileNotFound', /does not exist/));
  await assert.rejects(openFile(join(path, 'below')), ingot('FileNotFound'));
  await assert.rejects(openFile(folder.path), ingot('UnsupportedFile', /is a folder/));
  await assert.rejects(openFile('\0'), ingot('FileNotFound'));
  await assert.rejects(openCheckpoint(join(folder.path, 'none')), ingot('FileNotFound'));
});

test('no permission', { skip: process.getuid?.() === 0 && 'the superuser may read everything' }, async () => {
  await using folder = await folderWith({ f: 'x' });
  await chmod(join(folder.path, 'f'), 0);
  await assert.rejects(openFile(join(folder.path, 'f')), ingot('FileAccess', /no permission/));
});

const changes: readonly (readonly [what: string, change: (path: string) => Promise<unknown>, message: RegExp])[] = [
  ['shrinks', (path) => truncate(path, 100), /became shorter/],
  ['shrinks behind what is read', (path) => truncate(path, 600), /had 1000 bytes and has 600/],
  ['grows', (path) => appendFile(path, 'more'), /had 1000 bytes and has 1004/],
  ['vanishes', (path) => rm(path), /no longer there/],
  ['is written to', (path) => utimes(path, 1, 1), /was written to/],
  [
    'is replaced',
    async (path) => {
      await writeFile(`${path}.new`, ramp(1000));
      await rename(`${path}.new`, path);
    },
    /another file/,
  ],
];
for (const [what, change, message] of changes) {
  test(`a file that ${what} while it is open`, async () => {
    await using folder = await folderWith({ f: ramp(1000) });
    const path = join(folder.path, 'f');
    await using file = await openFile(path);
    await file.read(50, 500);
    await change(path);
    const offset = what === 'shrinks' ? 100 : 50;
    await assert.rejects(file.read(50, 500), ingot('FileChanged', message, { path, offset }));
  });
}

test('a model that is cut while its tensors are read', async () => {
  const bytes = await bytesOf(layoutGguf({ metadata: new Map(), tensors: [tensor('t', 'f32', [64], ramp(256))] }));
  await using folder = await folderWith({ 'm.gguf': bytes });
  const path = join(folder.path, 'm.gguf');
  await using model = await openCheckpoint(path);
  await truncate(path, bytes.length - 8);
  await assert.rejects(
    async () => model.tensors.get('t')?.bytes.read(0, 256),
    ingot('FileChanged', /shorter/, { offset: bytes.length - 8 }),
  );
});

test('what a file is, is told by its contents', async () => {
  const weights = [tensor('t', 'f32', [2], ramp(8))];
  await using folder = await folderWith({
    'a.bin': await bytesOf(layoutGguf({ metadata: new Map(), tensors: weights })),
    'b.gguf': await bytesOf(layoutSafetensors(weights)),
  });
  await using gguf = await openCheckpoint(join(folder.path, 'a.bin'));
  await using safetensors = await openCheckpoint(join(folder.path, 'b.gguf'));
  assert.deepEqual([gguf.kind, safetensors.kind], ['gguf', 'safetensors']);
});

const unknown: readonly (readonly [what: string, contents: string | Uint8Array, message: RegExp])[] = [
  ['an empty file', '', /an empty file/],
  ['a Git LFS pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', /Git LFS pointer/],
  ['a web page', '<!DOCTYPE html>', /web page/],
  ['PyTorch weights', 'PK\x03\x04......', /zip archive/],
  ['old GGML weights', 'tjgg....', /old GGML/],
  ['llama2.c version 1', '24ka....', /version 1 or 2/],
  ['something else', ramp(300), /unknown kind, beginning with 03 0a 11/],
];
for (const [what, contents, message] of unknown) {
  test(`unsupported: ${what}`, async () => {
    await using folder = await folderWith({ f: contents });
    await assert.rejects(openCheckpoint(join(folder.path, 'f')), ingot('UnsupportedFile', message));
    await assert.rejects(openCheckpoint(join(folder.path, 'f')), { hint: /supported are GGUF/ });
  });
}

test('a file appears whole, with its name, when it is committed', async () => {
  await using folder = await folderWith();
  const path = join(folder.path, 'out');
  {
    await using file = await createFile(path, { length: 8 });
    await file.write(ramp(5));
    assert.equal((await readdir(folder.path)).includes('out'), false);
    await file.write(ramp(3));
    await file.commit();
  }
  assert.deepEqual(await readdir(folder.path), ['out']);
  assert.deepEqual(new Uint8Array(await readFile(path)), concat(ramp(5), ramp(3)));
});

test('without commit nothing is left', async () => {
  await using folder = await folderWith({ out: 'old' });
  const path = join(folder.path, 'out');
  const layout = layoutGguf({
    metadata: new Map(),
    tensors: [
      {
        name: 't',
        format: 'f32',
        shape: [4],
        async *chunks() {
          yield ramp(8);
          throw new RangeError('the producer failed');
        },
      },
    ],
  });
  await assert.rejects(async () => {
    await using file = await createFile(path, { overwrite: true });
    await layout.writeTo(file);
    await file.commit();
  }, RangeError);
  assert.deepEqual(await readdir(folder.path), ['out']);
  assert.equal(await readFile(path, 'utf8'), 'old');
});

test('an existing file is replaced only if asked', async () => {
  await using folder = await folderWith({ out: 'old' });
  const path = join(folder.path, 'out');
  await assert.rejects(createFile(path), ingot('FileExists', /exists already/, { path }));
  await assert.rejects(createFile(folder.path, { overwrite: true }), ingot('FileExists', /is a folder/));
  await using file = await createFile(path, { overwrite: true });
  await file.write(ramp(2));
  await file.commit();
  assert.deepEqual(new Uint8Array(await readFile(path)), ramp(2));
  await assert.rejects(file.write(ramp(1)), ingot('InvalidArgument', /no longer/));
});

test('a file that appears while writing is not replaced', async () => {
  await using folder = await folderWith();
  const path = join(folder.path, 'out');
  await using file = await createFile(path);
  await file.write(ramp(2));
  await writeFile(path, 'somebody else');
  await assert.rejects(file.commit(), ingot('FileExists', /exists already/));
  assert.deepEqual(await readdir(folder.path), ['out']);
  assert.equal(await readFile(path, 'utf8'), 'somebody else');
});

test('no room and no folder are said before anything is written', async () => {
  await using folder = await folderWith();
  const path = join(folder.path, 'out');
  await assert.rejects(createFile(path, { length: 2 ** 52 }), ingot('FileAccess', /the disk has \d+ left/));
  await assert.rejects(createFile(join(folder.path, 'none', 'out')), ingot('FileNotFound', /no folder/));
  assert.deepEqual(await readdir(folder.path), []);
});

/** Runs a program in another process that writes to `out` in this folder; what is left there when it has ended. */
async function writeElsewhere(folder: string, body: string, shellPrefix = '') {
  const module = new URL('../../src/formats/atomic-write-node.js', import.meta.url);
  const program = `const { createFile } = await import(${JSON.stringify(module.href)});
    const file = await createFile(${JSON.stringify(join(folder, 'out'))});
    ${body}`;
  const command = `${shellPrefix} exec "$0" --input-type=module -e "$1"`;
  const run = spawnSync('sh', ['-c', command, process.execPath, program], { encoding: 'utf8' });
  return { status: run.status, stdout: run.stdout.trim(), left: await readdir(folder) };
}

const posix = { skip: process.platform === 'win32' && 'needs a POSIX shell' };

test('a disk that fills up while writing is a typed error and leaves nothing', posix, async () => {
  await using folder = await folderWith();
  const body = `await file.write(new Uint8Array(4000));
    await file.write(new Uint8Array(4 << 20)).catch((error) => console.log(error.code + ': ' + error.message));`;
  // The limit on the size of a file stands in for a full disk.
  const { stdout, left } = await writeElsewhere(folder.path, body, 'ulimit -f 64;');
  assert.match(stdout, /^FileAccess: no space left to write .*out$/);
  assert.deepEqual(left, []);
});

test('a process that exits while writing leaves nothing', posix, async () => {
  await using folder = await folderWith();
  const body = `await file.write(new Uint8Array(100));
    console.log((await import('node:fs')).readdirSync(${JSON.stringify(folder.path)}).length);
    process.exit(3);`;
  assert.deepEqual(await writeElsewhere(folder.path, body), { status: 3, stdout: '1', left: [] });
});
