import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIngotError } from '../../src/base/errors.ts';
import { type BlockFormat, type EncodableFormat, makeIntegerBlock } from '../../src/numerics/quant/format.ts';
import { blockFormat, blockFormats, encodableFormat, encodableFormats } from '../../src/numerics/quant/formats.ts';

interface Golden {
  values: string;
  /** A weight for each of 512 columns. */
  importance: string;
  weighted: Record<string, string>;
  encoded: Record<string, string>;
  /** Infinities, no numbers, and what passes the range of f16. */
  odd: string;
  oddEncoded: Record<string, string>;
  oddWeighted: Record<string, string>;
  decoded: Record<string, { bytes: string; values: string }>;
}
// The fixture is not compiled: from dist/test/unit back to the source tree.
const path = new URL('../../../test/unit/fixtures/quants.json', import.meta.url);
const golden = JSON.parse(readFileSync(path, 'utf8')) as Golden;
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));
const floatsOf = (text: string) => new Float32Array(bytesOf(text).buffer);

function encode(format: EncodableFormat, values: Float32Array, importance?: Float32Array): Uint8Array {
  const bytes = new Uint8Array((values.length / format.blockSize) * format.blockBytes).fill(0xa5);
  format.encode(values, bytes, importance);
  return bytes;
}
function decode(format: BlockFormat, bytes: Uint8Array): Float32Array {
  const values = new Float32Array((bytes.length / format.blockBytes) * format.blockSize);
  format.decode(bytes, values);
  return values;
}

for (const format of encodableFormats.filter(({ name }) => name !== 'f32')) {
  test(`${format.name} encodes to the bytes of ggml`, () => {
    assert.deepEqual(encode(format, floatsOf(golden.values)), bytesOf(golden.encoded[format.name] ?? ''));
  });

  test(`${format.name} encodes to the bytes of ggml with an importance matrix`, () => {
    const expected = golden.weighted[format.name] ?? golden.encoded[format.name] ?? '';
    assert.deepEqual(encode(format, floatsOf(golden.values), floatsOf(golden.importance)), bytesOf(expected));
  });

  test(`${format.name} makes of values that are no numbers, and of extreme ones, what ggml does`, () => {
    const [plain, weighted = plain] = [golden.oddEncoded[format.name], golden.oddWeighted[format.name]];
    assert.deepEqual(encode(format, floatsOf(golden.odd)), bytesOf(plain ?? ''));
    assert.deepEqual(encode(format, floatsOf(golden.odd), floatsOf(golden.importance)), bytesOf(weighted ?? ''));
  });
}

for (const format of blockFormats.filter(({ name, ggmlType }) => name !== 'f32' && ggmlType !== undefined)) {
  const { name, blockSize, blockBytes, integers, integerSize = blockSize } = format;
  const { bytes, values } = golden.decoded[name] ?? { bytes: '', values: '' };

  test(`${name} decodes to the bits of ggml`, () => {
    const bits = (array: Float32Array) => new Uint32Array(array.buffer);
    const expected = floatsOf(values);
    assert.ok(expected.length >= 2);
    assert.deepEqual(bits(decode(format, bytesOf(bytes))), bits(expected));
  });

  if (integers === undefined) continue;
  test(`${name} read as integers is what it decodes to`, () => {
    const data = bytesOf(bytes);
    const decoded = decode(format, data);
    const block = makeIntegerBlock(integerSize);
    const parts = blockSize / integerSize;
    for (let b = 0; b < (data.length / blockBytes) * parts; b++) {
      integers(data, Math.floor(b / parts) * blockBytes, block, b % parts);
      for (let k = 0; k < integerSize; k++) {
        const product = block.scale * (block.weights[k] as number);
        const minimum = block.minScale * (block.minima[k] as number);
        const slack = 2 ** -22 * (Math.abs(product) + Math.abs(minimum));
        assert.ok(Math.abs(product - minimum - (decoded[b * integerSize + k] as number)) <= slack);
      }
    }
  });
}

test('all but floats are read as integers', () => {
  const plain = blockFormats.filter(({ integers }) => integers === undefined);
  assert.deepEqual(
    plain.map(({ name }) => name),
    ['f32', 'f16', 'bf16', 'e4m3_32', 'e5m2_32'],
  );
});

test('f32, f16 and bf16 give back what they can represent', () => {
  const values = Float32Array.from({ length: 512 }, (_, i) => (i - 256) / 8);
  for (const name of ['f32', 'f16'])
    assert.deepEqual(decode(blockFormat(name), encode(encodableFormat(name), values)), values);
  const short = values.map((value) => Math.trunc(value));
  assert.deepEqual(decode(blockFormat('bf16'), encode(encodableFormat('bf16'), short)), short);
});

/** Relative root mean square error on normally distributed weights. */
const expectedRms = { q8_0: 0.0055, q4_0: 0.09, q4_K: 0.075, q6_K: 0.018 };

for (const [name, limit] of Object.entries(expectedRms)) {
  test(`${name} keeps normal weights within ${limit} RMS, and a decoded block encodes closely again`, () => {
    const values = normals(64 * 256, 7);
    const format = encodableFormat(name);
    const decoded = decode(format, encode(format, values));
    const error = relativeRms(decoded, values);
    assert.ok(error < limit && error > limit / 2, `${error}`);
    assert.ok(relativeRms(decode(format, encode(format, decoded)), decoded) < limit);
  });
}

test('any finite block encodes, at any place, to finite values near it', () => {
  const block = fc.array(fc.float({ min: -1024, max: 1024, noNaN: true }), { minLength: 256, maxLength: 256 });
  fc.assert(
    fc.property(block, fc.constantFrom(...encodableFormats), (list, format) => {
      const values = Float32Array.from(list);
      const largest = Math.max(...list.map(Math.abs));
      const share = (8 * format.blockBytes) / format.blockSize < 4 ? 1 : 0.25;
      const decoded = decode(format, encode(format, values));
      for (let k = 0; k < 256; k++) {
        assert.ok(Math.abs((decoded[k] as number) - (values[k] as number)) <= share * largest + 2 ** -20);
      }
      const twice = new Float32Array(512);
      twice.set(values, 256);
      const both = encode(format, twice);
      assert.deepEqual(both.subarray(both.length / 2), encode(format, values));
    }),
    { seed: 3, numRuns: 60 },
  );
});

test('formats are found by name; others are refused with the list', () => {
  for (const format of blockFormats) assert.equal(blockFormat(format.name), format);
  const refused = (error: unknown) => isIngotError(error, 'UnsupportedFile') && /q6_K/.test(error.hint ?? '');
  assert.throws(() => blockFormat('q9_9'), refused);
  assert.throws(() => blockFormat('constructor'), refused);
});

function relativeRms(values: Float32Array, reference: Float32Array): number {
  let error = 0;
  let total = 0;
  for (let i = 0; i < values.length; i++) {
    error += ((values[i] as number) - (reference[i] as number)) ** 2;
    total += (reference[i] as number) ** 2;
  }
  return Math.sqrt(error / total);
}

/** Normal values by Box and Muller from a fixed linear congruential sequence. */
function normals(count: number, seed: number): Float32Array {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}
