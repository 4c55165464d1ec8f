/** OLMoE (https://arxiv.org/abs/2409.02060): experts whose weights are no shares of one; all queries and all keys of a token are normalized together. */
import { selfAttention } from './attention.ts';
import { decoderSizes, rmsEpsilon } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { plainEnds } from './decoder-ends.ts';
import { expertSizes, normalizedWeights } from './expert-setting.ts';
import { routedExperts } from './experts.ts';
import { preNormLayer, siluOnly } from './llama.ts';
import { ropeSetting } from './rope-setting.ts';

const settings = {
  ...decoderSizes,
  sizes: expertSizes,
  normalized: normalizedWeights(false),
  normEpsilon: rmsEpsilon,
  rope: ropeSetting('half', decoderSizes.headDim),
};

export const olmoe = decoderArchitecture(settings, {
  name: 'olmoe',
  huggingface: ['OlmoeForCausalLM'],
  known: { ...siluOnly, clip_qkv: ['none'] },
  decoder: (config) => ({
    ...plainEnds(config),
    layer: () =>
      preNormLayer(
        config,
        selfAttention({ ...config, norm: { of: 'all', epsilon: config.normEpsilon } }),
        routedExperts({ ...config, ...config.sizes }, { weights: config.normalized ? 'normalized' : 'softmax' }),
      ),
  }),
});
