/**
 * The tensors of a decoder, under GGUF's names, and the names that Hugging Face gives them. One table serves reading,
 * building and converting.
 */
import { IngotError } from '../base/errors.ts';
import type { Checkpoint, StoredTensor } from '../formats/checkpoint.ts';
import type { DecoderConfig } from './decoder-config.ts';

interface TensorRow {
  readonly gguf: string;
  readonly huggingface: string;
  shape(config: DecoderConfig): readonly number[];
  /** 'always', or 'optional': taken where the file has it. */
  readonly presence: 'always' | 'optional' | 'headNorm';
}

const perLayer: readonly TensorRow[] = [
  row('attn_norm.weight', 'input_layernorm.weight', (c) => [c.hiddenSize]),
  row('attn_q.weight', 'self_attn.q_proj.weight', (c) => [c.heads * c.headDim, c.hiddenSize]),
  row('attn_k.weight', 'self_attn.k_proj.weight', (c) => [c.kvHeads * c.headDim, c.hiddenSize]),
  row('attn_v.weight', 'self_attn.v_proj.weight', (c) => [c.kvHeads * c.headDim, c.hiddenSize]),
  row('attn_q.bias', 'self_attn.q_proj.bias', (c) => [c.heads * c.headDim], 'optional'),
  row('attn_k.bias', 'self_attn.k_proj.bias', (c) => [c.kvHeads * c.headDim], 'optional'),
  row('attn_v.bias', 'self_attn.v_proj.bias', (c) => [c.kvHeads * c.headDim], 'optional'),
  row('attn_q_norm.weight', 'self_attn.q_norm.weight', (c) => [c.headDim], 'headNorm'),
  row('attn_k_norm.weight', 'self_attn.k_norm.weight', (c) => [c.headDim], 'headNorm'),
  row('attn_output.weight', 'self_attn.o_proj.weight', (c) => [c.hiddenSize, c.heads * c.headDim]),
  row('attn_output.bias', 'self_attn.o_proj.bias', (c) => [c.hiddenSize], 'optional'),
  row('ffn_norm.weight', 'post_attention_layernorm.weight', (c) => [c.hiddenSize]),
  row('ffn_gate.weight', 'mlp.gate_proj.weight', (c) => [c.feedForwardSize, c.hiddenSize]),
  row('ffn_up.weight', 'mlp.up_proj.weight', (c) => [c.feedForwardSize, c.hiddenSize]),
  row('ffn_down.weight', 'mlp.down_proj.weight', (c) => [c.hiddenSize, c.feedForwardSize]),
  row('ffn_gate.bias', 'mlp.gate_proj.bias', (c) => [c.feedForwardSize], 'optional'),
  row('ffn_up.bias', 'mlp.up_proj.bias', (c) => [c.feedForwardSize], 'optional'),
  row('ffn_down.bias', 'mlp.down_proj.bias', (c) => [c.hiddenSize], 'optional'),
];

const global: readonly TensorRow[] = [
  row('token_embd.weight', 'model.embed_tokens.weight', (c) => [c.vocabularySize, c.hiddenSize]),
  row('output_norm.weight', 'model.norm.weight', (c) => [c.hiddenSize]),
  // Absent where the embedding serves as the head.
  row('output.weight', 'lm_head.weight', (c) => [c.vocabularySize, c.hiddenSize], 'optional'),
  // Llama 3's frequency factors, which Hugging Face computes from its configuration.
  row('rope_freqs.weight', '', (c) => [c.rope.dimensions / 2], 'optional'),
];

function row(
  gguf: string,
  huggingface: string,
  shape: TensorRow['shape'],
  presence: TensorRow['presence'] = 'always',
): TensorRow {
  return { gguf, huggingface, shape, presence };
}

/** Names and shapes of the tensors that every decoder of this configuration has. */
export function decoderShapes(config: DecoderConfig): ReadonlyMap<string, readonly number[]> {
  const needed = (rows: readonly TensorRow[]) =>
    rows.filter(({ presence }) => presence === 'always' || (presence === 'headNorm' && config.headNorm));
  const shapes = new Map(needed(global).map(({ gguf, shape }) => [gguf, shape(config)]));
  for (let layer = 0; layer < config.layers; layer++) {
    for (const { gguf, shape } of needed(perLayer)) shapes.set(`blk.${layer}.${gguf}`, shape(config));
  }
  return shapes;
}

/** Tensors that files carry and nobody needs. */
const idle = /rotary_emb\.inv_freq$|attn_rot_embd/;

/**
 * The decoder's tensors by GGUF name.
 * @throws IngotError 'InvalidFile' for one that is missing or has a wrong shape; 'UnsupportedFile' for ones that no row
 * names: a model that has them is not the model that would be computed without them.
 */
export function decoderWeights(checkpoint: Checkpoint, config: DecoderConfig): ReadonlyMap<string, StoredTensor> {
  const weights = new Map<string, StoredTensor>();
  const taken = new Set<string>();
  const take = (name: string, nameInFile: string, { shape, presence }: TensorRow) => {
    const stored = checkpoint.tensors.get(nameInFile);
    if (stored === undefined) {
      if (presence === 'always' || (presence === 'headNorm' && config.headNorm)) {
        throw new IngotError('InvalidFile', `${config.architecture} needs the tensor ${nameInFile}, which is missing`, {
          path: checkpoint.path,
          tensor: nameInFile,
        });
      }
      return;
    }
    const expected = shape(config);
    if (stored.shape.length !== expected.length || stored.shape.some((size, i) => size !== expected[i])) {
      throw new IngotError(
        'InvalidFile',
        `tensor ${nameInFile} is [${stored.shape}], but the model's settings need [${expected}]`,
        { path: checkpoint.path, tensor: nameInFile },
      );
    }
    taken.add(nameInFile);
    weights.set(name, stored);
  };
  for (const entry of global) take(entry.gguf, fileName(checkpoint, entry, undefined), entry);
  for (let layer = 0; layer < config.layers; layer++) {
    for (const entry of perLayer) {
      if (entry.presence === 'headNorm' && !config.headNorm) continue;
      take(`blk.${layer}.${entry.gguf}`, fileName(checkpoint, entry, layer), entry);
    }
  }
  const unknown = [...checkpoint.tensors.keys()].filter((name) => !taken.has(name) && !idle.test(name));
  if (unknown.length > 0) {
    throw new IngotError(
      'UnsupportedFile',
      `${config.architecture} has no place for ${unknown.length} tensors of this file: ${unknown.slice(0, 4).join(', ')}`,
      { path: checkpoint.path, tensor: unknown[0] },
    );
  }
  return weights;
}

function fileName(checkpoint: Checkpoint, { gguf, huggingface }: TensorRow, layer: number | undefined): string {
  if (checkpoint.kind === 'huggingface')
    return layer === undefined ? huggingface : `model.layers.${layer}.${huggingface}`;
  return layer === undefined ? gguf : `blk.${layer}.${gguf}`;
}
