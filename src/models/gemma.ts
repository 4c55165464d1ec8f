/**
 * What the Gemma family shares: a norm before and one behind each part, weights of norms that folders store less one,
 * an embedding scaled by the root of its size, and a scale of queries of its own.
 */
import { IngotError } from '../base/errors.ts';
import { type Block, chain, residual, scale, softCap } from './block.ts';
import { decoderSizes, type KnownValues, rmsEpsilon, type Setting } from './config.ts';
import { plainEnds } from './decoder-ends.ts';
import { gatedFeedForward } from './feed-forward.ts';
import { rmsNorm } from './norm.ts';
import { plusOne } from './tensor-views.ts';

/** The factor on scores, and the one that GGUF files imply by the size of the model. */
export interface QueryScale {
  readonly scale: number;
  readonly ofGguf: number;
}

/** @param largest number of layers of the family's largest model, whose queries are scaled by another rule. */
export function queryScaleSetting(largest: number): Setting<QueryScale> {
  const implied = (layers: number, hiddenSize: number, heads: number, headDim: number) =>
    1 / Math.sqrt(layers === largest ? hiddenSize / heads : headDim);
  const { layers, hiddenSize, heads, headDim } = decoderSizes;
  return {
    gguf(s, checkpoint) {
      const [l, h, n, d] = [layers, hiddenSize, heads, headDim].map((row) => row.gguf(s, checkpoint));
      const scale = implied(l, h, n, d);
      return { scale, ofGguf: scale };
    },
    huggingface(s) {
      const [l, h, n, d] = [layers, hiddenSize, heads, headDim].map((row) => row.huggingface(s));
      return { scale: 1 / Math.sqrt(s.number('query_pre_attn_scalar', 256)), ofGguf: implied(l, h, n, d) };
    },
    write({ scale, ofGguf }, { architecture }) {
      if (Math.abs(scale / ofGguf - 1) < 1e-6) return;
      throw new IngotError(
        'UnsupportedFile',
        `GGUF files of ${architecture} have no key for a scale of queries of ${scale}; theirs would be ${ofGguf}`,
      );
    },
  };
}

export const gemmaSettings = { ...decoderSizes, normEpsilon: rmsEpsilon };

/** Folders name the activation twice: the older name is ignored where both are there. */
export const gemmaKnown: KnownValues = {
  hidden_activation: ['gelu_pytorch_tanh'],
  use_bidirectional_attention: [false],
};

type Sizes = Parameters<typeof plainEnds>[0];

export function gemmaEnds(sizes: Sizes, logitCap: number | undefined) {
  const { embedding, norm, head } = plainEnds(sizes, { normView: plusOne });
  return {
    // The factor is an f32.
    embedding: chain(embedding, scale(Math.fround(Math.sqrt(sizes.hiddenSize)))),
    norm,
    head: logitCap === undefined ? head : chain(head, softCap(logitCap)),
  };
}

export function gemmaLayer(sizes: Sizes & { readonly feedForwardSize: number }, attention: Block): Block {
  const norm = (gguf: string, huggingface: string) => rmsNorm(gguf, huggingface, sizes, plusOne);
  return chain(
    residual(
      chain(norm('attn_norm', 'input_layernorm'), attention, norm('post_attention_norm', 'post_attention_layernorm')),
    ),
    residual(
      chain(
        norm('ffn_norm', 'pre_feedforward_layernorm'),
        gatedFeedForward(sizes, 'gelu_tanh'),
        norm('post_ffw_norm', 'post_feedforward_layernorm'),
      ),
    ),
  );
}
