/** Settings of checkpoints: spellings of older files mean the same, and what would be computed otherwise is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Checkpoint, MetadataValue } from '../../src/formats/checkpoint.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { poolingSetting } from '../../src/models/pooling.ts';
import { Settings } from '../../src/models/settings.ts';
import { ingot } from '../unit/formats-support.ts';
import { openAbsorbed } from './absorbed.ts';
import { modelFolder } from './golden.ts';

type Changes = Readonly<Record<string, MetadataValue | undefined>>;

/** `undefined` takes a setting away. */
function changed(checkpoint: Checkpoint, changes: Changes): Checkpoint {
  const metadata = new Map(checkpoint.metadata);
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) metadata.delete(key);
    else metadata.set(key, value);
  }
  return { ...checkpoint, metadata };
}

const longrope = { short_factor: [1, 1.25, 1.5, 2], long_factor: [1.5, 3, 5, 9] };
const older: Readonly<Record<string, Changes>> = {
  llama: { rope_parameters: undefined, rope_theta: 10000 },
  phi3: { rope_parameters: undefined, rope_theta: 10000, partial_rotary_factor: 0.5 },
  'phi3-long': { rope_parameters: undefined, rope_scaling: { type: 'su', ...longrope } },
  'phi4-mini': {
    rope_parameters: undefined,
    partial_rotary_factor: 0.75,
    rope_scaling: { type: 'longrope', short_factor: [1, 1.25, 2], long_factor: [1.5, 4, 9] },
  },
  gemma2: { rope_parameters: undefined, layer_types: undefined },
  gemma3: {
    rope_parameters: undefined,
    rope_theta: 5000,
    rope_local_base_freq: 100,
    rope_scaling: { rope_type: 'linear', factor: 8 },
    layer_types: undefined,
    sliding_window_pattern: 6,
  },
  'gpt-neox': { rope_parameters: undefined, rotary_pct: 0.5, rotary_emb_base: 10000 },
};

for (const [name, changes] of Object.entries(older)) {
  test(`${name}: older spellings mean the same`, async () => {
    await using checkpoint = await openCheckpoint(modelFolder(name));
    const [before, after] = [checkpoint, changed(checkpoint, changes)].map((folder) => openModel(folder).toGguf());
    assert.deepEqual(after.metadata, before.metadata);
    const read = (weights: typeof before.weights) =>
      Promise.all(
        weights.map(({ name, stored }) => (/^rope/.test(name) ? stored.bytes.read(0, stored.bytes.length) : name)),
      );
    assert.deepEqual(await read(after.weights), await read(before.weights));
  });
}

const refused: readonly (readonly [string, Changes])[] = [
  ['llama', { hidden_act: 'gelu' }],
  ['llama', { rope_parameters: { rope_type: 'dynamic', factor: 2 } }],
  ['llama', { final_logit_softcapping: 30 }],
  ['olmo2', { sliding_window: 4096 }],
  ['olmo2', { clip_qkv: 8 }],
  ['qwen3', { num_experts: 8 }],
  ['phi3', { rope_parameters: { rope_type: 'linear', factor: 2 } }],
  ['gemma2', { use_bidirectional_attention: true }],
  ['gemma3', { attn_logit_softcapping: 50 }],
  ['gpt2', { scale_attn_by_inverse_layer_idx: true }],
  ['gpt2', { activation_function: 'relu' }],
  ['gpt-neox', { hidden_act: 'gelu_fast' }],
  ['bert-mean', { position_embedding_type: 'relative_key' }],
  ['bert-mean', { is_decoder: true }],
  ['bert-mean', { '1_Pooling/config.json': { pooling_mode_max_tokens: true } }],
];

test('settings that Ingot does not follow are refused by name', async () => {
  for (const [name, changes] of refused) {
    await using checkpoint = await openCheckpoint(modelFolder(name));
    assert.throws(() => openModel(changed(checkpoint, changes)), ingot('UnsupportedFile', /setting/), name);
  }
});

test('absorbed files of latent attention are described as they are; what they may not say is refused by name', async () => {
  await using file = await openAbsorbed('deepseek-v2');
  const { metadata, weights } = openModel(file).toGguf();
  for (const [key, value] of file.metadata) {
    // That weights of experts are a softmax goes without saying.
    if (/^deepseek2\.(?!expert_gating)/.test(key)) assert.deepEqual(metadata.get(key), value, key);
  }
  assert.deepEqual(new Set(weights.map(({ name }) => name)), new Set(file.tensors.keys()));
  const other: Changes = {
    'attention.key_length': 64,
    'attention.value_length': 64,
    'attention.key_length_mla': 8,
    expert_gating_func: 2,
    expert_weights_norm: true,
  };
  for (const [key, value] of Object.entries(other)) {
    const changes = { [`deepseek2.${key}`]: value };
    assert.throws(() => openModel(changed(file, changes)), ingot('UnsupportedFile', new RegExp(`setting .*${key} `)));
  }
});

test('kinds of pooling in GGUF files are those that it numbers', async () => {
  await using checkpoint = await openCheckpoint(modelFolder('bert-mean'));
  const read = (type: number) => {
    const metadata = new Map([['pooling_type', type]]);
    return poolingSetting.gguf(new Settings({ metadata, path: '' }), checkpoint);
  };
  assert.deepEqual([0, 1, 2, 3].map(read), [undefined, 'mean', 'cls', 'last']);
  for (const type of [-1, 0.5, 4])
    assert.throws(() => read(type), ingot('UnsupportedFile', /pooling_type/), String(type));
});
