/**
 * Llama 1, 2 and 3.x (https://arxiv.org/abs/2302.13971, https://arxiv.org/abs/2407.21783): RMSNorm before each part,
 * rotary embedding, grouped heads, a gated feed-forward part. GGUF files interleave the pairs of the rotary embedding.
 */
import { memoryBytes } from '../base/bytes.ts';
import type { RopeAttributes } from '../composites/rope.ts';
import { ropeFrequencies } from '../composites/rope_frequencies.ts';
import type { StoredTensor } from '../formats/checkpoint.ts';
import { selfAttention } from './attention.ts';
import { type Block, chain, residual } from './block.ts';
import { type ConfigOf, decoderSizes, type KnownValues, rmsEpsilon } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { plainEnds } from './decoder-ends.ts';
import { gatedFeedForward } from './feed-forward.ts';
import { rmsNorm } from './norm.ts';
import { ropeSetting } from './rope-setting.ts';
import type { Settings } from './settings.ts';
import { windows } from './window-setting.ts';

export const llamaSettings = {
  ...decoderSizes,
  normEpsilon: rmsEpsilon,
  rope: ropeSetting('interleaved', decoderSizes.headDim),
  windowOf: windows,
};
type LlamaConfig = ConfigOf<typeof llamaSettings>;

export const siluOnly: KnownValues = { hidden_act: ['silu'] };

export const llama = decoderArchitecture(llamaSettings, {
  name: 'llama',
  huggingface: ['LlamaForCausalLM'],
  known: siluOnly,
  llama2c: readLlama2c,
  decoder: (config) => ({
    ...plainEnds(config),
    layer: (i) =>
      preNormLayer(
        config,
        selfAttention({ ...config, ggufPairs: 'interleaved', window: config.windowOf(i) }),
        gatedFeedForward(config, 'silu'),
      ),
    ggufTensors: () => llama3Factors(config.rope),
  }),
});

/** The layer of Llama and its kin: each part behind a norm, its result added to what went in. */
export function preNormLayer(
  sizes: { readonly hiddenSize: number; readonly normEpsilon: number },
  attention: Block,
  feedForward: Block,
): Block {
  return chain(
    residual(chain(rmsNorm('attn_norm', 'input_layernorm', sizes), attention)),
    residual(chain(rmsNorm('ffn_norm', 'post_attention_layernorm', sizes), feedForward)),
  );
}

function readLlama2c(s: Settings): LlamaConfig {
  const hiddenSize = s.count('dim');
  const heads = s.count('n_heads');
  const headDim = hiddenSize / heads;
  return {
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
    windowOf: () => undefined,
  };
}

/** Llama 3's scaling as GGUF files have it: what each frequency is divided by. */
function llama3Factors({ base, dimensions, scaling }: RopeAttributes): readonly StoredTensor[] {
  if (scaling.kind !== 'llama3') return [];
  const scaled = ropeFrequencies(base, dimensions, scaling).inverse;
  const plain = ropeFrequencies(base, dimensions, { kind: 'none' }).inverse;
  const factors = Float32Array.from(plain, (frequency, i) => frequency / (scaled[i] ?? frequency));
  const name = 'rope_freqs.weight';
  return [{ name, format: 'f32', shape: [factors.length], bytes: memoryBytes(new Uint8Array(factors.buffer), name) }];
}
