/**
 * Settings of a decoder with pre-normalization, rotary embedding, grouped-query attention and a gated feed-forward
 * part, and how the three kinds of checkpoint spell them. The architectures say what is special about each.
 */

import { IngotError } from '../base/errors.ts';
import { type RopeScaling, yarnAttentionFactor } from '../composites/rope_frequencies.ts';
import type { Checkpoint } from '../formats/checkpoint.ts';
import { Settings } from './settings.ts';

export interface DecoderConfig {
  readonly architecture: string;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly feedForwardSize: number;
  readonly normEpsilon: number;
  readonly contextLength: number;
  readonly rope: {
    readonly base: number;
    readonly dimensions: number;
    /** Which elements of a head turn together: neighbours, or element i and i + half. */
    readonly layout: 'interleaved' | 'half';
    readonly scaling: RopeScaling;
  };
  /** As `rope.layout`, of this architecture's GGUF files; Hugging Face's layout is always 'half'. */
  readonly ggufRopeLayout: 'interleaved' | 'half';
  /** Normalize each head of queries and keys (Qwen3). */
  readonly headNorm: boolean;
  /** Tokens that layer i sees back, itself included; undefined = all. */
  slidingWindow(layer: number): number | undefined;
}

type Special = Pick<DecoderConfig, 'architecture' | 'headNorm' | 'ggufRopeLayout'>;

export function readDecoderConfig(checkpoint: Checkpoint, special: Special): DecoderConfig {
  switch (checkpoint.kind) {
    case 'gguf':
      return readGguf(checkpoint, special);
    case 'huggingface':
      return readHuggingFace(checkpoint, special);
    case 'llama2c':
      return readLlama2c(checkpoint, special);
    case 'safetensors':
      throw new IngotError('UnsupportedFile', 'a safetensors file alone has no configuration', {
        path: checkpoint.path,
      });
    default:
      return checkpoint.kind satisfies never;
  }
}

function readGguf(checkpoint: Checkpoint, special: Special): DecoderConfig {
  const s = new Settings(checkpoint, `${special.architecture}.`);
  const hiddenSize = s.count('embedding_length');
  const heads = s.count('attention.head_count');
  const headDim = s.count('attention.key_length', hiddenSize / heads);
  return {
    ...special,
    hiddenSize,
    heads,
    headDim,
    vocabularySize: checkpoint.tensors.get('token_embd.weight')?.shape[0] ?? s.count('vocab_size'),
    layers: s.count('block_count'),
    kvHeads: s.count('attention.head_count_kv', heads),
    feedForwardSize: s.count('feed_forward_length'),
    normEpsilon: s.number('attention.layer_norm_rms_epsilon'),
    contextLength: s.count('context_length'),
    rope: {
      base: s.number('rope.freq_base', 10000),
      dimensions: s.count('rope.dimension_count', headDim),
      layout: special.ggufRopeLayout,
      scaling: readGgufScaling(s),
    },
    slidingWindow: readGgufWindow(s),
  };
}

function readGgufWindow(s: Settings): (layer: number) => number | undefined {
  if (s.get('attention.sliding_window') === undefined) return () => undefined;
  const window = s.count('attention.sliding_window');
  const pattern = s.booleans('attention.sliding_window_pattern');
  return (layer) => (pattern === undefined || pattern[layer] === true ? window : undefined);
}

/** ggml multiplies this into YaRN's own factor on cos and sin; Hugging Face's `attention_factor` replaces that one. */
export const ggufAttentionFactor = 'rope.scaling.yarn_attn_factor';

function readGgufScaling(s: Settings): RopeScaling {
  const linear = s.get('rope.scale_linear');
  if (linear !== undefined) return { kind: 'linear', factor: s.number('rope.scale_linear') };
  const kind = s.string('rope.scaling.type', 'none');
  switch (kind) {
    case 'none':
      return { kind: 'none' };
    case 'linear':
      return { kind: 'linear', factor: s.number('rope.scaling.factor') };
    case 'yarn': {
      const yarn = {
        kind,
        factor: s.number('rope.scaling.factor'),
        originalContextLength: s.count('rope.scaling.original_context_length'),
        betaFast: s.number('rope.scaling.yarn_beta_fast', 32),
        betaSlow: s.number('rope.scaling.yarn_beta_slow', 1),
      } as const;
      if (s.get(ggufAttentionFactor) === undefined) return yarn;
      return { ...yarn, attentionFactor: s.number(ggufAttentionFactor) * yarnAttentionFactor(yarn) };
    }
    default:
      return s.unsupported('rope.scaling.type', 'none, linear and yarn');
  }
}

function readHuggingFace(checkpoint: Checkpoint, special: Special): DecoderConfig {
  const s = new Settings(checkpoint);
  const activation = s.string('hidden_act', 'silu');
  if (activation !== 'silu') s.unsupported('hidden_act', 'silu');
  const hiddenSize = s.count('hidden_size');
  const heads = s.count('num_attention_heads');
  const headDim = s.count('head_dim', hiddenSize / heads);
  const contextLength = s.count('max_position_embeddings');
  return {
    ...special,
    hiddenSize,
    heads,
    headDim,
    contextLength,
    vocabularySize: s.count('vocab_size'),
    layers: s.count('num_hidden_layers'),
    kvHeads: s.count('num_key_value_heads', heads),
    feedForwardSize: s.count('intermediate_size'),
    normEpsilon: s.number('rms_norm_eps'),
    // Newer files keep base and scaling together in `rope_parameters`.
    rope: {
      base: s.section('rope_parameters')?.number('rope_theta', 10000) ?? s.number('rope_theta', 10000),
      dimensions: headDim,
      layout: 'half',
      scaling: readHuggingFaceScaling(s.section('rope_parameters') ?? s.section('rope_scaling'), contextLength),
    },
    slidingWindow: readHuggingFaceWindow(s),
  };
}

function readHuggingFaceScaling(s: Settings | undefined, contextLength: number): RopeScaling {
  if (s === undefined) return { kind: 'none' };
  const key = s.get('rope_type') === undefined ? 'type' : 'rope_type';
  const kind = s.string(key, 'default');
  switch (kind) {
    case 'default':
      return { kind: 'none' };
    case 'linear':
      return { kind: 'linear', factor: s.number('factor') };
    case 'llama3':
      return {
        kind: 'llama3',
        factor: s.number('factor'),
        lowFrequencyFactor: s.number('low_freq_factor'),
        highFrequencyFactor: s.number('high_freq_factor'),
        originalContextLength: s.count('original_max_position_embeddings'),
      };
    case 'yarn':
      return {
        kind: 'yarn',
        factor: s.number('factor'),
        originalContextLength: s.count('original_max_position_embeddings', contextLength),
        betaFast: s.number('beta_fast', 32),
        betaSlow: s.number('beta_slow', 1),
        ...(s.get('attention_factor') !== undefined && { attentionFactor: s.number('attention_factor') }),
      };
    default:
      return s.unsupported(key, 'default, linear, llama3 and yarn');
  }
}

function readHuggingFaceWindow(s: Settings): (layer: number) => number | undefined {
  if (s.get('sliding_window') === undefined || !s.boolean('use_sliding_window', true)) return () => undefined;
  const window = s.count('sliding_window');
  const kinds = s.strings('layer_types');
  if (kinds !== undefined) return (layer) => (kinds[layer] === 'sliding_attention' ? window : undefined);
  // Qwen2 slides in the layers from this one on.
  const first = s.get('max_window_layers') === undefined ? 0 : s.number('max_window_layers');
  return (layer) => (layer >= first ? window : undefined);
}

function readLlama2c(checkpoint: Checkpoint, special: Special): DecoderConfig {
  const s = new Settings(checkpoint);
  const hiddenSize = s.count('dim');
  const heads = s.count('n_heads');
  const headDim = hiddenSize / heads;
  return {
    ...special,
    hiddenSize,
    heads,
    headDim,
    vocabularySize: s.count('vocab_size'),
    layers: s.count('n_layers'),
    kvHeads: s.count('n_kv_heads'),
    feedForwardSize: s.count('hidden_dim'),
    normEpsilon: 1e-5,
    contextLength: s.count('seq_len'),
    rope: { base: 10000, dimensions: headDim, layout: 'interleaved', scaling: { kind: 'none' } },
    slidingWindow: () => undefined,
  };
}
