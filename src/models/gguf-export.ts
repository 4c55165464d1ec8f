/**
 * A decoder as a GGUF file: metadata under the keys that llama.cpp reads (its `gguf-py` and `llama-arch.cpp` define
 * them), tensors under GGUF's names in the order of rotary pairs that GGUF files of the architecture have.
 */
import { IngotError } from '../base/errors.ts';
import { ropeFrequencies, yarnAttentionFactor } from '../composites/rope_frequencies.ts';
import type { MetadataValue, StoredTensor } from '../formats/checkpoint.ts';
import { convertTensor } from '../formats/convert-tensor.ts';
import type { GgufType } from '../formats/gguf-types.ts';
import type { GgufContents } from '../formats/gguf-write.ts';
import type { TensorToWrite } from '../formats/tensor-stream.ts';
import { type DecoderConfig, ggufAttentionFactor } from './decoder-config.ts';

/** llama.cpp's numbers (`llama_ftype`) for files whose matrices are mostly of a format. */
const fileTypes: ReadonlyMap<string, number> = new Map([
  ['f32', 0],
  ['f16', 1],
  ['q4_0', 2],
  ['q8_0', 7],
  ['q4_K', 14],
  ['q6_K', 18],
  ['bf16', 32],
]);
const quantizationVersion = 2;

/** `Model.toGguf` of decoders. */
export function exportDecoder(
  config: DecoderConfig,
  weights: ReadonlyMap<string, StoredTensor>,
  format?: string,
): GgufContents {
  const moves = config.rope.layout === 'half' && config.ggufRopeLayout === 'interleaved';
  const tensors = [...weights].map(([name, stored]) =>
    convertTensor(stored, {
      name,
      format: stored.shape.length === 1 ? 'f32' : (format ?? stored.format),
      ...(moves && /\.attn_[qk]\.(weight|bias)$/.test(name) && { interleaveHeads: config.headDim }),
    }),
  );
  tensors.push(...ropeFactors(config));
  return { ...decoderMetadata(config, mostlyFormat(tensors)), tensors };
}

/** Metadata of a decoder whose matrices are mostly of this format. */
export function decoderMetadata(config: DecoderConfig, format: string): Pick<GgufContents, 'metadata' | 'types'> {
  const { architecture, rope } = config;
  const metadata = new Map<string, MetadataValue>([
    ['general.architecture', architecture],
    ['general.type', 'model'],
  ]);
  const types = new Map<string, GgufType>();
  const set = (key: string, value: MetadataValue) => metadata.set(`${architecture}.${key}`, value);
  const setFloat = (key: string, value: number) => {
    set(key, value);
    types.set(`${architecture}.${key}`, 'float32');
  };

  const fileType = fileTypes.get(format);
  if (fileType !== undefined) metadata.set('general.file_type', fileType);
  if (format.startsWith('q')) metadata.set('general.quantization_version', quantizationVersion);
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
  return { metadata, types };
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

/** Llama 3's scaling: what each frequency is divided by. */
export function ropeFactors({ rope: { base, dimensions, scaling } }: DecoderConfig): TensorToWrite[] {
  if (scaling.kind !== 'llama3') return [];
  const scaled = ropeFrequencies(base, dimensions, scaling).inverse;
  const plain = ropeFrequencies(base, dimensions, { kind: 'none' }).inverse;
  const factors = Float32Array.from(plain, (frequency, i) => frequency / (scaled[i] ?? frequency));
  const chunks = () => [new Uint8Array(factors.buffer)];
  return [{ name: 'rope_freqs.weight', format: 'f32', shape: [factors.length], chunks }];
}

/** The format of most matrix elements. */
function mostlyFormat(tensors: readonly TensorToWrite[]): string {
  const elements = new Map<string, number>();
  for (const { format, shape } of tensors) {
    const size = shape.length === 1 ? 0 : shape.reduce((product, length) => product * length, 1);
    elements.set(format, (elements.get(format) ?? 0) + size);
  }
  const [most] = [...elements].sort(([, a], [, b]) => b - a);
  return most?.[0] ?? 'f32';
}
