/** Code that is kept between starts: it comes back as it was, and what was altered does not. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type CodeCache, openCodeCache } from '../../src/devices/cpu/code-cache.ts';
import { createCpuDevice } from '../../src/devices/cpu/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { tensor } from '../../src/ir/types.ts';
import { noCpu } from '../conformance/devices.ts';
import { system } from './machine.ts';

const home = mkdtempSync(join(tmpdir(), 'ingot-code-'));
const before = process.env.XDG_CACHE_HOME;
process.env.XDG_CACHE_HOME = home;
after(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
  rmSync(home, { recursive: true, force: true });
});

const own = join(home, 'ingot');
const codeFolder = () => join(own, readdirSync(own).find((name) => name.startsWith('code-')) ?? 'none');
const code = { head: { name: 'kernel', alignment: 64 }, bytes: Uint8Array.of(1, 2, 3, 195) };

test('what was kept comes back, by its key alone', () => {
  openCodeCache()?.keep('a', code);
  const found = openCodeCache()?.find('a');
  assert.deepEqual({ ...found, bytes: Uint8Array.from(found?.bytes ?? []) }, code);
  assert.equal(openCodeCache()?.find('b'), undefined);
});

test('files that are torn, altered, or of another key are not used', () => {
  const cache = openCodeCache();
  assert.ok(cache);
  const [name] = readdirSync(codeFolder());
  const path = join(codeFolder(), String(name));
  const whole = readFileSync(path);
  for (let at = 0; at < whole.length; at++) {
    writeFileSync(path, whole.subarray(0, at));
    assert.equal(cache.find('a'), undefined, `the first ${at} bytes`);
    const altered = Buffer.from(whole);
    altered[at] = (altered[at] as number) ^ 16;
    writeFileSync(path, altered);
    assert.equal(cache.find('a'), undefined, `byte ${at} altered`);
  }
  writeFileSync(path, whole);
  cache.keep('c', code);
  const other = readdirSync(codeFolder()).find((each) => each !== name);
  writeFileSync(join(codeFolder(), String(other)), whole);
  assert.equal(cache.find('c'), undefined);
});

test('kernels of another version go', () => {
  mkdirSync(join(own, 'code-of-yesterday'));
  openCodeCache();
  assert.deepEqual(
    readdirSync(own).filter((name) => name === 'code-of-yesterday'),
    [],
  );
});

test('a folder that others may write is not used', { skip: process.platform === 'win32' && 'modes are POSIX' }, () => {
  chmodSync(codeFolder(), 0o777);
  assert.equal(openCodeCache(), undefined);
  chmodSync(codeFolder(), 0o700);
});

test('a second device takes the code of the first, and computes the same', { skip: noCpu ?? false }, async () => {
  const type = tensor('f32', [100]);
  const program = new ProgramBuilder().program([{ name: 'x', type, role: 'input' }], (b, { x }) => ({
    y: b.exponential(b.add(x, x)),
  }));
  const cache = openCodeCache();
  assert.ok(cache);
  const found: string[] = [];
  const codeCache: CodeCache = {
    ...cache,
    find<H>(key: string) {
      const known = cache.find<H>(key);
      found.push(`${key.slice(0, key.indexOf(' '))} ${known === undefined ? 'made' : 'found'}`);
      return known;
    },
  };
  const run = async (profile: 'nothing' | 'sums') => {
    await using device = createCpuDevice(system(), { threads: 1, codeCache, profile });
    let passes = 0;
    using executable = await device.compile(program, (same) => {
      passes++;
      return same;
    });
    using bound = await device.bind(executable, new Map(), new Map());
    const inputs = new Map([['x', Float32Array.from({ length: 100 }, (_, i) => i / 50)]]);
    const y = (await device.wait(device.submit(bound, inputs, {}), Number.POSITIVE_INFINITY)).get('y');
    return { y, passes, found: found.splice(0) };
  };
  const first = await run('nothing');
  assert.deepEqual([first.passes, first.found], [1, ['image made', 'kernel made']]);
  // The whole program is there: nothing of it is compiled.
  assert.deepEqual(await run('nothing'), { y: first.y, passes: 0, found: ['image found'] });
  // An image does not say what its kernels cost.
  assert.deepEqual(await run('sums'), { y: first.y, passes: 1, found: ['kernel found'] });
});
