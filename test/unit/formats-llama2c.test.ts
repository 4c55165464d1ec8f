import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { readLlama2c } from '../../src/formats/llama2c.ts';
import { concat, ingot } from './formats-support.ts';

const header = { dim: 8, hidden: 12, layers: 2, heads: 2, kvHeads: 1, vocab: 10, length: 6 };

/** A checkpoint whose n-th float is n. */
function checkpoint(changes: Partial<typeof header> = {}, floats?: number): Uint8Array {
  const h = { ...header, ...changes };
  const { dim, hidden, layers, heads, kvHeads, vocab, length } = h;
  const kvDim = (header.dim / header.heads) * header.kvHeads;
  const layer = 2 * header.dim + 2 * header.dim ** 2 + 2 * kvDim * header.dim + 3 * header.hidden * header.dim;
  const angles = header.length * (header.dim / header.heads);
  const classifier = vocab < 0 ? header.vocab * header.dim : 0;
  const count = floats ?? header.vocab * header.dim + header.layers * layer + header.dim + angles + classifier;
  const words = Int32Array.of(dim, hidden, layers, heads, kvHeads, vocab, length);
  return concat(new Uint8Array(words.buffer), new Uint8Array(Float32Array.from({ length: count }, (_, i) => i).buffer));
}
const read = (bytes: Uint8Array) => readLlama2c(memoryBytes(bytes, 'test.bin'));

test('tensors lie where llama2.c has them', async () => {
  const model = await read(checkpoint());
  const expected: readonly (readonly [name: string, shape: number[], first: number])[] = [
    ['token_embd.weight', [10, 8], 0],
    ['blk.0.attn_norm.weight', [8], 80],
    ['blk.1.attn_norm.weight', [8], 88],
    ['blk.0.attn_q.weight', [8, 8], 96],
    ['blk.1.attn_k.weight', [4, 8], 256],
    ['blk.0.attn_v.weight', [4, 8], 288],
    ['blk.1.attn_output.weight', [8, 8], 416],
    ['blk.0.ffn_norm.weight', [8], 480],
    ['blk.0.ffn_gate.weight', [12, 8], 496],
    ['blk.1.ffn_down.weight', [8, 12], 784],
    ['blk.1.ffn_up.weight', [12, 8], 976],
    ['output_norm.weight', [8], 1072],
  ];
  for (const [name, shape, first] of expected) {
    const tensor = model.tensors.get(name);
    assert.ok(tensor, name);
    assert.deepEqual(tensor.shape, shape, name);
    const data = new Float32Array((await tensor.bytes.read(0, tensor.bytes.length)).buffer);
    assert.deepEqual([data[0], data.length], [first, shape.reduce((a, b) => a * b)], name);
  }
  assert.equal(model.tensors.size, 2 + 2 * 9);
  assert.equal(model.metadata.get('shared_classifier'), true);
});

test('a negative vocabulary size means a classifier of its own, after the angles', async () => {
  const model = await read(checkpoint({ vocab: -10 }));
  const output = model.tensors.get('output.weight');
  assert.deepEqual(output?.shape, [10, 8]);
  const data = new Float32Array((await output?.bytes.read(0, 4))?.buffer ?? new ArrayBuffer(0));
  assert.equal(data[0], 1072 + 8 + 24);
  assert.equal(model.metadata.get('vocab_size'), 10);
});

const max = 2 ** 31 - 1;
const lies: readonly (readonly [what: string, bytes: Uint8Array, message: RegExp])[] = [
  ['a cut header', checkpoint().subarray(0, 20), /header of 28 bytes/],
  ['a cut file', checkpoint().subarray(0, -4), /describes \d+ bytes, the file has/],
  ['bytes at the end', concat(checkpoint(), Uint8Array.of(0)), /describes/],
  ['a missing classifier', checkpoint({ vocab: -10 }, 1104), /describes/],
  ['a dimension of zero', checkpoint({ dim: 0 }), /dim is 0/],
  ['a negative size', checkpoint({ length: -6 }), /seq_len is -6/],
  ['no vocabulary', checkpoint({ vocab: 0 }), /vocab_size is 0/],
  ['heads that do not divide', checkpoint({ heads: 3 }), /does not make 3 even heads/],
  ['heads of odd size', checkpoint({ heads: 8 }), /does not make 8 even heads/],
  ['key-value heads that do not divide', checkpoint({ kvHeads: 3 }), /key-value heads/],
  ['layers without end', checkpoint({ layers: max }), /n_layers/],
  ['sizes that overflow', checkpoint({ dim: 2 ** 30, hidden: max, vocab: max, length: max }), /describes/],
];
for (const [what, bytes, message] of lies) {
  test(`refused: ${what}`, async () => {
    await assert.rejects(read(bytes), ingot('InvalidFile', message, { path: 'test.bin' }));
  });
}
