/**
 * GPT-NeoX and Pythia (https://arxiv.org/abs/2204.06745): attention and feed-forward part of the same x, a part of each
 * head turns. Folders keep queries, keys and values of each head together, GGUF files all queries, all keys, all values.
 */
import { selfAttention } from './attention.ts';
import { chain, residual, sum } from './block.ts';
import { decoderSizes, flag, headShare, number } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { head, tokenEmbedding } from './decoder-ends.ts';
import { plainFeedForward } from './feed-forward.ts';
import { layerNorm } from './norm.ts';
import { ropeSetting } from './rope-setting.ts';
import { reorderRows } from './tensor-views.ts';

const { vocabularySize, contextLength, hiddenSize, layers, feedForwardSize, heads } = decoderSizes;

const settings = {
  vocabularySize,
  contextLength,
  hiddenSize,
  layers,
  feedForwardSize,
  heads,
  normEpsilon: number('attention.layer_norm_epsilon', 'layer_norm_eps', 1e-5),
  rope: ropeSetting('half', headShare, { base: 'rotary_emb_base', share: 'rotary_pct', usualShare: 0.25 }),
  parallel: flag('use_parallel_residual', 'use_parallel_residual', true),
};

export const gptNeox = decoderArchitecture(settings, {
  name: 'gptneox',
  huggingface: ['GPTNeoXForCausalLM'],
  known: { hidden_act: ['gelu'] },
  decoder(config) {
    const { hiddenSize, heads, rope, parallel } = config;
    const headDim = hiddenSize / heads;
    const attention = chain(
      layerNorm('attn_norm', 'input_layernorm', config),
      selfAttention({
        ...{ hiddenSize, heads, kvHeads: heads, headDim, rope },
        names: { qkv: 'attention.query_key_value', output: 'attention.dense' },
        views: { qkv: (stored) => reorderRows(stored, [heads, 3, headDim]) },
      }),
    );
    const feedForward = chain(
      layerNorm('ffn_norm', 'post_attention_layernorm', config),
      plainFeedForward(config, 'gelu', { up: 'mlp.dense_h_to_4h', down: 'mlp.dense_4h_to_h' }),
    );
    return {
      huggingfaceLayers: 'gpt_neox.layers',
      embedding: tokenEmbedding('gpt_neox.embed_in.weight', config),
      norm: layerNorm('output_norm', 'gpt_neox.final_layer_norm', config),
      head: head('embed_out', config),
      layer: () =>
        parallel ? residual(sum(attention, feedForward)) : chain(residual(attention), residual(feedForward)),
    };
  },
});
