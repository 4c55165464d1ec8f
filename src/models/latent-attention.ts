/**
 * Multi-head latent attention (DeepSeek-V2, https://arxiv.org/abs/2405.04434, section 2.1) as a block: keys and values of all
 * heads come from one short vector a token, and the keys' part that turns is one for all heads. By how files have the matrix
 * that makes them:
 *
 * - whole: keys and values of each head are made and kept, as other attention does.
 * - absorbed: in halves, that of keys transposed. A query times its head's half of keys is a query for the vector itself, and what a
 *   head attends to in vectors becomes values behind attention. The pools keep the vector, one head for all queries.
 */
import type { RopeAttributes } from '../composites/rope.ts';
import type { Value } from '../ir/program.ts';
import { asTensor } from '../ir/types.ts';
import { attend, rotate } from './attention.ts';
import { type Block, keyOf } from './block.ts';
import type { Scope } from './scope.ts';
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
  readonly absorbed: boolean;
}

/** Of a step, the keys' part with one head for all. */
interface Parts {
  readonly stillQueries: Value;
  readonly turnedQueries: Value;
  /** [T, kvRank]. */
  readonly latent: Value;
  /** [T, 1, turning]. */
  readonly turnedKeys: Value;
}

export function latentAttention(options: LatentAttentionOptions): Block {
  const { hiddenSize, heads, kvRank, queryRank, keyDim, valueDim, rope, normEpsilon } = options;
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
  const { rows, pools, attended } = options.absorbed ? absorbedHeads(options) : wholeHeads(options);
  return {
    key: keyOf('latent_attention', options),
    rows: [
      ...queryRows,
      ...linearRows('attn_kv_a_mqa', 'self_attn.kv_a_proj_with_mqa', [kvRank + turning, hiddenSize]),
      row('attn_kv_a_norm.weight', 'self_attn.kv_a_layernorm.weight', [kvRank]),
      ...rows,
      ...linearRows('attn_output', 'self_attn.o_proj', [hiddenSize, heads * valueDim]),
    ],
    pools,
    build(l, x) {
      const { b, T } = l;
      const short = queryRank === undefined ? x : l.rmsNorm(l.linear(x, 'attn_q_a'), 'attn_q_a_norm', normEpsilon);
      const queries = b.reshape(l.linear(short, queryRank === undefined ? 'attn_q' : 'attn_q_b'), [T, heads, keyDim]);
      const all = l.linear(x, 'attn_kv_a_mqa');
      const parts: Parts = {
        stillQueries: b.slice(queries, 2, 0, still),
        turnedQueries: rotate(l, b.slice(queries, 2, still, keyDim), rope),
        latent: l.rmsNorm(b.slice(all, 1, 0, kvRank), 'attn_kv_a_norm', normEpsilon),
        turnedKeys: rotate(l, b.reshape(b.slice(all, 1, kvRank, kvRank + turning), [T, 1, turning]), rope),
      };
      return l.linear(attended(l, parts), 'attn_output');
    },
  };
}

/** What depends on the form. */
interface Heads extends Pick<Block, 'rows' | 'pools'> {
  /** [T, heads * valueDim]. */
  attended(l: Scope, parts: Parts): Value;
}

function wholeHeads({ heads, kvRank, keyDim, valueDim, rope, scale }: LatentAttentionOptions): Heads {
  const turning = rope.dimensions;
  const still = keyDim - turning;
  return {
    rows: linearRows('attn_kv_b', 'self_attn.kv_b_proj', [heads * (still + valueDim), kvRank]),
    pools: { k: [heads, keyDim], v: [heads, valueDim] },
    attended(l, { stillQueries, turnedQueries, latent, turnedKeys }) {
      const { b, T } = l;
      const { element } = asTensor(turnedKeys.type);
      const q = b.concatenate([stillQueries, turnedQueries], 2);
      const pairs = b.reshape(l.linear(latent, 'attn_kv_b'), [T, heads, still + valueDim]);
      const shared = b.broadcast(b.reshape(turnedKeys, [T, turning]), [T, heads, turning], [0, 2]);
      const k = b.concatenate([b.convert(b.slice(pairs, 2, 0, still), element), shared], 2);
      const v = b.slice(pairs, 2, still, still + valueDim);
      return attend(l, { heads, headDim: valueDim }, { q, k, v }, { scale });
    },
  };
}

/** Only GGUF files are of this form. */
function absorbedHeads({ heads, kvRank, keyDim, valueDim, rope, scale }: LatentAttentionOptions): Heads {
  const still = keyDim - rope.dimensions;
  return {
    rows: [
      { gguf: 'attn_k_b.weight', shape: [heads, kvRank, still] },
      { gguf: 'attn_v_b.weight', shape: [heads, valueDim, kvRank] },
    ],
    pools: { k: [1, kvRank + rope.dimensions], v: [1, kvRank] },
    attended(l, { stillQueries, turnedQueries, latent, turnedKeys }) {
      const { b, T } = l;
      // A product for each head, as of experts that every token uses.
      const ids = b.iota('i32', [T, heads], 1);
      const { element } = asTensor(turnedKeys.type);
      const q = b.concatenate([l.routed(stillQueries, 'attn_k_b', ids), b.convert(turnedQueries, 'f32')], 2);
      const v = b.reshape(latent, [T, 1, kvRank]);
      const k = b.concatenate([b.convert(v, element), turnedKeys], 2);
      const vectors = b.reshape(attend(l, { heads, headDim: kvRank }, { q, k, v }, { scale }), [T, heads, kvRank]);
      return b.reshape(l.routed(vectors, 'attn_v_b', ids), [T, heads * valueDim]);
    },
  };
}
