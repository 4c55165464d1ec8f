/** Damaged files: whatever the bytes, a parser ends quickly, with a checkpoint or an IngotError. Seeded. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ByteSource } from '../../src/base/bytes.ts';
import { memoryBytes } from '../../src/base/bytes.ts';
import { IngotError } from '../../src/base/errors.ts';
import type { Checkpoint, MetadataValue } from '../../src/formats/checkpoint.ts';
import { readGguf } from '../../src/formats/gguf.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { layoutSafetensors } from '../../src/formats/safetensors-write.ts';
import { bytesOf, concat, folderWith, ramp, seededRandom, tensor, u64 } from './formats-support.ts';
import { type Json, mutated } from './mutated-json.ts';
import { processorTime } from './processor-time.ts';

const interesting = [0, 1, 4, 8, 9, 0x7f, 0x80, 0xff];
const words = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 12, 32, 0x10000];

/** A few changes of bytes or words, cuts, repeats, or nothing but noise. */
function damage(valid: Uint8Array, headerBytes: number, random: (limit: number) => number): Uint8Array {
  if (random(20) === 0) return Uint8Array.from({ length: random(200) }, () => random(256));
  let bytes = valid.slice();
  for (let changes = 1 + random(3); changes > 0; changes--) {
    const at = random(Math.min(headerBytes, bytes.length - 8));
    switch (random(6)) {
      case 0:
        bytes[at] = random(256);
        break;
      case 1:
        bytes[at] = interesting[random(interesting.length)] ?? 0;
        break;
      case 2:
        new DataView(bytes.buffer).setUint32(at, words[random(words.length)] ?? 0, true);
        break;
      case 3:
        bytes = bytes.slice(0, 16 + random(bytes.length - 16));
        break;
      case 4: {
        const from = random(bytes.length - 8);
        bytes.copyWithin(at, from, from + random(32));
        break;
      }
      case 5:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
        break;
    }
    if (bytes.length <= 16) break;
  }
  return bytes;
}

const values = ['0', '1', '4', '24', '144', '176', '-1', '0.5', '1e400', '9007199254740993', 'null', '[]', '{}', '""'];
const types = ['U8', 'I8', 'BOOL', 'F8_E5M2', 'F16', 'F32', 'F4', 'C64', 'F33'];

/** A safetensors file with one value, type or letter of its header replaced, the length made to fit. */
function damageJson(valid: Uint8Array, random: (limit: number) => number): Uint8Array {
  const end = 8 + Number(new DataView(valid.buffer).getBigUint64(0, true));
  const header = new TextDecoder().decode(valid.subarray(8, end));
  const [pattern, choices] = (
    [
      [/[0-9]+(?=[\],])/g, values],
      [/"[A-Z]+[0-9]+"/g, types.map((type) => `"${type}"`)],
      [/[a-z]/g, ['b', 'norm', '\\u0062', '"']],
    ] as const
  )[random(3)] ?? [/$/g, ['']];
  const places = [...header.matchAll(pattern)];
  const place = places[random(places.length)];
  const at = place?.index ?? 0;
  const changed = header.slice(0, at) + choices[random(choices.length)] + header.slice(at + (place?.[0].length ?? 0));
  const json = new TextEncoder().encode(changed);
  return concat(u64(json.length), json, valid.subarray(end));
}

/** What the checks promised must hold of whatever was accepted. */
async function checkAccepted(model: Checkpoint, length: number): Promise<void> {
  let total = 0;
  for (const { bytes } of model.tensors.values()) {
    total += bytes.length;
    assert.equal((await bytes.read(0, bytes.length)).length, bytes.length);
  }
  assert.ok(total <= length, 'tensors hold more bytes than the file');
}

async function fuzz(
  next: (random: (limit: number) => number) => Uint8Array,
  cases: number,
  parse: (source: ByteSource) => Promise<Checkpoint>,
): Promise<{ accepted: number; refused: number }> {
  const random = seededRandom(20_240_607);
  const count = { accepted: 0, refused: 0 };
  for (let i = 0; i < cases; i++) {
    const bytes = next(random);
    const start = processorTime();
    try {
      await checkAccepted(await parse(memoryBytes(bytes)), bytes.length);
      count.accepted++;
    } catch (error) {
      if (!(error instanceof IngotError)) {
        throw new Error(`case ${i}: ${Buffer.from(bytes).toString('base64')}`, { cause: error });
      }
      count.refused++;
    }
    assert.ok(processorTime() - start < 10_000, `case ${i} took too long`);
  }
  return count;
}

/** Enough of both: else the damage is too small or too great to try the parser. */
function assertBoth({ accepted, refused }: { accepted: number; refused: number }): void {
  assert.ok(accepted > (accepted + refused) / 20 && refused > (accepted + refused) / 5, `${accepted} / ${refused}`);
}

const tensors = [
  tensor('token_embd.weight', 'q4_0', [4, 64], ramp(144)),
  tensor('blk.0.attn_norm.weight', 'f32', [8], ramp(32)),
  tensor('b', 'i8', [2, 3, 4], ramp(24)),
];

test('damaged GGUF files', async () => {
  const metadata = new Map<string, MetadataValue>([
    ['general.architecture', 'llama'],
    ['general.alignment', 32],
    ['llama.block_count', 2],
    ['rope', 0.5],
    ['tokens', ['<s>', 'ä', 'word', '']],
    ['scores', Float32Array.of(1, 2, 3, 4)],
    ['flags', [true, false]],
    ['wide', [1, 2 ** 40]],
    ['nested', [[1, 2], ['x']]],
  ]);
  const valid = await bytesOf(layoutGguf({ metadata, tensors }));
  assertBoth(await fuzz((random) => damage(valid, valid.length - 200, random), 6000, readGguf));
});

test('damaged safetensors files', async () => {
  const plain = tensors.map((t) => (t.format === 'q4_0' ? tensor(t.name, 'u8', [144], ramp(144)) : t));
  const valid = await bytesOf(layoutSafetensors(plain, new Map([['format', 'pt']])));
  // Bytes at random seldom leave valid JSON; changed values get further.
  await fuzz((random) => damage(valid, valid.length - 200, random), 2000, readSafetensors);
  assertBoth(await fuzz((random) => damageJson(valid, random), 4000, readSafetensors));
});

test('a small file cannot ask for much memory', async () => {
  // Counts and lengths that a file of 100 KB could just hold, if each took its least.
  const header = (type: number, unit: number) => {
    const bytes = new Uint8Array(100_000);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, 0x46554747, true);
    view.setUint32(4, 3, true);
    view.setBigUint64(16, 1n, true);
    view.setBigUint64(24, 1n, true);
    bytes[32] = 0x6b;
    view.setUint32(33, 9, true);
    view.setUint32(37, type, true);
    view.setBigUint64(41, BigInt(Math.floor((bytes.length - 49) / unit)), true);
    return bytes;
  };
  let largest = 0;
  for (const [type, unit] of [
    [0, 1],
    [7, 1],
    [8, 8],
    [9, 12],
    [10, 8],
  ] as const) {
    const source = memoryBytes(header(type, unit));
    const model = await readGguf({
      ...source,
      read: (offset, length) => {
        largest = Math.max(largest, length);
        return source.read(offset, length);
      },
    });
    assert.equal(model.metadata.size, 1);
  }
  assert.ok(largest <= 100_000);
});

test('an index of shards with strange values', async () => {
  const shard = async (name: string) => bytesOf(layoutSafetensors([tensor(name, 'u8', [8], ramp(8))]));
  const shards = { 'a.safetensors': await shard('x'), 'b.safetensors': await shard('y') };
  await using folder = await folderWith({ 'config.json': '{}', ...shards });
  const valid = { metadata: { total_size: 16 }, weight_map: { x: 'a.safetensors', y: 'b.safetensors' } };
  const random = seededRandom(33);
  let fine = 0;
  for (let round = 0; round < 300; round++) {
    let json: Json = valid;
    for (let changes = 1 + random(2); changes > 0; changes--) json = mutated(json, random);
    const text = JSON.stringify(json);
    await writeFile(join(folder.path, 'model.safetensors.index.json'), text);
    try {
      await using model = await openCheckpoint(folder.path);
      await checkAccepted(model, 16);
      fine++;
    } catch (error) {
      assert.ok(error instanceof IngotError, `${text}: ${error instanceof Error ? error.stack : String(error)}`);
    }
  }
  assert.ok(fine > 20 && fine < 280, `${fine} of 300 could be opened`);
});
