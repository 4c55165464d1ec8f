/** Importance matrices of both kinds of file, and files that are none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { memoryBytes } from '../../src/base/bytes.ts';
import { isIngotError } from '../../src/base/errors.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { readImportanceMatrix } from '../../src/formats/importance-matrix.ts';
import { concat } from './formats-support.ts';

const bytesOf = (values: readonly number[]) => new Uint8Array(Float32Array.from(values).buffer);
const int = (value: number) => new Uint8Array(Int32Array.of(value).buffer);
const text = (value: string) => concat(int(value.length), new TextEncoder().encode(value));

async function gguf(tensors: Record<string, { shape: number[]; values: number[] }>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const layout = layoutGguf({
    metadata: new Map([['general.type', 'imatrix']]),
    tensors: Object.entries(tensors).map(([name, { shape, values }]) => ({
      name,
      format: 'f32',
      shape,
      chunks: () => [bytesOf(values)],
    })),
  });
  await layout.writeTo({ write: async (bytes) => void chunks.push(bytes.slice()) });
  return concat(...chunks);
}

const refused = (says: RegExp) => (error: unknown) => isIngotError(error, 'InvalidFile') && says.test(error.message);

test('sums are divided by counts, for each expert; one without any has no preference', async () => {
  const file = await gguf({
    'a.in_sum2': { shape: [1, 2], values: [6, 9] },
    'a.counts': { shape: [1, 1], values: [3] },
    'b.in_sum2': { shape: [2, 2], values: [4, 8, 5, 5] },
    'b.counts': { shape: [2, 1], values: [4, 0] },
  });
  const matrix = await readImportanceMatrix(memoryBytes(file));
  assert.deepEqual([...(matrix.get('a') ?? [])], [2, 3]);
  assert.deepEqual([...(matrix.get('b') ?? [])], [1, 2, 1, 1]);
});

test('older files are read too', async () => {
  const file = concat(int(2), text('a'), int(2), int(2), bytesOf([6, 9]), text('b'), int(0), int(1), bytesOf([5]));
  const matrix = await readImportanceMatrix(memoryBytes(file));
  assert.deepEqual([...(matrix.get('a') ?? [])], [3, 4.5]);
  assert.deepEqual([...(matrix.get('b') ?? [])], [5]);
});

test('what is none is refused', async () => {
  const read = (bytes: Uint8Array) => readImportanceMatrix(memoryBytes(bytes, 'file'));
  await assert.rejects(read(new Uint8Array()), refused(/ends too early/));
  await assert.rejects(read(int(0)), refused(/no entries/));
  await assert.rejects(read(concat(int(1), text('a'), int(1), int(2 ** 30))), refused(/ends too early/));
  await assert.rejects(read(concat(int(1), text('a'), int(1), int(-1))), refused(/ends too early/));
  await assert.rejects(read(concat(int(1), text('a'), int(1), int(1), bytesOf([NaN]))), refused(/not finite/));
  await assert.rejects(read(await gguf({ 'a.in_sum2': { shape: [2], values: [1, 2] } })), refused(/no counts for a/));
  await assert.rejects(read(await gguf({ a: { shape: [2], values: [1, 2] } })), refused(/no entries/));
});

test('no bytes make it throw anything but its own refusals', async () => {
  const any = fc.array(fc.oneof(fc.integer({ min: -4, max: 40 }), fc.integer()), { maxLength: 24 });
  await fc.assert(
    fc.asyncProperty(any, async (integers) => {
      try {
        await readImportanceMatrix(memoryBytes(new Uint8Array(Int32Array.from(integers).buffer)));
      } catch (error) {
        assert.ok(isIngotError(error), String(error));
      }
    }),
    { seed: 7, numRuns: 300 },
  );
});
