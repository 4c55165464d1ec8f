import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { StringList } from '../../src/base/string-list.ts';
import type { Metadata, MetadataValue } from '../../src/formats/checkpoint.ts';
import { readGguf } from '../../src/formats/gguf.ts';
import { type GgufType, ggmlTypesById } from '../../src/formats/gguf-types.ts';
import { type GgufContents, layoutGguf } from '../../src/formats/gguf-write.ts';
import { copyTensor } from '../../src/formats/tensor-stream.ts';
import { blockFormats } from '../../src/numerics/quant/formats.ts';
import { bytesOf, concat, ingot, ramp, tensor, text, u32, u64 } from './formats-support.ts';

const read = (bytes: Uint8Array) => readGguf(memoryBytes(bytes, 'test.gguf'));

const everyKind = new Map<string, MetadataValue>([
  ['a.uint8', 200],
  ['a.int8', -3],
  ['a.uint16', 65535],
  ['a.int16', -300],
  ['a.uint32', 4294967295],
  ['a.int32', -5],
  ['a.float32', 10000],
  ['a.bool', true],
  ['a.string', 'grüße \u{1F600}'],
  ['a.uint64', 2n ** 64n - 1n],
  ['a.int64', -9007199254740991],
  ['a.float64', Math.PI],
  ['l.uint8', Uint8Array.of(1, 2, 255)],
  ['l.int8', Int8Array.of(-1, 2)],
  ['l.uint16', Uint16Array.of(1, 65535)],
  ['l.int16', Int16Array.of(-1, 2)],
  ['l.uint32', Uint32Array.of(1, 4294967295)],
  ['l.int32', Int32Array.of(-1, 2)],
  ['l.float32', Float32Array.of(0.5, -2)],
  ['l.float64', Float64Array.of(0.1)],
  ['l.bool', [true, false]],
  ['l.string', ['', 'a', 'a string of more than twenty-four bytes', '\uFEFF', 'é']],
  ['l.uint64', [1, 2n ** 60n]],
  ['l.int64', [-1, -(2n ** 60n)]],
  ['l.empty', []],
  ['l.nested', [Int32Array.of(1), ['x'], []]],
]);
const everyType = new Map<string, GgufType>([
  ...[...everyKind.keys()]
    .filter((key) => key.startsWith('a.'))
    .map((key): [string, GgufType] => [key, key.slice(2) as GgufType]),
  ['l.uint64', { array: 'uint64' }],
  ['l.int64', { array: 'int64' }],
  ['l.empty', { array: 'float32' }],
  ['l.nested', { arrays: [{ array: 'int32' }, { array: 'string' }, { array: 'uint8' }] }],
]);
/** As a file has them: an empty array of floats is one. */
const asRead: Metadata = new Map([
  ...everyKind,
  ['l.empty', new Float32Array(0)],
  ['l.nested', [Int32Array.of(1), ['x'], new Uint8Array(0)]],
]);

const twoTensors = [tensor('first', 'f32', [2, 3], ramp(24)), tensor('second', 'q8_0', [2, 64], ramp(136))];

/** Lists of strings as arrays. */
function plain(metadata: ReadonlyMap<string, MetadataValue>): Map<string, MetadataValue> {
  return new Map(Array.from(metadata, ([key, value]) => [key, plainValue(value)]));
}

function plainValue(value: MetadataValue): MetadataValue {
  if (value instanceof StringList) return [...value];
  return Array.isArray(value) ? value.map(plainValue) : value;
}

test('every kind of metadata value and its type survive writing and reading', async () => {
  const bytes = await bytesOf(layoutGguf({ metadata: everyKind, types: everyType, tensors: [] }));
  const file = await read(bytes);
  assert.deepEqual(plain(file.metadata), asRead);
  for (const [key, type] of everyType) assert.deepEqual(file.metadataTypes.get(key), type, key);
  assert.equal(file.version, 3);
});

test('tensors keep name, format, shape and data, and are aligned', async () => {
  for (const alignment of [32, 8, 256]) {
    const metadata = new Map([['general.alignment', alignment]]);
    const layout = layoutGguf({ metadata, tensors: twoTensors });
    const bytes = await bytesOf(layout);
    assert.equal(bytes.length, layout.length);
    assert.equal(bytes.length % alignment, 0);
    const file = await read(bytes);
    assert.equal(file.alignment, alignment);
    assert.deepEqual([...file.tensors.keys()], ['first', 'second']);
    const second = file.tensors.get('second');
    assert.deepEqual([second?.format, second?.shape, second?.bytes.length], ['q8_0', [2, 64], 136]);
    assert.deepEqual(await second?.bytes.read(0, 136), ramp(136));
    await assert.rejects(async () => second?.bytes.read(100, 37), ingot('InvalidFile', /outside/));
  }
});

test('a file that was read is written again byte for byte', async () => {
  const bytes = await bytesOf(layoutGguf({ metadata: everyKind, types: everyType, tensors: twoTensors }));
  const { metadata, metadataTypes, tensors } = await read(bytes);
  const again = layoutGguf({ metadata, types: metadataTypes, tensors: [...tensors.values()].map(copyTensor) });
  assert.deepEqual(await bytesOf(again), bytes);
});

test('without types, numbers take the first type that holds them', async () => {
  const metadata = new Map<string, MetadataValue>([
    ['small', 1],
    ['negative', -1],
    ['large', 2 ** 40],
    ['least', -(2 ** 40)],
    ['fraction', 0.5],
    ['mixed', [1, -1]],
    ['fractions', [1, 0.5]],
  ]);
  const { metadataTypes } = await read(await bytesOf(layoutGguf({ metadata, tensors: [] })));
  assert.deepEqual(Object.fromEntries(metadataTypes), {
    small: 'uint32',
    negative: 'int32',
    large: 'uint64',
    least: 'int64',
    fraction: 'float32',
    mixed: { array: 'int32' },
    fractions: { array: 'float32' },
  });
});

test('version 2 is read; version 1, later ones and big-endian files are refused by name', async () => {
  const v2 = concat(u32(0x46554747, 2), u64(0, 1), text('k'), u32(4, 7));
  assert.equal((await read(v2)).version, 2);
  for (const [version, message] of [
    [1, /version 1/],
    [4, /version 4/],
    [0x03000000, /big endian/],
  ] as const) {
    const bytes = concat(u32(0x46554747, version), u64(0, 0));
    await assert.rejects(read(bytes), ingot('UnsupportedFile', message, { offset: 4, path: 'test.gguf' }));
  }
});

test('metadata larger than one window is read', async () => {
  const tokens = Array.from({ length: 200_000 }, (_, i) => `token ${i} ${i % 3 === 0 ? 'ünïcode' : ''}`);
  const scores = Float32Array.from(tokens, (_, i) => i);
  const metadata = new Map<string, MetadataValue>([
    ['tokens', tokens],
    ['scores', scores],
    ['long', 'x'.repeat(3 << 20)],
  ]);
  const bytes = await bytesOf(layoutGguf({ metadata, tensors: twoTensors }));
  let largest = 0;
  const source = memoryBytes(bytes);
  const file = await readGguf({
    name: 'big',
    length: source.length,
    read: (offset, length) => {
      largest = Math.max(largest, length);
      return source.read(offset, length);
    },
  });
  assert.deepEqual(plain(file.metadata), metadata);
  assert.deepEqual(await file.tensors.get('first')?.bytes.read(0, 24), ramp(24));
  assert.ok(largest <= 3 << 20, `one read of ${largest} bytes`);
});

test('the header is read without touching tensor data', async () => {
  const tensors = [tensor('big', 'i8', [8 << 20], new Uint8Array(8 << 20))];
  const bytes = await bytesOf(layoutGguf({ metadata: new Map(), tensors }));
  const source = memoryBytes(bytes);
  let last = 0;
  await readGguf({
    ...source,
    read: (offset, length) => {
      last = Math.max(last, offset + length);
      return source.read(offset, length);
    },
  });
  assert.ok(last <= 1 << 20, `read up to ${last}`);
});

/** Metadata pairs, then tensor infos, then 64 bytes of data at an aligned offset. */
function file(pairs: Uint8Array[], infos: Uint8Array[] = [], data = new Uint8Array(64)): Uint8Array {
  const header = concat(u32(0x46554747, 3), u64(infos.length, pairs.length), ...pairs, ...infos);
  const padding = new Uint8Array(infos.length > 0 ? (32 - (header.length % 32)) % 32 : 0);
  return infos.length > 0 ? concat(header, padding, data) : header;
}
/** An f32 tensor unless said otherwise; dims innermost first. */
function info(name: string, dims: (number | bigint)[], offset: number | bigint = 0, type = 0): Uint8Array {
  return concat(text(name), u32(dims.length), u64(...dims), u32(type), u64(offset));
}
const pair = (key: string, type: number, ...value: Uint8Array[]) => concat(text(key), u32(type), ...value);
const bytes = (...values: number[]) => Uint8Array.from(values);
const huge = 2n ** 64n - 1n;

const lies: readonly (readonly [what: string, bytes: Uint8Array, message: RegExp, place?: Record<string, unknown>])[] =
  [
    ['another magic', concat(u32(0x46554748, 3), u64(0, 0)), /does not begin with "GGUF"/, { offset: 0 }],
    ['an empty file', bytes(), /past the end/],
    ['a header cut off', file([]).subarray(0, 20), /past the end/],
    ['more tensors than fit', concat(u32(0x46554747, 3), u64(huge, 0)), /number of tensors/, { offset: 8 }],
    ['more values than fit', concat(u32(0x46554747, 3), u64(0, 1000)), /number of metadata values/, { offset: 16 }],
    ['an empty key', file([pair('', 4, u32(1))]), /a key has 0 bytes/, { offset: 24 }],
    ['a key past the end', file([concat(u64(2n ** 40n), new Uint8Array(20))]), /the length of a key/, { offset: 24 }],
    ['a key of 64 KiB', file([pair('x'.repeat(65536), 4, u32(1))]), /a key has 65536 bytes/],
    ['a key not in UTF-8', file([concat(u64(2), bytes(0xc3, 0x28), u32(4, 1))]), /not valid UTF-8/, { offset: 32 }],
    ['an unknown value type', file([pair('k', 13, u32(1))]), /unknown type 13/, { offset: 33 }],
    ['a value cut off', file([pair('abcd', 12, u32(1))]), /"abcd" needs 8 bytes/],
    ['a bool of 2', file([pair('k', 7, bytes(2))]), /bool of 2/],
    ['a string past the end', file([pair('k', 8, u64(huge), text('x'))]), /length of the value of "k"/],
    ['an array past the end', file([pair('k', 9, u32(4), u64(2n ** 61n), u32(1))]), /length of the value of "k"/],
    ['a string array past the end', file([pair('k', 9, u32(8), u64(3), text('x'), u64(0))]), /length of the value/],
    [
      'a string in an array past the end',
      file([pair('k', 9, u32(8), u64(2), text('x'), u64(99))]),
      /length of a string/,
    ],
    ['an unknown element type', file([pair('k', 9, u32(99), u64(0))]), /elements of the unknown type 99/],
    ['arrays too deep', file([pair('k', 9, ...Array(9).fill(concat(u32(9), u64(1))), u32(4), u64(0))]), /nests arrays/],
    ['a key twice', file([pair('k', 4, u32(1)), pair('k', 4, u32(1))]), /"k" appears twice/, { offset: 41 }],
    ['an alignment of zero', file([pair('general.alignment', 4, u32(0))]), /power of two/],
    ['an alignment of 48', file([pair('general.alignment', 4, u32(48))]), /power of two/],
    ['an alignment of 2^31', file([pair('general.alignment', 4, u32(2 ** 31))]), /power of two/],
    ['an alignment of text', file([pair('general.alignment', 8, text('32'))]), /not a uint32/],
    ['a tensor twice', file([], [info('t', [4]), info('t', [4], 32)]), /same name/, { tensor: 't' }],
    ['a tensor name past the end', file([], [concat(u64(500), new Uint8Array(32))]), /length of the name/],
    ['five dimensions', file([], [info('t', [1, 1, 1, 1, 1])]), /5 dimensions/, { tensor: 't' }],
    ['2^32 - 1 dimensions', file([], [concat(text('t'), u32(2 ** 32 - 1), u64(1, 1))]), /dimensions/, { tensor: 't' }],
    ['a dimension of zero', file([], [info('t', [4, 0])]), /dimension is zero/, { tensor: 't' }],
    ['a shape that overflows', file([], [info('t', [2n ** 32n, 2n ** 32n, 2n ** 32n])]), /too many/, { tensor: 't' }],
    ['rows not of whole blocks', file([], [info('t', [33], 0, 8)]), /blocks of 32/, { tensor: 't' }],
    ['an unknown tensor type', file([], [info('t', [4], 0, 77)]), /unknown tensor type 77/, { tensor: 't' }],
    ['an offset between alignments', file([], [info('t', [4], 8)]), /not a multiple of 32/, { tensor: 't' }],
    ['data past the end', file([], [info('t', [17])]), /past the end of the file/, { tensor: 't' }],
    ['an offset past the end', file([], [info('t', [4], 2n ** 62n)]), /past the end of the file/, { tensor: 't' }],
    ['data that overlaps', file([], [info('a', [12]), info('b', [4], 32)]), /overlaps that of "a"/, { tensor: 'b' }],
    ['data at the same place', file([], [info('a', [4]), info('b', [4])]), /overlaps/],
  ];

for (const [what, contents, message, place] of lies) {
  test(`refused: ${what}`, async () => {
    await assert.rejects(read(contents), ingot('InvalidFile', message, { path: 'test.gguf', ...place }));
  });
}

test('the files that the lies are made from are valid', async () => {
  assert.equal((await read(file([pair('k', 4, u32(1))], [info('a', [8]), info('b', [2, 4], 32)]))).tensors.size, 2);
  assert.deepEqual((await read(file([], [info('scalar', [])]))).tensors.get('scalar')?.shape, []);
});

test('a type that ggml removed is unsupported, not damage', async () => {
  await assert.rejects(read(file([], [info('t', [32], 0, 31)])), ingot('UnsupportedFile', /q4_0_4_4/, { tensor: 't' }));
});

const unwritable: readonly (readonly [what: string, contents: GgufContents, message: RegExp])[] = [
  ['null', { metadata: new Map([['k', null]]), tensors: [] }, /no GGUF type/],
  ['an object', { metadata: new Map([['k', { a: 1 }]]), tensors: [] }, /no GGUF type/],
  ['a mixed array', { metadata: new Map([['k', ['a', 1]]]), tensors: [] }, /no GGUF type/],
  [
    'a number out of its type',
    { metadata: new Map([['k', 256]]), types: new Map([['k', 'uint8']]), tensors: [] },
    /uint8/,
  ],
  [
    'a fraction as integer',
    { metadata: new Map([['k', 0.5]]), types: new Map([['k', 'int32']]), tensors: [] },
    /int32/,
  ],
  ['an unknown format', { metadata: new Map(), tensors: [tensor('t', 'f8_e4m3', [1], ramp(1))] }, /no tensor type/],
  ['a partial block', { metadata: new Map(), tensors: [tensor('t', 'q8_0', [16], ramp(17))] }, /whole blocks/],
  ['a tensor twice', { metadata: new Map(), tensors: [...twoTensors, ...twoTensors] }, /same name/],
  ['an odd alignment', { metadata: new Map([['general.alignment', 3]]), tensors: [] }, /power of two/],
];
for (const [what, contents, message] of unwritable) {
  test(`not written: ${what}`, () => {
    assert.throws(() => layoutGguf(contents), ingot('InvalidArgument', message));
  });
}

test('a tensor that gives too few or too many bytes stops the writing', async () => {
  for (const length of [23, 25]) {
    const layout = layoutGguf({ metadata: new Map(), tensors: [tensor('t', 'f32', [6], ramp(length))] });
    await assert.rejects(bytesOf(layout), ingot('InvalidArgument', /24 bytes/, { tensor: 't' }));
  }
});

test('writing stops between chunks when it is aborted', async () => {
  const layout = layoutGguf({ metadata: new Map(), tensors: twoTensors });
  const controller = new AbortController();
  let writes = 0;
  const sink = {
    write: async () => {
      if (++writes === 2) controller.abort();
    },
  };
  await assert.rejects(layout.writeTo(sink, controller.signal), ingot('Aborted'));
  assert.equal(writes, 2);
});

test('sizes and numbers of tensor types are those of the formats that can be decoded', () => {
  for (const { name, ggmlType, blockSize, blockBytes } of blockFormats) {
    if (ggmlType === undefined) continue;
    assert.deepEqual(ggmlTypesById.get(ggmlType), { id: ggmlType, name, blockSize, blockBytes });
  }
});
