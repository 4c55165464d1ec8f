/** Qwen1.5's and Qwen2's mixtures of experts (https://arxiv.org/abs/2407.10671): beside the routed experts one that all tokens use, behind a gate. */
import { selfAttention } from './attention.ts';
import { sum } from './block.ts';
import { count, decoderSizes, rmsEpsilon } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { plainEnds } from './decoder-ends.ts';
import { expertSizes, normalizedWeights } from './expert-setting.ts';
import { routedExperts, sharedExpert } from './experts.ts';
import { preNormLayer, siluOnly } from './llama.ts';
import { ropeSetting } from './rope-setting.ts';
import { windowSetting } from './window-setting.ts';

const settings = {
  ...decoderSizes,
  sizes: expertSizes,
  sharedSize: count('expert_shared_feed_forward_length', 'shared_expert_intermediate_size'),
  normalized: normalizedWeights(false),
  normEpsilon: rmsEpsilon,
  rope: ropeSetting('half', decoderSizes.headDim),
  windowOf: windowSetting(),
};

export const qwen2Moe = decoderArchitecture(settings, {
  name: 'qwen2moe',
  huggingface: ['Qwen2MoeForCausalLM'],
  known: siluOnly,
  decoder: (config) => ({
    ...plainEnds(config),
    layer: (i) =>
      preNormLayer(
        config,
        selfAttention({ ...config, window: config.windowOf(i) }),
        sum(
          routedExperts({ ...config, ...config.sizes }, { weights: config.normalized ? 'normalized' : 'softmax' }),
          sharedExpert(
            { hiddenSize: config.hiddenSize, feedForwardSize: config.sharedSize },
            'mlp.shared_expert',
            'mlp.shared_expert_gate',
          ),
        ),
      ),
  }),
});
