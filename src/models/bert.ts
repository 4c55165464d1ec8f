/**
 * BERT (https://arxiv.org/abs/1810.04805) and, with positions that begin at another row, RoBERTa and XLM-RoBERTa: encoders
 * whose tokens see each other, with learned positions and a norm behind each part. GGUF files of all three say 'bert'.
 */
import { selfAttention } from './attention.ts';
import { type Block, block, chain, residual } from './block.ts';
import { decoderSizes, number, type Setting } from './config.ts';
import { decoderArchitecture } from './decoder-architecture.ts';
import { positionEmbedding, tokenEmbedding } from './decoder-ends.ts';
import { plainFeedForward } from './feed-forward.ts';
import type { Pooling } from './model.ts';
import { layerNorm } from './norm.ts';
import { poolingSetting } from './pooling.ts';
import type { Settings } from './settings.ts';
import { skipRows } from './tensor-views.ts';
import { row } from './tensors.ts';

/** Rows of the table of positions that no position has, in folders of RoBERTa. */
const skippedPositions: Setting<number> = {
  gguf: () => 0,
  huggingface: (s) =>
    /^(XLM)?Roberta/.test(s.strings('architectures')?.[0] ?? '') ? s.number('pad_token_id', 1) + 1 : 0,
  write() {},
};

const tokenTypes: Setting<number> = {
  gguf: (_, { tensors }) => tensors.get('token_types.weight')?.shape[0] ?? 1,
  huggingface: (s) => s.count('type_vocab_size', 2),
  write: (value, keys) => keys.metadata.set('tokenizer.ggml.token_type_count', value),
};

/** Attention to what comes after a token: what makes an encoder. */
const bidirectional: Setting<true> = {
  gguf: (s) => (s.boolean('attention.causal', false) ? s.unsupported('attention.causal', 'false') : true),
  huggingface: () => true,
  write: (_, keys) => keys.set('attention.causal', false),
};

const { contextLength } = decoderSizes;

const settings = {
  ...decoderSizes,
  contextLength: {
    ...contextLength,
    huggingface: (s: Settings) => contextLength.huggingface(s) - skippedPositions.huggingface(s),
  },
  normEpsilon: number('attention.layer_norm_epsilon', 'layer_norm_eps', 1e-12),
  skippedPositions,
  tokenTypes,
  bidirectional,
  // As sentence-transformers takes a model that says nothing.
  pooling: orMean(poolingSetting),
};

function orMean({ gguf, huggingface, write }: Setting<Pooling | undefined>): Setting<Pooling> {
  return {
    gguf: (s, checkpoint) => gguf(s, checkpoint) ?? 'mean',
    huggingface: (s) => huggingface(s) ?? 'mean',
    write,
  };
}

/** Adds the vector of the first type of tokens, which all are. */
function typeEmbedding(types: number, hiddenSize: number): Block {
  const rows = [row('token_types.weight', 'bert.embeddings.token_type_embeddings.weight', [types, hiddenSize])];
  return block('token_types', [], rows, (l, x) => l.b.add(x, l.take('token_types.weight', l.b.full('i32', [l.T], 0))));
}

export const bert = decoderArchitecture(settings, {
  name: 'bert',
  huggingface: ['BertModel', 'RobertaModel', 'XLMRobertaModel'],
  known: {
    hidden_act: ['gelu'],
    position_embedding_type: ['absolute'],
    is_decoder: [false],
    add_cross_attention: [false],
  },
  decoder(config) {
    const { hiddenSize, bidirectional, skippedPositions } = config;
    const positions = positionEmbedding(
      'bert.embeddings.position_embeddings.weight',
      config,
      skipRows(skippedPositions),
    );
    return {
      bidirectional,
      huggingfaceLayers: 'bert.encoder.layer',
      embedding: chain(
        tokenEmbedding('bert.embeddings.word_embeddings.weight', config),
        typeEmbedding(config.tokenTypes, hiddenSize),
        positions,
        layerNorm('token_embd_norm', 'bert.embeddings.LayerNorm', config),
      ),
      layer: () =>
        chain(
          residual(
            selfAttention({
              ...config,
              names: {
                q: 'attention.self.query',
                k: 'attention.self.key',
                v: 'attention.self.value',
                output: 'attention.output.dense',
              },
            }),
          ),
          layerNorm('attn_output_norm', 'attention.output.LayerNorm', config),
          residual(plainFeedForward(config, 'gelu', { up: 'intermediate.dense', down: 'output.dense' })),
          layerNorm('layer_output_norm', 'output.LayerNorm', config),
        ),
    };
  },
});
