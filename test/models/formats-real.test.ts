/** Files that this project did not write. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { StringList } from '../../src/base/string-list.ts';
import { readGguf } from '../../src/formats/gguf.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';

const data = process.env.INGOT_TEST_DATA;
const skip = data === undefined ? 'INGOT_TEST_DATA is not set' : false;
const vocabularies = join(data ?? '', 'tokenizers', 'ggml-vocab');

test('stories260K: the header, and the weights to the last', { skip }, async () => {
  await using model = await openCheckpoint(join(data ?? '', 'models', 'stories260K', 'stories260K.bin'));
  assert.equal(model.kind, 'llama2c');
  assert.deepEqual(Object.fromEntries(model.metadata), {
    dim: 64,
    hidden_dim: 172,
    n_layers: 5,
    n_heads: 8,
    n_kv_heads: 4,
    vocab_size: 512,
    seq_len: 512,
    shared_classifier: true,
  });
  assert.equal(model.tensors.size, 2 + 5 * 9);
  assert.deepEqual(model.tensors.get('blk.4.attn_k.weight')?.shape, [32, 64]);
  const norm = model.tensors.get('output_norm.weight');
  const gains = new Float32Array((await norm?.bytes.read(0, 256))?.buffer ?? new ArrayBuffer(0));
  // The gains of a trained final norm are all positive; 64 numbers anywhere else in the file are not.
  assert.ok(gains.length === 64 && gains.every((gain) => gain > 0.3 && gain < 10), String(gains));
});

/** As the `gguf` package for Python counts them. */
const expected: Record<string, { name: string; tokens: number; model: string }> = {
  'ggml-vocab-bert-bge.gguf': { name: 'bert-bge', tokens: 30522, model: 'bert' },
  'ggml-vocab-deepseek-llm.gguf': { name: 'deepseek-llm', tokens: 102400, model: 'gpt2' },
  'ggml-vocab-gpt-2.gguf': { name: 'gpt-2', tokens: 50257, model: 'gpt2' },
  'ggml-vocab-llama-spm.gguf': { name: 'llama-spm', tokens: 32000, model: 'llama' },
  'ggml-vocab-mpt.gguf': { name: 'mpt', tokens: 50432, model: 'gpt2' },
  'ggml-vocab-refact.gguf': { name: 'Refact', tokens: 49216, model: 'gpt2' },
};

test('vocabularies of llama.cpp are read, and written again byte for byte', { skip }, async () => {
  const names = readdirSync(vocabularies).filter((name) => name.endsWith('.gguf'));
  assert.deepEqual(names.sort(), Object.keys(expected));
  for (const name of names) {
    const bytes = await readFile(join(vocabularies, name));
    const { metadata, metadataTypes } = await readGguf(memoryBytes(bytes, name));
    const tokens = metadata.get('tokenizer.ggml.tokens');
    const found = {
      name: metadata.get('general.name'),
      tokens: tokens instanceof StringList ? tokens.length : 0,
      model: metadata.get('tokenizer.ggml.model'),
    };
    assert.deepEqual(found, expected[name]);
    const parts: Uint8Array[] = [];
    const layout = layoutGguf({ metadata, types: metadataTypes, tensors: [] });
    await layout.writeTo({ write: async (part) => void parts.push(part) });
    assert.ok(bytes.equals(Buffer.concat(parts)), `${name} is not what it was`);
  }
});
