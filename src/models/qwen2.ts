/** Qwen2 and Qwen2.5 (https://arxiv.org/abs/2407.10671): biases on queries, keys and values; tensors say whether. */
import { selfAttention } from './attention.ts';
import { decoderSizes, rmsEpsilon } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { plainEnds } from './decoder-ends.ts';
import { gatedFeedForward } from './feed-forward.ts';
import { preNormLayer, siluOnly } from './llama.ts';
import { withLlama3Factors } from './rope-factors.ts';
import { ropeSetting } from './rope-setting.ts';
import { windowSetting } from './window-setting.ts';

const settings = {
  ...decoderSizes,
  normEpsilon: rmsEpsilon,
  rope: ropeSetting('half', decoderSizes.headDim),
  windowOf: windowSetting(),
};

export const qwen2 = decoderArchitecture(settings, {
  name: 'qwen2',
  huggingface: ['Qwen2ForCausalLM'],
  known: siluOnly,
  decoder: (config) => ({
    ...plainEnds(config),
    layer: (i) =>
      preNormLayer(
        config,
        selfAttention({ ...config, ...withLlama3Factors(config.rope), window: config.windowOf(i) }),
        gatedFeedForward(config, 'silu'),
      ),
  }),
});
