/** Attention of a layer over its sequence as a block; keys and values are kept in the layer's pools `k` and `v`. */
import { type PagedAttentionAttributes, pagedAttention } from '../composites/paged_attention.ts';
import { type RopeAttributes, rope } from '../composites/rope.ts';
import type { Value } from '../ir/program.ts';
import { type Block, keyOf } from './block.ts';
import type { Scope } from './scope.ts';
import { interleaveHeads } from './tensor-views.ts';
import { linearRows, row, type TensorRow } from './tensors.ts';

/** Grouped heads: of queries `heads`, of keys and values `kvHeads`. */
export interface HeadSizes {
  readonly hiddenSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

interface AttentionOptions extends HeadSizes {
  readonly rope: RopeAttributes;
  /** Of pairs of rotary dimensions in GGUF files, where it is not that of `rope` in folders. */
  readonly ggufPairs?: 'interleaved';
  readonly window?: number | undefined;
  /** Each head of queries and keys is normalized before it turns, with this epsilon. */
  readonly headNorm?: number;
}

/** What of paged attention architectures set; `scale` is 1 / sqrt(headDim) if absent. */
type AttendOptions = Partial<Pick<PagedAttentionAttributes, 'scale' | 'softCap'>> & {
  readonly window?: number | undefined;
  /** Logits [heads] that take part in the softmax and have no value. */
  readonly sinks?: Value;
};

/** Llama 3's frequency factors, which Hugging Face computes from its configuration. */
const ropeFactors = 'rope_freqs.weight';

/** Separate projections of queries, keys and values, rotary embedding, and a projection behind. */
export function selfAttention(options: AttentionOptions): Block {
  const { hiddenSize, heads, kvHeads, headDim, rope, ggufPairs, window, headNorm } = options;
  const order = ggufPairs === undefined ? {} : { ggufView: interleaveHeads(headDim) };
  return {
    key: keyOf('attention', options),
    rows: [
      ...linearRows('attn_q', 'self_attn.q_proj', [heads * headDim, hiddenSize], order),
      ...linearRows('attn_k', 'self_attn.k_proj', [kvHeads * headDim, hiddenSize], order),
      ...linearRows('attn_v', 'self_attn.v_proj', [kvHeads * headDim, hiddenSize]),
      ...(headNorm === undefined ? [] : headNormRows(headDim)),
      ...linearRows('attn_output', 'self_attn.o_proj', [hiddenSize, heads * headDim]),
      { gguf: ropeFactors, shape: [rope.dimensions / 2], optional: true, shared: true },
    ],
    pools: attentionPools(options),
    build(l, x) {
      const part = (name: string, count: number) => l.b.reshape(l.linear(x, name), [l.T, count, headDim]);
      const normed = (value: Value, name: string) =>
        headNorm === undefined ? value : l.rmsNorm(value, name, headNorm);
      const turned = (value: Value) => rotate(l, value, rope, l.optional(ropeFactors));
      const q = turned(normed(part('attn_q', heads), 'attn_q_norm'));
      const k = turned(normed(part('attn_k', kvHeads), 'attn_k_norm'));
      return l.linear(attend(l, options, { q, k, v: part('attn_v', kvHeads) }, { window }), 'attn_output');
    },
  };
}

function headNormRows(headDim: number): readonly TensorRow[] {
  return [
    row('attn_q_norm.weight', 'self_attn.q_norm.weight', [headDim]),
    row('attn_k_norm.weight', 'self_attn.k_norm.weight', [headDim]),
  ];
}

function attentionPools({ kvHeads, headDim }: HeadSizes): Block['pools'] {
  return { k: [kvHeads, headDim], v: [kvHeads, headDim] };
}

/** Queries or keys [T, heads, headDim] turned by their positions; `factors` divide the frequencies. */
function rotate(l: Scope, x: Value, attributes: RopeAttributes, factors?: Value): Value {
  return rope(l.b, x, l.value('positions'), attributes, factors);
}

/**
 * Puts `k` and `v` into the pools and attends; the result is [T, heads * headDim]. Attention reads this step's keys and
 * values back from the pools too: what it sees never depends on how a prompt was cut.
 */
function attend(
  l: Scope,
  { heads, headDim }: HeadSizes,
  { q, k, v }: { readonly q: Value; readonly k: Value; readonly v: Value },
  { window, softCap, scale = 1 / Math.sqrt(headDim), sinks }: AttendOptions,
): Value {
  const { b, T } = l;
  const { limits, kv } = l.options;
  l.update('k', b.put(l.value('k'), l.value('slots'), b.convert(k, kv)));
  l.update('v', b.put(l.value('v'), l.value('slots'), b.convert(v, kv)));
  const operands = {
    q,
    kPool: l.value('k'),
    vPool: l.value('v'),
    positions: l.value('positions'),
    sequence: l.value('sequence'),
    ctxLen: l.value('ctxLen'),
    blockTable: l.value('blockTable'),
    ...(sinks !== undefined && { sinks }),
  };
  const attended = pagedAttention(b, operands, {
    scale,
    blockSize: limits.blockSize,
    ...(window !== undefined && { window }),
    ...(softCap !== undefined && { softCap }),
  });
  return b.reshape(attended, [T, heads * headDim]);
}
