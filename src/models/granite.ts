/** Granite 3.x, dense (https://github.com/ibm-granite/granite-3.0-language-models): Llama with four multipliers. */
import { selfAttention } from './attention.ts';
import { chain, scale } from './block.ts';
import { decoderSizes, number, rmsEpsilon } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { plainEnds } from './decoder-ends.ts';
import { gatedFeedForward } from './feed-forward.ts';
import { preNormLayer, siluOnly } from './llama.ts';
import { ropeSetting } from './rope-setting.ts';

const settings = {
  ...decoderSizes,
  normEpsilon: rmsEpsilon,
  rope: ropeSetting('interleaved', decoderSizes.headDim),
  embeddingScale: number('embedding_scale', 'embedding_multiplier', 1),
  residualScale: number('residual_scale', 'residual_multiplier', 1),
  scale: number('attention.scale', 'attention_multiplier', 1),
  /** Logits are divided by it. */
  logitScale: number('logit_scale', 'logits_scaling', 1),
};

export const granite = decoderArchitecture(settings, {
  name: 'granite',
  huggingface: ['GraniteForCausalLM'],
  known: siluOnly,
  decoder(config) {
    const { embedding, norm, head } = plainEnds(config);
    const { embeddingScale, residualScale, logitScale } = config;
    return {
      embedding: chain(embedding, scale(embeddingScale)),
      norm,
      head: chain(head, scale(1 / logitScale)),
      layer: () =>
        preNormLayer(
          config,
          chain(selfAttention({ ...config, ggufPairs: 'interleaved' }), scale(residualScale)),
          chain(gatedFeedForward(config, 'silu'), scale(residualScale)),
        ),
    };
  },
});
