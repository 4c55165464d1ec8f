import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { openHuggingFaceFolder } from '../../src/formats/huggingface-node.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { layoutSafetensors } from '../../src/formats/safetensors-write.ts';
import { bytesOf, concat, folderWith, ingot, ramp, tensor, u64 } from './formats-support.ts';

const read = (bytes: Uint8Array) => readSafetensors(memoryBytes(bytes, 'test.safetensors'));

/** A header as given, and this much data. */
function file(header: unknown, dataBytes = 16): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  return concat(u64(json.length), json, ramp(dataBytes));
}
const f32 = (shape: unknown, begin: unknown, end: unknown) => ({ dtype: 'F32', shape, data_offsets: [begin, end] });

test('tensors of every element type, scalars and empty ones survive writing and reading', async () => {
  const formats = 'bool u8 i8 f8_e5m2 f8_e4m3 i16 u16 f16 bf16 i32 u32 f32 f64 i64 u64'.split(' ');
  const bits = [8, 8, 8, 8, 8, 16, 16, 16, 16, 32, 32, 32, 64, 64, 64];
  const tensors = formats.map((format, i) => tensor(`t.${format}`, format, [3, 2], ramp(((bits[i] ?? 0) * 6) / 8)));
  tensors.push(tensor('scalar', 'f32', [], ramp(4)), tensor('empty', 'f32', [0, 5], ramp(0)));
  const layout = layoutSafetensors(tensors, new Map([['format', 'pt']]));
  const bytes = await bytesOf(layout);
  assert.equal(bytes.length, layout.length);
  const found = await read(bytes);
  assert.deepEqual(new Map(found.metadata), new Map([['format', 'pt']]));
  assert.equal(found.tensors.size, tensors.length);
  for (const [i, { name, format, shape }] of tensors.entries()) {
    const stored = found.tensors.get(name);
    assert.deepEqual([stored?.format, stored?.shape], [format, shape]);
    if (i < bits.length)
      assert.deepEqual(await stored?.bytes.read(0, stored.bytes.length), ramp(((bits[i] ?? 0) * 6) / 8));
  }
});

test('formats that safetensors lacks are not written', () => {
  const t = tensor('t', 'q8_0', [32], ramp(34));
  assert.throws(() => layoutSafetensors([t]), ingot('InvalidArgument', /q8_0/, { tensor: 't' }));
});

const tensorLies: readonly (readonly [what: string, entry: unknown, message: RegExp])[] = [
  ['a description that is text', 'F32', /not an object/],
  ['an unknown dtype', { ...f32([4], 0, 16), dtype: 'F33' }, /unknown dtype "F33"/],
  ['a dtype of an object property', { ...f32([4], 0, 16), dtype: 'constructor' }, /unknown dtype/],
  ['no shape', { dtype: 'F32', data_offsets: [0, 16] }, /shape/],
  ['a negative size', f32([-4], 0, 16), /shape/],
  ['a fractional size', f32([4.5], 0, 18), /shape/],
  ['a shape that overflows', f32([2 ** 40, 2 ** 40], 0, 16), /too many elements/],
  ['an overflow hidden by a zero', f32([2 ** 40, 2 ** 40, 0], 0, 0), /too many elements/],
  ['one offset', { dtype: 'F32', shape: [4], data_offsets: [0] }, /data_offsets/],
  ['offsets reversed', f32([4], 16, 0), /data_offsets/],
  ['less data than the shape', f32([4], 0, 12), /\[4\] of F32 are 16 bytes, its data 12/],
  ['data past the end', f32([8], 0, 32), /ends at 32 of 16/],
  ['a hole at the start', f32([3], 4, 16), /hole of 4 bytes/],
];
for (const [what, entry, message] of tensorLies) {
  test(`refused: ${what}`, async () => {
    await assert.rejects(read(file({ t: entry })), ingot('InvalidFile', message, { tensor: 't' }));
  });
}

const lies: readonly (readonly [what: string, bytes: Uint8Array, message: RegExp])[] = [
  ['a file of four bytes', ramp(4), /too short/],
  ['a header longer than the file', concat(u64(100), ramp(50)), /header of 100 bytes in a file of 58/],
  ['a header of 2^64 - 1 bytes', concat(u64(2n ** 64n - 1n), ramp(50)), /header of/],
  ['an array for a header', file('[]'), /not an object/],
  ['three million nested arrays', file(`{"a":${'['.repeat(3e6)}`), /arrays and objects/],
  ['broken JSON', file('{"t": '), /not valid JSON/],
  ['a header not in UTF-8', concat(u64(4), Uint8Array.of(0x7b, 0xff, 0xff, 0x7d)), /not valid UTF-8/],
  [
    'a tensor twice',
    file(`{"t": ${JSON.stringify(f32([4], 0, 16))}, "\\u0074": ${JSON.stringify(f32([4], 0, 16))}}`),
    /"t" appears twice/,
  ],
  [
    'a field twice',
    file('{"t": {"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
    /"dtype" appears twice/,
  ],
  ['tensors that overlap', file({ a: f32([3], 0, 12), b: f32([2], 8, 16) }), /overlaps/],
  ['the same data twice', file({ a: f32([4], 0, 16), b: f32([4], 0, 16) }), /overlaps/],
  ['a hole between tensors', file({ a: f32([1], 0, 4), b: f32([2], 8, 16) }), /hole of 4 bytes/],
  ['bytes after the last tensor', file({ a: f32([2], 0, 8) }), /8 bytes after the last tensor/],
  ['metadata that is not text', file({ __metadata__: { a: 1 }, t: f32([4], 0, 16) }), /"a", which is not text/],
  ['metadata that is no object', file({ __metadata__: 'pt', t: f32([4], 0, 16) }), /__metadata__ is not an object/],
];
for (const [what, contents, message] of lies) {
  test(`refused: ${what}`, async () => {
    await assert.rejects(read(contents), ingot('InvalidFile', message, { path: 'test.safetensors' }));
  });
}

test('keys that look like others inside text are not duplicates', async () => {
  const header = `{"__metadata__": {"a": "\\"t\\": {", "t": "\\\\"}, "t": ${JSON.stringify(f32([4], 0, 16))} }  `;
  assert.equal((await read(file(header))).tensors.size, 1);
});

const shard = async (...names: string[]) =>
  bytesOf(layoutSafetensors(names.map((name) => tensor(name, 'f32', [2], ramp(8)))));
const index = (map: unknown) => JSON.stringify({ metadata: { total_size: 16 }, weight_map: map });
const goodMap = { a: 'model-1.safetensors', b: 'model-2.safetensors' };

test('a folder with a single file: configuration, tensors and companions', async () => {
  await using folder = await folderWith({
    'config.json': '{"model_type": "llama", "rope_scaling": {"factor": 8.0}, "eos_token_id": [1, 2]}',
    'model.safetensors': await shard('a', 'b'),
    'tokenizer.json': '{}',
    'README.md': 'not a companion',
  });
  await using model = await openCheckpoint(folder.path);
  assert.equal(model.kind, 'huggingface');
  assert.deepEqual(model.metadata.get('rope_scaling'), { factor: 8 });
  assert.deepEqual([...model.tensors.keys()], ['a', 'b']);
  assert.deepEqual([...model.companions.keys()], ['tokenizer.json']);
  assert.deepEqual(await model.tensors.get('b')?.bytes.read(0, 8), ramp(8));
});

test('a folder with shards: each tensor comes from its own', async () => {
  await using folder = await folderWith({
    'config.json': '{}',
    'model.safetensors.index.json': index(goodMap),
    'model-1.safetensors': await shard('a'),
    'model-2.safetensors': await shard('b'),
  });
  await using model = await openHuggingFaceFolder(folder.path);
  assert.deepEqual([...model.tensors.keys()], ['a', 'b']);
  assert.equal(model.tensors.get('b')?.bytes.name, join(folder.path, 'model-2.safetensors'));
});

const badFolders: readonly (readonly [what: string, files: Record<string, unknown>, code: string, message: RegExp])[] =
  [
    ['an empty folder', {}, 'FileNotFound', /is empty/],
    ['a folder without a model', { 'notes.txt': '' }, 'UnsupportedFile', /no config.json/],
    ['a configuration that is not JSON', { 'config.json': '{"a"' }, 'InvalidFile', /not valid JSON/],
    ['a configuration that is a list', { 'config.json': '[]' }, 'InvalidFile', /not an object/],
    ['a configuration alone', { 'config.json': '{}' }, 'FileNotFound', /no weights/],
    ['PyTorch weights', { 'config.json': '{}', 'pytorch_model.bin': 'PK' }, 'UnsupportedFile', /pytorch_model.bin/],
    [
      'a shard without index',
      { 'config.json': '{}', 'model-1.safetensors': '' },
      'FileNotFound',
      /has model-1.safetensors/,
    ],
    [
      'half of the shards',
      { ...withIndex(goodMap), 'model-1.safetensors': '' },
      'FileNotFound',
      /1 of 2 shards are missing: model-2/,
    ],
    [
      'an index without map',
      { 'config.json': '{}', 'model.safetensors.index.json': '{}' },
      'InvalidFile',
      /weight_map/,
    ],
    ['a shard outside the folder', withIndex({ a: '../model.safetensors' }), 'InvalidFile', /not the name of a/],
    ['a shard by absolute path', withIndex({ a: '/etc/model.safetensors' }), 'InvalidFile', /not the name of a/],
    ['a shard by backslash', withIndex({ a: '..\\m.safetensors' }), 'InvalidFile', /not the name of a/],
    ['a shard that is a number', withIndex({ a: 1 }), 'InvalidFile', /not the name of a/],
    [
      'a tensor listed twice',
      {
        'config.json': '{}',
        'model.safetensors.index.json': '{"weight_map":{"a":"m.safetensors","a":"n.safetensors"}}',
      },
      'InvalidFile',
      /"a" appears twice/,
    ],
    ['an empty shard', { ...withIndex({ a: 'm.safetensors' }), 'm.safetensors': '' }, 'InvalidFile', /too short/],
  ];
function withIndex(map: unknown) {
  return { 'config.json': '{}', 'model.safetensors.index.json': index(map) };
}
for (const [what, files, code, message] of badFolders) {
  test(`refused: ${what}`, async () => {
    await using folder = await folderWith(Object.fromEntries(Object.entries(files).map(([k, v]) => [k, String(v)])));
    await assert.rejects(openCheckpoint(folder.path), ingot(code, message));
  });
}

test('refused: a tensor that is not in the shard where the index has it', async () => {
  await using folder = await folderWith({
    ...withIndex({ a: 'm.safetensors', b: 'm.safetensors' }),
    'm.safetensors': await shard('a'),
  });
  await assert.rejects(openCheckpoint(folder.path), ingot('InvalidFile', /not in m.safetensors/, { tensor: 'b' }));
});

test('a folder with a GGUF file says which file to give', async () => {
  await using folder = await folderWith({ 'model.gguf': 'GGUF' });
  await assert.rejects(openCheckpoint(folder.path), { hint: `give the file: ${join(folder.path, 'model.gguf')}` });
});
