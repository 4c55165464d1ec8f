/** Packed weights in files: what is mapped is what was packed, its digest tells every change, and it goes when nobody has it any more. */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { isIngotError } from '../../src/base/errors.ts';
import { createCpuDevice } from '../../src/devices/cpu/device.ts';
import { pieceBytes, sumBytes, sumPiecesKernel } from '../../src/devices/cpu/kernels/sum-pieces.ts';
import type { WeightFiles } from '../../src/devices/device.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { skip } from './cpu-emit-harness.ts';
import { type Machine, machineOf, system } from './machine.ts';
import { Guarded, runKernel } from './native-kernel.ts';

const lacks = skip || (system().mapFile === undefined && 'files are not mapped on this system');
const folder = mkdtempSync(join(tmpdir(), 'ingot-mapped-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function randomBytes(length: number, seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

/** As the kernel's first comment has it. */
function sumOf(piece: Uint8Array): Uint8Array {
  const sum = new Uint32Array(sumBytes / 4);
  for (const [i, word] of new Uint32Array(piece.slice().buffer).entries()) {
    const before = sum[i % sum.length];
    sum[i % sum.length] = Math.imul(before ^ (before >>> 15), 0x85ebca6b) + word;
  }
  return new Uint8Array(sum.buffer);
}

const machines: readonly (readonly [string, Machine | string])[] = [
  ['avx2', machineOf('avx2')],
  ['neon', machineOf('neon')],
];

for (const [name, machine] of machines) {
  const none = typeof machine === 'string' && machine;
  test(`${name}: each piece has its sums, whichever thread makes them`, { skip: skip || none }, () => {
    if (typeof machine === 'string') return;
    const bytes = randomBytes(2 * pieceBytes, 5);
    using from = Guarded.of(bytes, machine);
    using to = new Guarded(2 * sumBytes, machine);
    runKernel(sumPiecesKernel(), { from, to }, 2, [1, 0, 2]);
    for (const i of [0, 1]) {
      const expected = sumOf(bytes.subarray(i * pieceBytes, (i + 1) * pieceBytes));
      assert.deepEqual(to.bytes.slice(i * sumBytes, (i + 1) * sumBytes), expected);
    }
  });
}

function filesOf({ weightFiles }: { readonly weightFiles?: WeightFiles | undefined }): WeightFiles {
  return weightFiles ?? assert.fail('the device maps no files');
}

/** Maps all of a file. */
function mapped(files: WeightFiles, path: string, bytes: number) {
  const descriptor = openSync(path, 'r');
  try {
    return files.map(descriptor, bytes);
  } finally {
    closeSync(descriptor);
  }
}

test('a file of packed weights gives the weights that were packed, without reading a model', {
  skip: lacks,
}, async () => {
  await using device = createCpuDevice(system(), { threads: 2 });
  const files = filesOf(device);
  const shapes = { q4_0: [37, 96], q6_K: [16, 512], f16: [2, 5, 33], f32: [7], bf16: [20, 1] };
  const path = join(folder, 'weights');
  const parts: {
    readonly weight: { format: string; shape: number[] };
    readonly offset: number;
    readonly bytes: Buffer;
  }[] = [];
  let end = 0;
  const contents = [];
  for (const [i, [format, shape]] of Object.entries(shapes).entries()) {
    const { blockSize, blockBytes } = blockFormat(format);
    const length = (shape.reduce((product, size) => product * size, 1) / blockSize) * blockBytes;
    const weight = { name: 'w', format, shape, bytes: memoryBytes(randomBytes(length, i)) };
    using packed = await device.pack(weight);
    const bytes = Buffer.concat([...files.contents(packed)]);
    assert.equal(bytes.length, files.bytesOf(weight));
    parts.push({ weight: { format, shape }, offset: end, bytes });
    const padded = Buffer.alloc(64 * Math.ceil(bytes.length / 64));
    bytes.copy(padded);
    contents.push(padded);
    end += padded.length;
  }
  writeFileSync(path, Buffer.concat([...contents, Buffer.alloc(files.unit - end)]));
  const before = device.memory().weights.now;
  const file = mapped(files, path, files.unit);
  const weights = parts.map(({ weight, offset }) => file.weight(weight, offset));
  file[Symbol.dispose]();
  for (const [i, { weight, bytes }] of parts.entries()) {
    assert.deepEqual(Buffer.concat([...files.contents(weights[i])]), bytes, weight.format);
    assert.equal(weights[i].bytes, device.packedBytes(weight));
  }
  const vector = weights[parts.findIndex(({ weight }) => weight.format === 'f32')];
  assert.throws(
    () => device.write(vector, new Float32Array(7)),
    (error) => isIngotError(error, 'InvalidArgument'),
  );
  for (const weight of weights) weight[Symbol.dispose]();
  assert.equal(device.memory().weights.now, before);
});

test('what is mapped goes with the last weight in it', { skip: lacks }, async () => {
  await using device = createCpuDevice(system(), { threads: 1 });
  const files = filesOf(device);
  const path = join(folder, 'gone');
  writeFileSync(path, new Uint8Array(files.unit));
  const isMapped = () => readFileSync('/proc/self/maps', 'utf8').includes(path);
  const file = mapped(files, path, files.unit);
  const [one, other] = [0, 64].map((offset) => file.weight({ format: 'f32', shape: [7] }, offset));
  for (const part of [file, one]) {
    part[Symbol.dispose]();
    assert.ok(isMapped());
  }
  other[Symbol.dispose]();
  assert.ok(!isMapped());
});

test('every change of a file has another digest, and a word that is written twice at other places', {
  skip: lacks,
}, async () => {
  await using device = createCpuDevice(system(), { threads: 3 });
  const files = filesOf(device);
  // More than a launch has.
  const length = 35 * files.unit;
  const bytes = randomBytes(length, 3);
  const path = join(folder, 'file');
  writeFileSync(path, bytes);
  const digest = async () => {
    using file = mapped(files, path, length);
    return file.digest();
  };
  const own = await digest();
  assert.equal(await digest(), own);
  const seen = new Set([own]);
  const written = openSync(path, 'r+');
  const write = async (at: number, changed: Uint8Array) => {
    writeSync(written, changed, 0, changed.length, at);
    seen.add(await digest());
    writeSync(written, bytes, at, changed.length, at);
  };
  const places = [0, 31, 32, files.unit - 1, files.unit, 7 * files.unit + 12_345, length - 1];
  for (const at of places) for (const bit of [0, 7]) await write(at, Uint8Array.of(bytes[at] ^ (1 << bit)));
  // A block that was never written, and two lines in each other's place.
  await write(4096, new Uint8Array(4096));
  await write(8192, Buffer.concat([bytes.subarray(8192 + 256, 8192 + 512), bytes.subarray(8192, 8192 + 256)]));
  assert.equal(seen.size, 1 + 2 * places.length + 2);
  assert.equal(await digest(), own);
  closeSync(written);
  using file = mapped(files, path, length);
  await assert.rejects(file.digest(AbortSignal.abort()), (error) => isIngotError(error, 'Aborted'));
  assert.equal(await file.digest(), own);
});
