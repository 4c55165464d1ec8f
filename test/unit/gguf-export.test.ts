/** Models on their way into GGUF: order of rows, keys and their types, weight formats, and how much is in memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomModel } from '../../bench/random-model.ts';
import { type ByteSource, memoryBytes } from '../../src/base/bytes.ts';
import { exportGguf } from '../../src/cli/gguf-file.ts';
import { ropeFrequencies } from '../../src/composites/rope_frequencies.ts';
import type { Checkpoint, MetadataValue, StoredTensor } from '../../src/formats/checkpoint.ts';
import { convertTensor } from '../../src/formats/convert-tensor.ts';
import { type GgufCheckpoint, readGguf } from '../../src/formats/gguf.ts';
import { type GgufContents, layoutGguf } from '../../src/formats/gguf-write.ts';
import type { TensorToWrite } from '../../src/formats/tensor-stream.ts';
import { openModel } from '../../src/models/architectures.ts';
import { readConfig } from '../../src/models/config.ts';
import { llamaSettings } from '../../src/models/llama.ts';
import { interleaveHeads } from '../../src/models/tensor-views.ts';
import { blockFormat, encodableFormat } from '../../src/numerics/quant/formats.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { bytesOf, concat, ingot } from './formats-support.ts';

type Config = Record<string, MetadataValue>;

const llamaConfig: Config = {
  architectures: ['LlamaForCausalLM'],
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 4,
  intermediate_size: 12,
  vocab_size: 5,
  rms_norm_eps: 1e-6,
  max_position_embeddings: 64,
  rope_theta: 10000,
};
const { num_key_value_heads: _, ...qwenConfig }: Config = { ...llamaConfig, architectures: ['Qwen2ForCausalLM'] };

function stored(name: string, shape: readonly number[], values: Float32Array, format = 'f32'): StoredTensor {
  const { blockSize, blockBytes, encode } = encodableFormat(format);
  const bytes = new Uint8Array((values.length / blockSize) * blockBytes);
  encode(values, bytes);
  return { name, format, shape, bytes: memoryBytes(bytes, name) };
}

/** A folder of Hugging Face's in memory: every value of a row is the row's number. */
function folder(config: Config, options: { readonly bias?: boolean; readonly format?: string } = {}): Checkpoint {
  const { hidden_size: hidden, intermediate_size: forward, vocab_size: vocabulary, head_dim: headDim } = config;
  const heads = Number(config.num_attention_heads) * Number(headDim);
  const kvHeads = Number(config.num_key_value_heads ?? config.num_attention_heads) * Number(headDim);
  const shapes: [string, unknown[]][] = [
    ['model.embed_tokens.weight', [vocabulary, hidden]],
    ['model.norm.weight', [hidden]],
  ];
  for (let layer = 0; layer < Number(config.num_hidden_layers); layer++) {
    const rows: [string, unknown[]][] = [
      ['input_layernorm.weight', [hidden]],
      ['self_attn.q_proj.weight', [heads, hidden]],
      ['self_attn.k_proj.weight', [kvHeads, hidden]],
      ['self_attn.v_proj.weight', [kvHeads, hidden]],
      ['self_attn.o_proj.weight', [hidden, heads]],
      ['post_attention_layernorm.weight', [hidden]],
      ['mlp.gate_proj.weight', [forward, hidden]],
      ['mlp.up_proj.weight', [forward, hidden]],
      ['mlp.down_proj.weight', [hidden, forward]],
    ];
    if (options.bias) rows.push(['self_attn.q_proj.bias', [heads]], ['self_attn.k_proj.bias', [kvHeads]]);
    shapes.push(...rows.map(([name, shape]): [string, unknown[]] => [`model.layers.${layer}.${name}`, shape]));
  }
  const tensors = shapes.map(([name, sizes]) => {
    const shape = sizes.map(Number);
    const columns = shape[1] ?? 1;
    const values = Float32Array.from({ length: (shape[0] ?? 0) * columns }, (_, i) => Math.floor(i / columns));
    return stored(name, shape, values, options.format);
  });
  return {
    kind: 'huggingface',
    path: 'made-up',
    files: [],
    metadata: new Map(Object.entries(config)),
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
    companions: new Map(),
    [Symbol.asyncDispose]: async () => {},
  };
}

async function written(contents: GgufContents): Promise<GgufCheckpoint> {
  return readGguf(memoryBytes(await bytesOf(layoutGguf(contents))));
}

function exported(checkpoint: Checkpoint, format?: string): GgufContents {
  const model = openModel(checkpoint);
  const names = model.toGguf().weights.map(({ name }) => name);
  const weights = format === undefined ? undefined : { formats: new Map(names.map((name) => [name, format])) };
  return exportGguf(checkpoint, model, { name: 'made up', tokenizer: new Map(), ...(weights && { weights }) });
}

async function valuesOf(file: Checkpoint, name: string): Promise<Float32Array> {
  const tensor = file.tensors.get(name);
  assert.ok(tensor !== undefined, `${name} is missing`);
  const values = new Float32Array(tensor.shape.reduce((product, size) => product * size, 1));
  blockFormat(tensor.format).decode(await tensor.bytes.read(0, tensor.bytes.length), values);
  return values;
}

async function rowsOf(file: Checkpoint, name: string): Promise<number[]> {
  const values = await valuesOf(file, name);
  const columns = file.tensors.get(name)?.shape[1] ?? 1;
  return Array.from({ length: values.length / columns }, (_, row) => values[row * columns] ?? -1);
}

test("llama's queries and keys get the order of interleaved pairs, head by head; nothing else moves", async () => {
  const file = await written(exported(folder(llamaConfig, { bias: true })));
  for (const name of ['blk.0.attn_q.weight', 'blk.1.attn_q.weight', 'blk.1.attn_q.bias']) {
    assert.deepEqual(await rowsOf(file, name), [0, 2, 1, 3, 4, 6, 5, 7], name);
  }
  for (const name of ['blk.0.attn_k.weight', 'blk.0.attn_k.bias']) {
    assert.deepEqual(await rowsOf(file, name), [0, 2, 1, 3], name);
  }
  assert.deepEqual(await rowsOf(file, 'blk.0.attn_v.weight'), [0, 1, 2, 3]);
  assert.deepEqual(await rowsOf(file, 'blk.0.attn_output.weight'), [0, 1, 2, 3, 4, 5, 6, 7]);
});

test('rows move alike in every plain format, and before they are encoded anew', async () => {
  for (const format of ['f16', 'bf16']) {
    const file = await written(exported(folder(llamaConfig, { format })));
    assert.equal(file.tensors.get('blk.0.attn_q.weight')?.format, format);
    assert.deepEqual(await rowsOf(file, 'blk.0.attn_q.weight'), [0, 2, 1, 3, 4, 6, 5, 7], format);
  }
  const sizes = { hidden_size: 32, num_attention_heads: 8, intermediate_size: 32 };
  const file = await written(exported(folder({ ...llamaConfig, ...sizes }), 'q8_0'));
  assert.deepEqual((await rowsOf(file, 'blk.0.attn_k.weight')).map(Math.round), [0, 2, 1, 3]);
});

test('qwen keeps its order, and so does what comes from a GGUF file', async () => {
  const qwen = await written(exported(folder(qwenConfig, { bias: true })));
  assert.deepEqual(await rowsOf(qwen, 'blk.0.attn_q.weight'), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(await rowsOf(qwen, 'blk.0.attn_k.bias'), [0, 1, 2, 3, 4, 5, 6, 7]);
  const once = await written(exported(folder(llamaConfig)));
  const twice = await written(exported(once));
  assert.deepEqual(await rowsOf(twice, 'blk.0.attn_q.weight'), [0, 2, 1, 3, 4, 6, 5, 7]);
});

test('keys are those of llama.cpp, floats as float32 even where they are whole', async () => {
  const options = { name: 'a name', tokenizer: new Map([['tokenizer.ggml.model', 'none']]) };
  const checkpoint = folder(llamaConfig);
  const file = await written(exportGguf(checkpoint, openModel(checkpoint), options));
  const integers: Config = {
    'general.file_type': 0,
    'llama.vocab_size': 5,
    'llama.context_length': 64,
    'llama.embedding_length': 8,
    'llama.block_count': 2,
    'llama.feed_forward_length': 12,
    'llama.attention.head_count': 2,
    'llama.attention.head_count_kv': 1,
    'llama.attention.key_length': 4,
    'llama.attention.value_length': 4,
    'llama.rope.dimension_count': 4,
  };
  const texts: Config = {
    'general.architecture': 'llama',
    'general.type': 'model',
    'general.name': 'a name',
    'tokenizer.ggml.model': 'none',
  };
  const floats: Config = {
    'llama.attention.layer_norm_rms_epsilon': Math.fround(1e-6),
    'llama.rope.freq_base': 10000,
  };
  assert.deepEqual(Object.fromEntries(file.metadata), { ...integers, ...texts, ...floats });
  for (const key of Object.keys(integers)) assert.equal(file.metadataTypes.get(key), 'uint32', key);
  for (const key of Object.keys(floats)) assert.equal(file.metadataTypes.get(key), 'float32', key);
});

const configOf = (checkpoint: Checkpoint) => readConfig(checkpoint, 'llama', llamaSettings, {});

test('linear and yarn scaling are keys, and read back as they were', async () => {
  const scalings: Config[] = [
    { rope_type: 'linear', factor: 4 },
    { rope_type: 'yarn', factor: 8, original_max_position_embeddings: 16, beta_fast: 24, beta_slow: 2 },
  ];
  for (const rope_scaling of scalings) {
    const checkpoint = folder({ ...llamaConfig, rope_scaling });
    const again = configOf(await written(exported(checkpoint)));
    assert.deepEqual(again.rope.scaling, configOf(checkpoint).rope.scaling);
  }
  const rope_scaling = { rope_type: 'yarn', factor: 8, original_max_position_embeddings: 16, attention_factor: 0.75 };
  const checkpoint = folder({ ...llamaConfig, rope_scaling });
  const file = await written(exported(checkpoint));
  const { scaling } = configOf(file).rope;
  assert.ok(scaling.kind === 'yarn' && Math.abs((scaling.attentionFactor ?? 0) - 0.75) < 1e-6);
  // ggml multiplies it into 1 + 0.1 ln(factor).
  const factor = Number(file.metadata.get('llama.rope.scaling.yarn_attn_factor'));
  assert.ok(Math.abs(factor * (1 + 0.1 * Math.log(8)) - 0.75) < 1e-6);
});

test("llama 3's scaling becomes the divisors of its frequencies", async () => {
  const llama3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 32 };
  const config = { ...llamaConfig, head_dim: 16, rope_theta: 500, rope_scaling: { rope_type: 'llama3', ...llama3 } };
  const checkpoint = folder(config);
  const file = await written(exported(checkpoint));
  const divisors = await valuesOf(file, 'rope_freqs.weight');
  const { base, dimensions, scaling } = configOf(checkpoint).rope;
  assert.equal(divisors.length, dimensions / 2);
  const plain = ropeFrequencies(base, dimensions, { kind: 'none' }).inverse;
  ropeFrequencies(base, dimensions, scaling).inverse.forEach((frequency, i) => {
    assert.ok(Math.abs((plain[i] ?? 0) / (divisors[i] ?? 0) / frequency - 1) < 1e-6, `frequency ${i}`);
  });
  assert.equal(divisors[0], 1);
  assert.equal(divisors.at(-1), 8);
  assert.deepEqual(configOf(file).rope.scaling, { kind: 'none' });
});

test('sliding windows of some layers are told layer by layer', async () => {
  const windows = (config: Config) => ({ ...llamaConfig, sliding_window: 16, ...config });
  const some = await written(exported(folder(windows({ layer_types: ['full_attention', 'sliding_attention'] }))));
  assert.deepEqual([0, 1].map(configOf(some).windowOf), [undefined, 16]);
  const all = await written(exported(folder(windows({}))));
  assert.deepEqual([0, 1].map(configOf(all).windowOf), [16, 16]);
  assert.equal(all.metadata.has('llama.attention.sliding_window_pattern'), false);
});

const wide = { ...llamaConfig, num_hidden_layers: 1, hidden_size: 256, intermediate_size: 256, head_dim: 128 };

test('matrices take the format that is asked for, vectors are f32', async () => {
  const source = folder(wide, { format: 'bf16' });
  const fileTypes = { f32: 0, f16: 1, bf16: 32, q8_0: 7, q4_0: 2, q4_K: 14, q6_K: 18 };
  for (const [format, fileType] of Object.entries(fileTypes)) {
    const file = await written(exported(source, format));
    assert.equal(file.metadata.get('general.file_type'), fileType);
    for (const { name, shape, format: found } of file.tensors.values()) {
      assert.equal(found, shape.length === 1 ? 'f32' : format, name);
    }
    const expected = new Uint8Array((256 * 256 * blockFormat(format).blockBytes) / blockFormat(format).blockSize);
    encodableFormat(format).encode(await valuesOf(source, 'model.layers.0.mlp.gate_proj.weight'), expected);
    const gate = file.tensors.get('blk.0.ffn_gate.weight');
    assert.deepEqual(await gate?.bytes.read(0, gate.bytes.length), expected, format);
  }
  const kept = await written(exported(source));
  assert.equal(kept.tensors.get('blk.0.ffn_gate.weight')?.format, 'bf16');
  assert.equal(kept.tensors.get('blk.0.ffn_norm.weight')?.format, 'f32');
});

test('what a format cannot hold is refused by the name of the tensor', async () => {
  const narrow = { ...wide, intermediate_size: 192 };
  const down = 'model.layers.0.mlp.down_proj.weight';
  for (const format of ['q4_K', 'q6_K']) {
    assert.throws(
      () => exported(folder(narrow), format),
      ingot('InvalidArgument', /192 values.*256/, { tensor: down }),
    );
  }
  assert.throws(() => exported(folder(narrow), 'q9'), ingot('UnsupportedFile', /q9/));
  const huge = stored('big', [1, 2], Float32Array.of(1, 1e6));
  const chunks = convertTensor(huge, { name: 'x', format: 'f16' });
  await assert.rejects(collect(chunks), ingot('InvalidArgument', /range of f16/, { tensor: 'big' }));
});

test('a format that cannot be decoded is copied, or refused by the name of the tensor', async () => {
  const bytes = memoryBytes(Uint8Array.from({ length: 56 }, (_, i) => i));
  const tensor: StoredTensor = { name: 'odd', format: 'iq1_m', shape: [1, 256], bytes };
  const copied = await collect(convertTensor(tensor, { name: 'odd', format: 'iq1_m' }));
  assert.deepEqual(concat(...copied), await bytes.read(0, 56));
  assert.throws(
    () => convertTensor(tensor, { name: 'odd', format: 'q8_0' }),
    ingot('UnsupportedFile', /iq1_m/, { tensor: 'odd' }),
  );
  assert.throws(
    () =>
      convertTensor(
        { ...tensor, format: 'f32', bytes: memoryBytes(new Uint8Array(1024)) },
        { name: 'odd', format: 'iq2_xs' },
      ),
    ingot('UnsupportedFile', /iq2_xs and cannot make/, { tensor: 'odd' }),
  );
});

test('big tensors pass in slices', async () => {
  const shape = [3000, 4096];
  const reads: number[] = [];
  // Pages that nobody wrote to, read as zeros.
  const bytes: ByteSource = {
    name: 'zeros',
    length: 3000 * 4096 * 4,
    read: async (_, length) => {
      reads.push(length);
      return new Uint8Array(length);
    },
  };
  const tensor: StoredTensor = { name: 'big', format: 'f32', shape, bytes };
  const conversions = [
    { stored: tensor, format: 'f32' },
    { stored: tensor, format: 'q8_0' },
    { stored: interleaveHeads(60)(tensor), format: 'f32' },
  ];
  for (const { stored, format } of conversions) {
    reads.length = 0;
    let written = 0;
    for await (const chunk of convertTensor(stored, { name: 'big', format }).chunks()) {
      assert.ok(chunk.length <= 4 << 20);
      assert.equal(reads.length > 0, true);
      written += chunk.length;
    }
    assert.ok(Math.max(...reads) <= 4 << 20 && reads.length > 10);
    assert.equal(
      reads.reduce((sum, length) => sum + length, 0),
      bytes.length,
    );
    const { blockBytes, blockSize } = blockFormat(format);
    assert.equal(written, ((3000 * 4096) / blockSize) * blockBytes);
  }
});

async function collect(tensor: TensorToWrite): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of tensor.chunks()) chunks.push(chunk);
  return chunks;
}

test('random models open, have a vocabulary for any text, and depend on their seed alone', async () => {
  for (const type of ['f16', 'q4_K'] as const) {
    const file = await written(randomModel('tiny', type, 1));
    const model = openModel(file);
    assert.equal(model.weights.get('blk.1.ffn_down.weight')?.format, type);
    const values = await valuesOf(file, 'blk.1.ffn_down.weight');
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
    assert.ok(Math.abs(deviation - 0.02) < 0.001, `${type}: ${deviation}`);
    const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: file.metadata }, model);
    const ids = tokenizer.encode('naïve 5 €\n');
    assert.equal(ids[0], tokenizer.bos);
    assert.equal(tokenizer.decode(ids), 'naïve 5 €\n');
  }
  const bytes = async (seed: number) => Buffer.from(await bytesOf(layoutGguf(randomModel('tiny', 'q4_0', seed))));
  const seven = await bytes(7);
  assert.ok(seven.equals(await bytes(7)));
  assert.ok(!seven.equals(await bytes(8)));
});

test('random models of real shapes have the parameters of those', () => {
  const count = (name: 'llama-3.2-1b' | 'qwen3-0.6b') =>
    randomModel(name, 'q4_0', 1).tensors.reduce(
      (sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1),
      0,
    );
  // Published: 1,235,814,400 and 596,049,920; the first has 32 rope factors besides.
  assert.equal(count('llama-3.2-1b'), 1_235_814_400 + 32);
  assert.equal(count('qwen3-0.6b'), 596_049_920);
});
