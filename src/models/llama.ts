/**
 * Llama 1, 2 and 3.x (https://arxiv.org/abs/2302.13971, https://arxiv.org/abs/2407.21783): RMSNorm before each part,
 * rotary embedding, grouped heads, a gated feed-forward part. GGUF files interleave the pairs of the rotary embedding.
 */
import { selfAttention } from './attention.ts';
import { type Block, chain, residual } from './block.ts';
import { type ConfigOf, decoderSizes, type KnownValues, rmsEpsilon } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { plainEnds } from './decoder-ends.ts';
import { optionalExperts } from './expert-setting.ts';
import { routedExperts } from './experts.ts';
import { gatedFeedForward } from './feed-forward.ts';
import { rmsNorm } from './norm.ts';
import { withLlama3Factors } from './rope-factors.ts';
import { ropeSetting } from './rope-setting.ts';
import type { Settings } from './settings.ts';
import { windowSetting } from './window-setting.ts';

export const llamaSettings = {
  ...decoderSizes,
  normEpsilon: rmsEpsilon,
  rope: ropeSetting('interleaved', decoderSizes.headDim),
  windowOf: windowSetting(),
  experts: optionalExperts,
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
        selfAttention({
          ...config,
          ...withLlama3Factors(config.rope),
          ggufPairs: 'interleaved',
          window: config.windowOf(i),
        }),
        config.experts === undefined
          ? gatedFeedForward(config, 'silu')
          : routedExperts({ ...config, ...config.experts }, { weights: 'normalized' }, mixtralNames),
      ),
  }),
});

/** Mixtral (https://arxiv.org/abs/2401.04088) is Llama with experts, and GGUF files of it say 'llama'. */
const mixtralNames = {
  router: 'block_sparse_moe.gate',
  gate: 'block_sparse_moe.experts.*.w1',
  up: 'block_sparse_moe.experts.*.w3',
  down: 'block_sparse_moe.experts.*.w2',
};

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
    experts: undefined,
    pooling: undefined,
  };
}
