/** Qwen3's mixtures of experts (https://arxiv.org/abs/2505.09388): its attention, and experts in place of the feed-forward part. */
import { selfAttention } from './attention.ts';
import { decoderSizes, rmsEpsilon } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { plainEnds } from './decoder-ends.ts';
import { expertSizes, normalizedWeights } from './expert-setting.ts';
import { routedExperts } from './experts.ts';
import { preNormLayer, siluOnly } from './llama.ts';
import { ropeSetting } from './rope-setting.ts';
import { windowSetting } from './window-setting.ts';

const settings = {
  ...decoderSizes,
  sizes: expertSizes,
  normalized: normalizedWeights(true),
  normEpsilon: rmsEpsilon,
  rope: ropeSetting('half', decoderSizes.headDim),
  windowOf: windowSetting(),
};

export const qwen3Moe = decoderArchitecture(settings, {
  name: 'qwen3moe',
  huggingface: ['Qwen3MoeForCausalLM'],
  known: siluOnly,
  decoder: (config) => ({
    ...plainEnds(config),
    layer: (i) =>
      preNormLayer(
        config,
        selfAttention({
          ...config,
          norm: { of: 'head', epsilon: config.normEpsilon },
          window: config.windowOf(i),
        }),
        routedExperts({ ...config, ...config.sizes }, { weights: config.normalized ? 'normalized' : 'softmax' }),
      ),
  }),
});
