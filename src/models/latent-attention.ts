/**
 * Multi-head latent attention (DeepSeek-V2, https://arxiv.org/abs/2405.04434, section 2.1) as a block: keys and values of all
 * heads come from one short vector a token, and the keys' part that turns is one for all heads. The pools keep keys and values
 * of each head as attention reads them, not that vector.
 */
import type { RopeAttributes } from '../composites/rope.ts';
import { asTensor } from '../ir/types.ts';
import { attend, rotate } from './attention.ts';
import { type Block, keyOf } from './block.ts';
import { linearRows, row } from './tensors.ts';

interface LatentAttentionOptions {
  readonly hiddenSize: number;
  readonly heads: number;
  /** Of the vector that keys and values come from; of the one that queries come from, where there is one. */
  readonly kvRank: number;
  readonly queryRank: number | undefined;
  /** Of a head of queries and keys: what does not turn comes first, then `rope.dimensions`. */
  readonly keyDim: number;
  readonly valueDim: number;
  readonly rope: RopeAttributes;
  readonly normEpsilon: number;
  readonly scale: number;
}

export function latentAttention(options: LatentAttentionOptions): Block {
  const { hiddenSize, heads, kvRank, queryRank, keyDim, valueDim, rope, normEpsilon, scale } = options;
  const turning = rope.dimensions;
  const still = keyDim - turning;
  const queryRows =
    queryRank === undefined
      ? linearRows('attn_q', 'self_attn.q_proj', [heads * keyDim, hiddenSize])
      : [
          ...linearRows('attn_q_a', 'self_attn.q_a_proj', [queryRank, hiddenSize]),
          row('attn_q_a_norm.weight', 'self_attn.q_a_layernorm.weight', [queryRank]),
          ...linearRows('attn_q_b', 'self_attn.q_b_proj', [heads * keyDim, queryRank]),
        ];
  return {
    key: keyOf('latent_attention', options),
    rows: [
      ...queryRows,
      ...linearRows('attn_kv_a_mqa', 'self_attn.kv_a_proj_with_mqa', [kvRank + turning, hiddenSize]),
      row('attn_kv_a_norm.weight', 'self_attn.kv_a_layernorm.weight', [kvRank]),
      ...linearRows('attn_kv_b', 'self_attn.kv_b_proj', [heads * (still + valueDim), kvRank]),
      ...linearRows('attn_output', 'self_attn.o_proj', [hiddenSize, heads * valueDim]),
    ],
    pools: { k: [heads, keyDim], v: [heads, valueDim] },
    build(l, x) {
      const { b, T } = l;
      const short = queryRank === undefined ? x : l.rmsNorm(l.linear(x, 'attn_q_a'), 'attn_q_a_norm', normEpsilon);
      const queries = b.reshape(l.linear(short, queryRank === undefined ? 'attn_q' : 'attn_q_b'), [T, heads, keyDim]);
      const q = b.concatenate([b.slice(queries, 2, 0, still), rotate(l, b.slice(queries, 2, still, keyDim), rope)], 2);

      const all = l.linear(x, 'attn_kv_a_mqa');
      const latent = l.rmsNorm(b.slice(all, 1, 0, kvRank), 'attn_kv_a_norm', normEpsilon);
      const turned = rotate(l, b.reshape(b.slice(all, 1, kvRank, kvRank + turning), [T, 1, turning]), rope);
      const { element } = asTensor(turned.type);
      const pairs = b.reshape(l.linear(latent, 'attn_kv_b'), [T, heads, still + valueDim]);
      const shared = b.broadcast(b.reshape(turned, [T, turning]), [T, heads, turning], [0, 2]);
      const k = b.concatenate([b.convert(b.slice(pairs, 2, 0, still), element), shared], 2);
      const v = b.slice(pairs, 2, still, still + valueDim);
      return l.linear(attend(l, { heads, headDim: valueDim }, { q, k, v }, { scale }), 'attn_output');
    },
  };
}
