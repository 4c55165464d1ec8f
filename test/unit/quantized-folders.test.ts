/**
 * Hugging Face folders with FP8, AWQ and GPTQ weights: the logits are those of transformers with the weights that the formats' definitions
 * give (goldens/make-quantized.py).
 */
import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import type { StepLimits } from '../../src/composites/step.ts';
import type { Device } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { BlockManager } from '../../src/engine/blocks.ts';
import { Runner } from '../../src/engine/runner.ts';
import type { CachedSequence } from '../../src/engine/sequence.ts';
import type { StoredTensor } from '../../src/formats/checkpoint.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { joinPackedIntegers } from '../../src/formats/packed-integers.ts';
import { openModel } from '../../src/models/architectures.ts';
import { decodeElements } from '../../src/numerics/host-array.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { devices, noCpu } from '../conformance/devices.ts';
import { folderWith, ingot } from './formats-support.ts';
import { quantizedFolders, quantizedFormats } from './quantized-formats.ts';

const limits: StepLimits = {
  maxTokens: 12,
  maxSequences: 1,
  maxRows: 12,
  blockSize: 16,
  blockCount: 1,
  blocksPerSequence: 1,
  maxBias: 1,
};
async function golden(name: string) {
  await using file = await openCheckpoint(join(quantizedFolders, name, 'golden.safetensors'));
  const read = async (tensor: string) => {
    const { bytes } = file.tensors.get(tensor) as StoredTensor;
    return bytes.read(0, bytes.length);
  };
  const ids = Array.from(decodeElements('i32', await read('ids')) as Int32Array);
  return { ids, logits: decodeElements('f32', await read('logits')) as Float32Array };
}

/** The largest difference of a logit from the golden one, as a part of the largest logit. */
async function difference(name: string, device: Device): Promise<number> {
  const { ids, logits: expected } = await golden(name);
  await using checkpoint = await openCheckpoint(join(quantizedFolders, name));
  await using runner = await Runner.load(device, openModel(checkpoint), { limits, kv: 'f32' });
  const blocks = new BlockManager(limits);
  const sequence: CachedSequence = { row: 0, tokens: [...ids], computed: 0, blocks: [] };
  blocks.grow(sequence.blocks, ids.length);
  const logits = await runner.score({ sequence, start: 0, count: ids.length, samples: false });
  assert.equal(logits.length, expected.length);
  const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  return logits.reduce((max, value, i) => Math.max(max, Math.abs(value - expected[i])), 0) / largest;
}

for (const [name, format] of Object.entries(quantizedFormats)) {
  test(`${name}: as ${format}, with the logits of transformers`, async () => {
    await using checkpoint = await openCheckpoint(join(quantizedFolders, name));
    const matrix = checkpoint.tensors.get('model.layers.0.mlp.down_proj.weight');
    assert.deepEqual([matrix?.format, matrix?.shape], [format, [64, 96]]);
    await using device = createReferenceDevice();
    const found = await difference(name, device);
    assert.ok(found <= 1e-5, String(found));
  });
}

test('the cpu device: AWQ and GPTQ up to the rounding of activations, FP8 without any', {
  skip: noCpu ?? false,
}, async () => {
  for (const [name, format] of Object.entries(quantizedFormats)) {
    await using device = devices.cpu();
    const found = await difference(name, device);
    if (format.startsWith('e')) assert.ok(found <= 1e-5, `${name}: ${found}`);
    else assert.ok(found > 0 && found <= 0.03, `${name}: ${found}`);
  }
});

test('every folder of goldens is tested', () => {
  const names = readdirSync(quantizedFolders, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  assert.deepEqual(names.map(({ name }) => name).sort(), Object.keys(quantizedFormats).sort());
});

test('FP8: all bytes mean what torch says', () => {
  const expected: Record<string, string> = JSON.parse(readFileSync(join(quantizedFolders, 'fp8.json'), 'utf8'));
  for (const [name, text] of Object.entries(expected)) {
    const { blockSize, blockBytes, decode } = blockFormat(name);
    const golden = new Float32Array(new Uint8Array(Buffer.from(text, 'base64')).buffer);
    for (const scale of [1, 0.1]) {
      const bytes = new Uint8Array((256 / blockSize) * blockBytes);
      const view = new DataView(bytes.buffer);
      for (let i = 0; i < 256; i++) bytes[Math.floor(i / blockSize) * blockBytes + 4 + (i % blockSize)] = i;
      for (let at = 0; at < bytes.length; at += blockBytes) view.setFloat32(at, scale, true);
      const values = new Float32Array(256);
      decode(bytes, values);
      const scaled = golden.map((value) => Math.fround(value * Math.fround(scale)));
      // Arrays of floats are compared by ===, in which NaN is not itself.
      assert.deepEqual([...values], [...scaled], `${name} * ${scale}`);
    }
  }
});

test('a range of a weight is the same whatever is read before it, and at any offset', async () => {
  for (const name of ['awq', 'gptq-zeros', 'fp8-tiles']) {
    await using checkpoint = await openCheckpoint(join(quantizedFolders, name));
    const { bytes, shape } = checkpoint.tensors.get('model.layers.0.mlp.up_proj.weight') as StoredTensor;
    const [rows] = shape;
    const all = await bytes.read(0, bytes.length);
    assert.equal(all.length, bytes.length);
    for (const [offset, length] of [
      [0, 1],
      [37, 900],
      [bytes.length - 5, 5],
      [0, bytes.length],
      [77, 0],
    ]) {
      assert.deepEqual(await bytes.read(offset, length), all.slice(offset, offset + length));
      // Where it begins decides whether rows are made in place.
      for (const at of [0, 1]) {
        const target = new Uint8Array(length + 2).fill(0xa5);
        await bytes.readInto?.(target.subarray(at, at + length), offset);
        const around = [...target.subarray(0, at), ...target.subarray(at + length)];
        assert.deepEqual(target.slice(at, at + length), all.slice(offset, offset + length));
        assert.ok(around.every((byte) => byte === 0xa5));
      }
    }
    const rowBytes = bytes.length / rows;
    const some = new Uint8Array(3 * rowBytes);
    await bytes.readInto?.(some, 2 * rowBytes);
    assert.deepEqual(some, all.slice(2 * rowBytes, 5 * rowBytes));
    await assert.rejects(bytes.read(1, bytes.length), ingot('InvalidFile', /outside/));
  }
});

/** The folder `name` with other settings. */
async function withSettings(name: string, change: Readonly<Record<string, unknown>>) {
  const copy = await folderWith({});
  cpSync(join(quantizedFolders, name), copy.path, { recursive: true });
  const path = join(copy.path, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...config, quantization_config: { ...config.quantization_config, ...change } }));
  return copy;
}

test('what is not supported, and parts that do not fit, are refused by name', async () => {
  const cases: readonly (readonly [string, Record<string, unknown>, 'UnsupportedFile' | 'InvalidFile', RegExp])[] = [
    ['awq', { quant_method: 'bitsandbytes' }, 'UnsupportedFile', /"bitsandbytes" are not supported/],
    ['awq', { quant_method: undefined }, 'UnsupportedFile', /an unnamed method/],
    ['awq', { version: 'gemv' }, 'UnsupportedFile', /AWQ "gemv"/],
    ['awq', { bits: 3 }, 'UnsupportedFile', /AWQ of 3 bits/],
    ['awq', { group_size: 64 }, 'InvalidFile', /\[96, 64\] in groups of 64 does not go with scales \[3,64\]/],
    ['awq', { group_size: '32' }, 'InvalidFile', /in groups of 96/],
    ['awq', { quant_method: 'gptq' }, 'InvalidFile', /does not go with/],
    ['gptq-sym', { bits: 3 }, 'UnsupportedFile', /GPTQ of 3 bits/],
    ['gptq-sym', { desc_act: true }, 'UnsupportedFile', /reordered columns/],
    ['gptq-8', { sym: false }, 'UnsupportedFile', /8 bits with zeros anywhere/],
    ['fp8-rows', { format: 'pack-quantized' }, 'UnsupportedFile', /compressed-tensors "pack-quantized"/],
    ['fp8-tiles', { weight_block_size: [64, 64] }, 'UnsupportedFile', /its scales are \[2,3\], its shape \[64,96\]/],
    ['fp8-tiles', { weight_block_size: [0, -1] }, 'UnsupportedFile', /its scales are/],
  ];
  for (const [name, change, code, text] of cases) {
    await using copy = await withSettings(name, change);
    await assert.rejects(openCheckpoint(copy.path), ingot(code, text), `${name} ${JSON.stringify(change)}`);
  }
  const part = (name: string, format: string): [string, StoredTensor] => [
    `a.${name}`,
    { name: `a.${name}`, format, shape: [1, 1], bytes: memoryBytes(new Uint8Array(4)) },
  ];
  for (const format of ['bf16', 'f32']) {
    const parts = new Map([part('qweight', 'i32'), part('qzeros', 'i32'), part('scales', format)]);
    const settings = { method: 'gptq', bits: 4, symmetric: true, zeroOffset: 1 } as const;
    assert.throws(() => joinPackedIntegers(parts, settings), ingot('UnsupportedFile', /a\.scales is of (bf16|f32)/));
  }
  // Contents are looked at when they are read.
  await using zeros = await withSettings('gptq-zeros', { sym: true });
  await using checkpoint = await openCheckpoint(zeros.path);
  const { bytes } = checkpoint.tensors.get('model.layers.0.mlp.up_proj.weight') as StoredTensor;
  await assert.rejects(bytes.read(0, bytes.length), ingot('InvalidFile', /not where its settings say/));
});
