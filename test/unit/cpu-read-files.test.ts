/** Weights that the team reads from files itself: the panels of packing, files that shrink or change, work that is given up. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ByteSource, memoryBytes, sliceBytes } from '../../src/base/bytes.ts';
import { IngotError, isIngotError } from '../../src/base/errors.ts';
import { packedBytes, packedFormats } from '../../src/devices/cpu/kernels/packing.ts';
import { WeightReader } from '../../src/devices/cpu/read-weights.ts';
import { targets } from '../../src/devices/cpu/target.ts';
import { createTeam } from '../../src/devices/cpu/team.ts';
import { openFile } from '../../src/formats/file-node.ts';
import { sliceTensor } from '../../src/formats/slice-tensor.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { skip } from './cpu-emit-harness.ts';
import { system } from './machine.ts';
import { packed } from './native-kernel.ts';

/** Tests that a JavaScript reader would pass too say nothing. */
const lacks = skip || (system().read === undefined && 'machine code reads no files on this system');

/** Different everywhere, and no number that is none. */
const pattern = (length: number) => Uint8Array.from({ length }, (_, i) => (Math.imul(i, 2654435761) >>> 24) & 0x3f);

/** Bytes in a file, behind others. */
async function withFile(
  bytes: Uint8Array,
  use: (source: ByteSource, path: string, reader: WeightReader) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-read-'));
  try {
    const path = join(folder, 'weights');
    writeFileSync(path, Buffer.concat([Buffer.alloc(101, 0xff), bytes]));
    await using file = await openFile(path);
    using team = createTeam(system(), { threads: 2 });
    using reader = new WeightReader(system(), team, targets.avx2, () => {});
    const source = sliceBytes(file, 101, bytes.length);
    // Nothing else may read it.
    const never = () => assert.fail('JavaScript reads the file');
    await use({ ...source, read: never, readInto: never }, path, reader);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

for (const format of packedFormats) {
  test(`read: ${format} from a file has the panels of packing`, { skip: lacks }, async () => {
    const { blockSize, blockBytes } = blockFormat(format);
    const K = 2 * blockSize * Math.ceil(64 / blockSize);
    const rowBytes = (K / blockSize) * blockBytes;
    // Three slices and a part of a panel.
    const N = 16 * Math.ceil((3 * 262_144) / 16 / rowBytes) + 5;
    const weight = pattern(N * rowBytes);
    await withFile(weight, async (bytes, _, reader) => {
      using out = system().mapMemory(packedBytes(format, [N, K]));
      await reader.pack({ name: 'w', format, shape: [N, K], bytes }, format, out);
      assert.equal(Buffer.compare(out.bytes(), packed(format, weight, [N, K])), 0);
    });
  });
}

test('read: columns of a matrix and of a stack of them, and a part of a panel, as JavaScript cuts them', {
  skip: lacks,
}, async () => {
  const [stack, rows, columns] = [2, 1013, 2048];
  const weight = pattern((stack * rows * columns * 34) / 32);
  await withFile(weight, async (bytes, _, reader) => {
    const all = { name: 'w', format: 'q8_0', shape: [stack * rows, columns] };
    const half = [undefined, [{ start: 1024, limit: columns }]];
    const matrix = { ...all, shape: [rows, columns], bytes: sliceBytes(bytes, 0, bytes.length / stack) };
    for (const [part, ranges, before] of [
      [{ ...all, bytes }, half, 0],
      [{ ...all, bytes }, [[{ start: 5, limit: 405 }], [{ start: 32, limit: 96 }]], 5],
      [matrix, half, 0],
    ] as const) {
      const cut = sliceTensor(part, ranges);
      using out = system().mapMemory(packedBytes('q8_0', cut.shape));
      await reader.pack(cut, 'q8_0', out);
      const inMemory = await sliceTensor({ ...part, bytes: memoryBytes(weight) }, ranges).bytes.read(
        0,
        cut.bytes.length,
      );
      assert.equal(
        Buffer.compare(out.bytes(), packed('q8_0', inMemory, [cut.shape[0], cut.shape[1]])),
        0,
        `from row ${before}`,
      );
    }
  });
});

test('read: many at once, stacks of matrices, and others that JavaScript reads between them', {
  skip: lacks,
}, async () => {
  const shape = [1013, 2048] as const;
  const length = shape[0] * (shape[1] / 32) * 34;
  const all = pattern(3 * length);
  const weight = (bytes: ByteSource, ...dims: readonly number[]) => ({ name: 'w', format: 'q8_0', shape: dims, bytes });
  await withFile(all, async (bytes, _, reader) => {
    using stack = system().mapMemory(packedBytes('q8_0', [3, ...shape]));
    const alone = Array.from({ length: 24 }, () => system().mapMemory(packedBytes('q8_0', shape)));
    await Promise.all([
      reader.pack(weight(bytes, 3, ...shape), 'q8_0', stack),
      ...alone.map((out, i) => {
        const source = sliceBytes(i % 2 === 0 ? bytes : memoryBytes(all), (i % 3) * length, length);
        return reader.pack(weight(source, ...shape), 'q8_0', out);
      }),
    ]);
    for (const [i, out] of alone.entries()) {
      const panels = packed('q8_0', all.subarray((i % 3) * length, ((i % 3) + 1) * length), shape);
      assert.equal(Buffer.compare(out.bytes(), panels), 0);
      assert.equal(Buffer.compare(stack.bytes((i % 3) * panels.length, panels.length), panels), 0);
      out[Symbol.dispose]();
    }
  });
});

test('read: a file that shrinks, or is written to, is an error; another weight is read after it', {
  skip: lacks,
}, async () => {
  const shape = [4096, 1024] as const;
  const weight = pattern(4 * shape[0] * shape[1]);
  await withFile(weight, async (bytes, path, reader) => {
    using out = system().mapMemory(packedBytes('f32', shape));
    const read = (source: ByteSource) => reader.pack({ name: 'w', format: 'f32', shape, bytes: source }, 'f32', out);
    await read(bytes);
    utimesSync(path, 1, 1);
    await assert.rejects(
      read(bytes),
      (error) => isIngotError(error, 'FileChanged') && /written to/.test(error.message),
    );
    truncateSync(path, 1000);
    await assert.rejects(read(bytes), (error) => isIngotError(error, 'FileChanged'));
    // What is not noticed otherwise the kernel says.
    assert.ok(bytes.file);
    const blind = { ...bytes, file: { ...bytes.file, check: async () => {} } };
    await assert.rejects(
      read(blind),
      (error) => isIngotError(error, 'FileAccess') && /ended early/.test(error.message),
    );
    const closed = { ...bytes, file: { ...blind.file, descriptor: 99_999 } };
    await assert.rejects(read(closed), (error) => isIngotError(error, 'FileAccess') && /error 9/.test(error.message));
  });
  await withFile(weight, async (bytes, _, reader) => {
    using out = system().mapMemory(packedBytes('f32', shape));
    assert.ok(bytes.file);
    // Read together: what is given up for another hears why.
    const closed = { ...bytes, file: { ...bytes.file, descriptor: 99_999 } };
    const both = [bytes, closed].map((source) =>
      reader.pack({ name: 'w', format: 'f32', shape, bytes: source }, 'f32', out),
    );
    for (const outcome of await Promise.allSettled(both)) {
      if (outcome.status === 'rejected') assert.ok(isIngotError(outcome.reason, 'FileAccess'), `${outcome.reason}`);
    }
    await assert.rejects(both[1]);
  });
  await withFile(weight, async (bytes, _, reader) => {
    using out = system().mapMemory(packedBytes('f32', shape));
    assert.ok(bytes.file);
    const { file } = bytes;
    let checks = 0;
    const check = async () => {
      if (checks++ === 0) throw new IngotError('Aborted', 'enough');
    };
    const left = Array.from({ length: 60 }, () =>
      reader.pack({ name: 'w', format: 'f32', shape, bytes: { ...bytes, file: { ...file, check } } }, 'f32', out),
    );
    const outcomes = await Promise.allSettled(left);
    const given = outcomes.filter((each) => each.status === 'rejected' && isIngotError(each.reason, 'Aborted'));
    assert.ok(given.length > 1, 'what waits is given up with the first');
    await reader.pack({ name: 'w', format: 'f32', shape, bytes }, 'f32', out);
    assert.equal(Buffer.compare(out.bytes(), packed('f32', weight, shape)), 0);
  });
});
