/** Parts of stored tensors against the same parts of what is stored, and what is read for them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ByteSource, memoryBytes } from '../../src/base/bytes.ts';
import { isIngotError } from '../../src/base/errors.ts';
import { sliceTensor } from '../../src/formats/slice-tensor.ts';
import { generator, integer } from './composites-harness.ts';

const all = (size: number) => [{ start: 0, limit: size }];

test('parts along any dimensions, read in any pieces', async () => {
  const random = generator(7);
  for (let round = 0; round < 60; round++) {
    const shape = [1 + integer(random, 4), 1 + integer(random, 9), 1 + integer(random, 6)];
    const values = new Uint16Array(shape.reduce((a, b) => a * b)).map((_, i) => i);
    const stored = { name: 'w', format: 'f16', shape, bytes: memoryBytes(new Uint8Array(values.buffer)) };
    const ranges = shape.map((size) => {
      if (integer(random, 3) === 0) return undefined;
      const cut = integer(random, size);
      const end = cut + 1 + integer(random, size - cut);
      return cut > 1
        ? [
            { start: 0, limit: 1 },
            { start: cut, limit: end },
          ]
        : [{ start: cut, limit: end }];
    });
    const expected: number[] = [];
    const visit = (d: number, at: number) => {
      if (d === shape.length) expected.push(at);
      else
        for (const { start, limit } of ranges[d] ?? all(shape[d]))
          for (let i = start; i < limit; i++) visit(d + 1, at * shape[d] + i);
    };
    visit(0, 0);
    const part = sliceTensor(stored, ranges);
    assert.equal(
      part.shape.reduce((a, b) => a * b),
      expected.length,
    );
    assert.equal(part.bytes.length, 2 * expected.length);
    const read = new Uint8Array(part.bytes.length);
    for (let at = 0; at < read.length; ) {
      const count = Math.min(1 + integer(random, 7), read.length - at);
      read.set(await part.bytes.read(at, count), at);
      at += count;
    }
    assert.deepEqual([...new Uint16Array(read.buffer)], expected);
    assert.deepEqual([...new Uint16Array((await part.bytes.read(0, part.bytes.length)).buffer)], expected);
  }
});

test('columns in whole blocks; nothing that lies far away is read', async () => {
  const [rows, columns] = [3, 64 * 65536];
  let most = 0;
  const source: ByteSource = {
    name: 'w',
    length: (rows * columns * 34) / 32,
    read: async (_, length) => {
      most += length;
      return new Uint8Array(length);
    },
  };
  const stored = { name: 'w', format: 'q8_0', shape: [rows, columns], bytes: source };
  const half = sliceTensor(stored, [undefined, [{ start: 0, limit: columns / 2 }]]);
  await half.bytes.read(0, half.bytes.length);
  assert.equal(most, source.length / 2);
  assert.throws(
    () => sliceTensor(stored, [undefined, [{ start: 0, limit: 48 }]]),
    (error) => isIngotError(error, 'InvalidArgument'),
  );
});
