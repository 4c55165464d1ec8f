/** Qwen2 and Qwen2.5 (https://arxiv.org/abs/2407.10671): biases on queries, keys and values; tensors say whether. */
import { selfAttention } from './attention.ts';
import { decoderSizes, rmsEpsilon } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { plainEnds } from './decoder-ends.ts';
import { gatedFeedForward } from './feed-forward.ts';
import { preNormLayer, siluOnly } from './llama.ts';
import { ropeSetting } from './rope-setting.ts';
import { windows } from './window-setting.ts';

const settings = {
  ...decoderSizes,
  normEpsilon: rmsEpsilon,
  rope: ropeSetting('half', decoderSizes.headDim),
  windowOf: windows,
};

export const qwen2 = decoderArchitecture(settings, {
  name: 'qwen2',
  huggingface: ['Qwen2ForCausalLM'],
  known: siluOnly,
  decoder: (config) => ({
    ...plainEnds(config),
    layer: (i) =>
      preNormLayer(config, selfAttention({ ...config, window: config.windowOf(i) }), gatedFeedForward(config, 'silu')),
  }),
});
