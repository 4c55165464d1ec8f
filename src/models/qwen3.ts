/** Qwen3 (https://arxiv.org/abs/2505.09388): each head of queries and keys is normalized before the rotation. */
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

export const qwen3 = decoderArchitecture(settings, {
  name: 'qwen3',
  huggingface: ['Qwen3ForCausalLM'],
  known: siluOnly,
  decoder: (config) => ({
    ...plainEnds(config),
    layer: (i) =>
      preNormLayer(
        config,
        selfAttention({ ...config, headNorm: config.normEpsilon, window: config.windowOf(i) }),
        gatedFeedForward(config, 'silu'),
      ),
  }),
});
