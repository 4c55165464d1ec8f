/**
 * A decoder as a GGUF file: metadata under the keys that llama.cpp reads (its `gguf-py` and `llama-arch.cpp` define
 * them), tensors under GGUF's names in the order of rotary pairs that GGUF files of the architecture have.
 */
import { memoryBytes } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';
import { ropeFrequencies, yarnAttentionFactor } from '../composites/rope_frequencies.ts';
import type { MetadataValue, StoredTensor } from '../formats/checkpoint.ts';
import { type DecoderConfig, ggufAttentionFactor } from './decoder-config.ts';
import type { GgufDescription } from './model.ts';

/** `Model.toGguf` of decoders. */
export function exportDecoder(config: DecoderConfig, weights: ReadonlyMap<string, StoredTensor>): GgufDescription {
  const moves = config.rope.layout === 'half' && config.ggufRopeLayout === 'interleaved';
  const described = [...weights].map(([name, stored]) => {
    const turns = moves && /\.attn_[qk]\.(weight|bias)$/.test(name);
    return { name, stored, ...(turns && { interleaveHeads: config.headDim }) };
  });
  const factors = ropeFactors(config).map((stored) => ({ name: stored.name, stored }));
  return { ...decoderMetadata(config), weights: [...described, ...factors] };
}

export function decoderMetadata(config: DecoderConfig): Pick<GgufDescription, 'metadata' | 'floats'> {
  const { architecture, rope } = config;
  const metadata = new Map<string, MetadataValue>([
    ['general.architecture', architecture],
    ['general.type', 'model'],
  ]);
  const floats = new Set<string>();
  const set = (key: string, value: MetadataValue) => metadata.set(`${architecture}.${key}`, value);
  const setFloat = (key: string, value: number) => {
    set(key, value);
    floats.add(`${architecture}.${key}`);
  };

  set('vocab_size', config.vocabularySize);
  set('context_length', config.contextLength);
  set('embedding_length', config.hiddenSize);
  set('block_count', config.layers);
  set('feed_forward_length', config.feedForwardSize);
  set('attention.head_count', config.heads);
  set('attention.head_count_kv', config.kvHeads);
  set('attention.key_length', config.headDim);
  set('attention.value_length', config.headDim);
  setFloat('attention.layer_norm_rms_epsilon', config.normEpsilon);
  set('rope.dimension_count', rope.dimensions);
  setFloat('rope.freq_base', rope.base);
  setWindows(config, set);
  setScaling(config, set, setFloat);
  return { metadata, floats };
}

function setWindows(config: DecoderConfig, set: (key: string, value: MetadataValue) => void): void {
  const windows = Array.from({ length: config.layers }, (_, layer) => config.slidingWindow(layer));
  const window = windows.find((tokens) => tokens !== undefined);
  if (window === undefined) return;
  set('attention.sliding_window', window);
  const pattern = windows.map((tokens) => tokens !== undefined);
  if (!pattern.every(Boolean)) set('attention.sliding_window_pattern', pattern);
}

function setScaling(
  { architecture, rope: { scaling } }: DecoderConfig,
  set: (key: string, value: MetadataValue) => void,
  setFloat: (key: string, value: number) => void,
): void {
  switch (scaling.kind) {
    case 'none':
    case 'llama3': // Its factors are a tensor.
      return;
    case 'linear':
      set('rope.scaling.type', 'linear');
      setFloat('rope.scaling.factor', scaling.factor);
      return;
    case 'yarn':
      set('rope.scaling.type', 'yarn');
      setFloat('rope.scaling.factor', scaling.factor);
      set('rope.scaling.original_context_length', scaling.originalContextLength);
      setFloat('rope.scaling.yarn_beta_fast', scaling.betaFast ?? 32);
      setFloat('rope.scaling.yarn_beta_slow', scaling.betaSlow ?? 1);
      if (scaling.attentionFactor !== undefined) {
        const { attentionFactor, ...yarn } = scaling;
        setFloat(ggufAttentionFactor, attentionFactor / yarnAttentionFactor(yarn));
      }
      return;
    case 'ntk':
      throw new IngotError('UnsupportedFile', `GGUF files of ${architecture} have no key for NTK-aware rope scaling`);
    default:
      scaling satisfies never;
  }
}

/** Llama 3's scaling as a tensor: what each frequency is divided by. */
export function ropeFactors({ rope: { base, dimensions, scaling } }: DecoderConfig): StoredTensor[] {
  if (scaling.kind !== 'llama3') return [];
  const scaled = ropeFrequencies(base, dimensions, scaling).inverse;
  const plain = ropeFrequencies(base, dimensions, { kind: 'none' }).inverse;
  const factors = Float32Array.from(plain, (frequency, i) => frequency / (scaled[i] ?? frequency));
  const name = 'rope_freqs.weight';
  return [{ name, format: 'f32', shape: [factors.length], bytes: memoryBytes(new Uint8Array(factors.buffer), name) }];
}
