/** Packing in parts, and by several threads, gives the same panels; weights read side by side; how much memory that takes. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ByteSource, memoryBytes } from '../../src/base/bytes.ts';
import { IngotError, isIngotError } from '../../src/base/errors.ts';
import { createCpuDevice } from '../../src/devices/cpu/device.ts';
import { packRowsKernel } from '../../src/devices/cpu/kernels/pack-rows.ts';
import { packedBytes, packedFormats } from '../../src/devices/cpu/kernels/packing.ts';
import { WeightReader } from '../../src/devices/cpu/read-weights.ts';
import { targets } from '../../src/devices/cpu/target.ts';
import { createTeam } from '../../src/devices/cpu/team.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { repositoryPath } from '../fixtures.ts';
import { skip } from './cpu-emit-harness.ts';
import { processStatus } from './cpu-support.ts';
import { machineOf, system } from './machine.ts';
import { Guarded, packed, runKernel } from './native-kernel.ts';

function randomBytes(length: number, seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

const arm64 = machineOf('neon');

for (const format of packedFormats) {
  test(`pack: ${format} packs in slices and on threads as at once, and nothing beyond its rows`, { skip }, () => {
    const { blockSize, blockBytes } = blockFormat(format);
    for (const K of blockSize === 1 ? [1, 2, 7, 40] : [blockSize, 3 * blockSize]) {
      const N = 37;
      const rowBytes = (K / blockSize) * blockBytes;
      const weight = randomBytes(N * rowBytes, 7 * K);
      const whole = packed(format, weight, [N, K]);
      if (typeof arm64 !== 'string') assert.deepEqual(packed(format, weight, [N, K], arm64), whole, 'arm64');
      const panel = whole.length / 3;
      for (const [first, count] of [
        [0, 32],
        [32, 5],
      ] as const) {
        using source = Guarded.of(weight.subarray(first * rowBytes, (first + count) * rowBytes));
        using panels = new Guarded(packedBytes(format, [count, K]));
        panels.bytes.fill(0);
        runKernel(packRowsKernel(format, K), { source, panels }, count, [2, 0, 1]);
        const from = (first / 16) * panel;
        assert.deepEqual(panels.bytes, whole.subarray(from, from + panels.length), `${count} rows from ${first}`);
      }
    }
  });
}

test('pack: slices that come in any order, rows that fill no panel and several weights at once give the same panels', {
  skip,
}, async () => {
  using team = createTeam(system(), { threads: 2 });
  using reader = new WeightReader(system(), team, targets.avx2, () => {});
  // Slices of 4 MiB: three of the first, one of the second.
  const weights = [
    { format: 'q8_0', rows: 5013, K: 2048 },
    { format: 'q4_0', rows: 31, K: 64 },
    { format: 'f32', rows: 16, K: 70_000 },
  ] as const;
  await Promise.all(
    weights.map(async ({ format, rows, K }, i) => {
      const { blockSize, blockBytes } = blockFormat(format);
      const bytes = randomBytes((rows * K * blockBytes) / blockSize, i);
      const late = (source: ByteSource): ByteSource => ({
        ...source,
        async read(offset, length) {
          await new Promise((resolve) => setTimeout(resolve, offset === 0 ? 20 : 0));
          return source.read(offset, length);
        },
      });
      using out = system().mapMemory(packedBytes(format, [rows, K]));
      await reader.pack({ name: 'w', format, shape: [rows, K], bytes: late(memoryBytes(bytes)) }, format, out);
      const expected = packed(format, bytes, [rows, K]);
      assert.equal(Buffer.compare(out.bytes(), expected), 0, format);
    }),
  );
  reader.rest();
});

test('pack: a read that fails leaves the reader as it was', { skip }, async () => {
  using team = createTeam(system(), { threads: 1 });
  using reader = new WeightReader(system(), team, targets.avx2, () => {});
  const shape = [10_000, 1024];
  const bytes = memoryBytes(new Uint8Array(shape[0] * shape[1] * 4));
  const broken: ByteSource = {
    ...bytes,
    read: (offset, length) => {
      if (offset > 0) throw new IngotError('FileChanged', 'the file shrank');
      return bytes.read(offset, length);
    },
  };
  using out = system().mapMemory(bytes.length);
  const weight = { name: 'w', format: 'f32', shape };
  const fails = (error: unknown) => isIngotError(error, 'FileChanged');
  await assert.rejects(reader.pack({ ...weight, bytes: broken }, 'f32', out), fails);
  await reader.pack({ ...weight, bytes }, 'f32', out);
});

test('pack: a file is never held twice', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-pack-'));
  try {
    const [rows, columns] = [8192, 2048];
    const file = join(folder, 'weights');
    writeFileSync(file, '');
    truncateSync(file, 6 * rows * (columns / 32) * 34);
    const program = repositoryPath('dist', 'test', 'unit', 'cpu-pack-memory.js');
    const out = execFileSync(process.execPath, [program, file, String(rows), String(columns)], { encoding: 'utf8' });
    const { before, peak, packed } = JSON.parse(out) as Record<'before' | 'peak' | 'packed', number>;
    assert.equal(packed, 6 * rows * (columns / 32) * 34);
    // The four buffers are 16 MiB of these 102.
    assert.ok(peak - before >= packed, `${peak - before} of ${packed}`);
    assert.ok(peak - before < 1.3 * packed, `${peak - before} of ${packed}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a device that locks keeps its weights in memory, or names the limit', { skip }, async () => {
  await using device = createCpuDevice(system(), { threads: 1, lock: true });
  const shape = [128, 128];
  const bytes = memoryBytes(new Uint8Array(4 * 128 * 128));
  const before = processStatus('VmLck');
  try {
    using weight = await device.pack({ name: 'w', format: 'f32', shape, bytes });
    assert.ok(processStatus('VmLck') - before >= weight.bytes / 1024, 'kilobytes');
  } catch (error) {
    assert.ok(isIngotError(error, 'OutOfMemory') && /ulimit -l/.test(error.hint ?? ''), String(error));
    assert.equal(device.memory().weights.now, 0);
  }
});
