/**
 * Settings of a decoder with pre-normalization, rotary embedding, grouped-query attention and a gated feed-forward
 * part, and how the three kinds of checkpoint spell them. The architectures say what is special about each.
 */

import { IngotError } from '../base/errors.ts';
import type { RopeScaling } from '../composites/rope_frequencies.ts';
import type { Checkpoint, MetadataValue } from '../formats/checkpoint.ts';
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
  /** Normalize each head of queries and keys (Qwen3). */
  readonly headNorm: boolean;
  /** Tokens that layer i sees back, itself included; undefined = all. */
  slidingWindow(layer: number): number | undefined;
}

type Special = Pick<DecoderConfig, 'architecture' | 'headNorm'> & {
  /** Pair layout of the weights in GGUF files; Hugging Face's is always 'half'. */
  readonly ggufRopeLayout: 'interleaved' | 'half';
};

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

function readGguf(checkpoint: Checkpoint, { architecture, headNorm, ggufRopeLayout }: Special): DecoderConfig {
  const s = new Settings(checkpoint, `${architecture}.`);
  const hiddenSize = s.count('embedding_length');
  const heads = s.count('attention.head_count');
  const headDim = s.count('attention.key_length', hiddenSize / heads);
  const window = s.get('attention.sliding_window') === undefined ? undefined : s.count('attention.sliding_window');
  return {
    architecture,
    headNorm,
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
      layout: ggufRopeLayout,
      scaling: readGgufScaling(s),
    },
    slidingWindow: () => window,
  };
}

function readGgufScaling(s: Settings): RopeScaling {
  const linear = s.get('rope.scale_linear');
  if (linear !== undefined) return { kind: 'linear', factor: s.number('rope.scale_linear') };
  const kind = s.string('rope.scaling.type', 'none');
  switch (kind) {
    case 'none':
      return { kind: 'none' };
    case 'linear':
      return { kind: 'linear', factor: s.number('rope.scaling.factor') };
    case 'yarn':
      return {
        kind: 'yarn',
        factor: s.number('rope.scaling.factor'),
        originalContextLength: s.count('rope.scaling.original_context_length'),
        betaFast: s.number('rope.scaling.yarn_beta_fast', 32),
        betaSlow: s.number('rope.scaling.yarn_beta_slow', 1),
      };
    default:
      return s.unsupported('rope.scaling.type', 'none, linear and yarn');
  }
}

function readHuggingFace(checkpoint: Checkpoint, { architecture, headNorm }: Special): DecoderConfig {
  const s = new Settings(checkpoint);
  const activation = s.string('hidden_act', 'silu');
  if (activation !== 'silu') s.unsupported('hidden_act', 'silu');
  const hiddenSize = s.count('hidden_size');
  const heads = s.count('num_attention_heads');
  const headDim = s.count('head_dim', hiddenSize / heads);
  const contextLength = s.count('max_position_embeddings');
  return {
    architecture,
    headNorm,
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

function readLlama2c(checkpoint: Checkpoint, { architecture, headNorm }: Special): DecoderConfig {
  const s = new Settings(checkpoint);
  const hiddenSize = s.count('dim');
  const heads = s.count('n_heads');
  const headDim = hiddenSize / heads;
  return {
    architecture,
    headNorm,
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

/** GGUF metadata that says the same; keys whose values are floats are named in `floats`. */
export function ggufMetadata(config: DecoderConfig): {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly floats: ReadonlySet<string>;
} {
  const { architecture, rope } = config;
  const integers = {
    block_count: config.layers,
    context_length: config.contextLength,
    embedding_length: config.hiddenSize,
    feed_forward_length: config.feedForwardSize,
    'attention.head_count': config.heads,
    'attention.head_count_kv': config.kvHeads,
    'attention.key_length': config.headDim,
    'attention.value_length': config.headDim,
    'rope.dimension_count': rope.dimensions,
    vocab_size: config.vocabularySize,
  };
  const floats: Record<string, number> = {
    'attention.layer_norm_rms_epsilon': config.normEpsilon,
    'rope.freq_base': rope.base,
  };
  const metadata = new Map<string, MetadataValue>([['general.architecture', architecture]]);
  for (const [key, value] of Object.entries(integers)) metadata.set(`${architecture}.${key}`, value);
  const window = config.slidingWindow(0);
  if (window !== undefined) metadata.set(`${architecture}.attention.sliding_window`, window);
  if (rope.scaling.kind === 'linear' || rope.scaling.kind === 'yarn') {
    metadata.set(`${architecture}.rope.scaling.type`, rope.scaling.kind);
    floats['rope.scaling.factor'] = rope.scaling.factor;
  }
  if (rope.scaling.kind === 'yarn') {
    metadata.set(`${architecture}.rope.scaling.original_context_length`, rope.scaling.originalContextLength);
  }
  for (const [key, value] of Object.entries(floats)) metadata.set(`${architecture}.${key}`, value);
  return { metadata, floats: new Set(Object.keys(floats).map((key) => `${architecture}.${key}`)) };
}
