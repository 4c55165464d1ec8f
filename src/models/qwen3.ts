/** Qwen3 (https://arxiv.org/abs/2505.09388): each head of queries and keys is normalized before the rotation. */
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

export const qwen3 = decoderArchitecture(settings, {
  name: 'qwen3',
  huggingface: ['Qwen3ForCausalLM'],
  known: siluOnly,
  decoder: (config) => ({
    ...plainEnds(config),
    // Files do not say it; Qwen3-Embedding does (https://arxiv.org/abs/2506.05176, table 1).
    matryoshka: true,
    layer: (i) =>
      preNormLayer(
        config,
        selfAttention({
          ...config,
          ...withLlama3Factors(config.rope),
          norm: { of: 'head', epsilon: config.normEpsilon },
          window: config.windowOf(i),
        }),
        gatedFeedForward(config, 'silu'),
      ),
  }),
});
