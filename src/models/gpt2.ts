/**
 * GPT-2 (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019): positions are learned, queries,
 * keys and values come of one matrix, LayerNorm with biases. Folders have all matrices the other way round.
 */
import { selfAttention } from './attention.ts';
import { chain, residual } from './block.ts';
import { count, number, vocabularySize } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { head, positionEmbedding, tokenEmbedding } from './decoder-ends.ts';
import { plainFeedForward } from './feed-forward.ts';
import { layerNorm } from './norm.ts';
import { transposed } from './tensor-views.ts';

const hiddenSize = count('embedding_length', 'n_embd');

const settings = {
  vocabularySize,
  contextLength: count('context_length', 'n_positions'),
  hiddenSize,
  layers: count('block_count', 'n_layer'),
  heads: count('attention.head_count', 'n_head'),
  feedForwardSize: count('feed_forward_length', 'n_inner', {
    gguf: (s, checkpoint) => 4 * hiddenSize.gguf(s, checkpoint),
    huggingface: (s) => 4 * hiddenSize.huggingface(s),
  }),
  normEpsilon: number('attention.layer_norm_epsilon', 'layer_norm_epsilon', 1e-5),
};

export const gpt2 = decoderArchitecture(settings, {
  name: 'gpt2',
  huggingface: ['GPT2LMHeadModel'],
  known: {
    activation_function: ['gelu_new', 'gelu_pytorch_tanh'],
    scale_attn_weights: [true],
    scale_attn_by_inverse_layer_idx: [false],
    add_cross_attention: [false],
  },
  decoder(config) {
    const { hiddenSize, heads } = config;
    const sizes = { hiddenSize, heads, kvHeads: heads, headDim: hiddenSize / heads };
    return {
      huggingfaceLayers: 'transformer.h',
      embedding: chain(
        tokenEmbedding('transformer.wte.weight', config),
        positionEmbedding('transformer.wpe.weight', config),
      ),
      norm: layerNorm('output_norm', 'transformer.ln_f', config),
      head: head('lm_head', config),
      layer: () =>
        chain(
          residual(
            chain(
              layerNorm('attn_norm', 'ln_1', config),
              selfAttention({
                ...sizes,
                names: { qkv: 'attn.c_attn', output: 'attn.c_proj' },
                views: { qkv: transposed, output: transposed },
              }),
            ),
          ),
          residual(
            chain(
              layerNorm('ffn_norm', 'ln_2', config),
              plainFeedForward(config, 'gelu_tanh', { up: 'mlp.c_fc', down: 'mlp.c_proj' }, transposed),
            ),
          ),
        ),
    };
  },
});
