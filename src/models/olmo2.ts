/** OLMo 2 (https://arxiv.org/abs/2501.00656): norms behind each part and none before; all queries and all keys of a token are normalized together. */
import { selfAttention } from './attention.ts';
import { chain, residual } from './block.ts';
import { decoderSizes, rmsEpsilon } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { plainEnds } from './decoder-ends.ts';
import { gatedFeedForward } from './feed-forward.ts';
import { siluOnly } from './llama.ts';
import { rmsNorm } from './norm.ts';
import { ropeSetting } from './rope-setting.ts';

const settings = {
  ...decoderSizes,
  normEpsilon: rmsEpsilon,
  rope: ropeSetting('half', decoderSizes.headDim),
};

export const olmo2 = decoderArchitecture(settings, {
  name: 'olmo2',
  huggingface: ['Olmo2ForCausalLM'],
  known: siluOnly,
  decoder: (config) => ({
    ...plainEnds(config),
    layer: () =>
      chain(
        residual(
          chain(
            selfAttention({ ...config, norm: { of: 'all', epsilon: config.normEpsilon } }),
            rmsNorm('post_attention_norm', 'post_attention_layernorm', config),
          ),
        ),
        residual(
          chain(gatedFeedForward(config, 'silu'), rmsNorm('post_ffw_norm', 'post_feedforward_layernorm', config)),
        ),
      ),
  }),
});
