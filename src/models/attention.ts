/** Attention of a layer over its sequence as a block; keys and values are kept in the layer's pools `k` and `v`. */
import { putKv } from '../composites/kv_cache.ts';
import { type PagedAttentionAttributes, pagedAttention } from '../composites/paged_attention.ts';
import { type RopeAttributes, rope } from '../composites/rope.ts';
import type { Value } from '../ir/program.ts';
import { isCoded } from '../numerics/kv-format.ts';
import { type Block, keyOf } from './block.ts';
import type { RopeFactors } from './rope-factors.ts';
import type { Scope } from './scope.ts';
import { interleaveHeads } from './tensor-views.ts';
import { linearRows, row, type TensorRow, type View } from './tensors.ts';

/** Grouped heads: of queries `heads`, of keys and values `kvHeads`. */
export interface HeadSizes {
  readonly hiddenSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Hugging Face's names of the projections, below the layer. */
type Names =
  | { readonly q: string; readonly k: string; readonly v: string; readonly output: string }
  /** One matrix: rows of queries, then of keys, then of values. */
  | { readonly qkv: string; readonly output: string };

const usualNames: Names = {
  q: 'self_attn.q_proj',
  k: 'self_attn.k_proj',
  v: 'self_attn.v_proj',
  output: 'self_attn.o_proj',
};

/** What paged attention is told; `scale` is 1 / sqrt(headDim) if absent. */
type AttendOptions = {
  readonly [Name in 'scale' | 'softCap' | 'window' | 'bidirectional']?: PagedAttentionAttributes[Name] | undefined;
};

type AttentionOptions = HeadSizes &
  AttendOptions & {
    readonly names?: Names;
    /** How Hugging Face's tensors become those of GGUF, where they lie in another order. */
    readonly views?: { readonly qkv?: View; readonly output?: View };
    /** Positions turn queries and keys; without it they are told otherwise. */
    readonly rope?: RopeAttributes;
    /** Of pairs of rotary dimensions in GGUF files, where it is not that of `rope` in folders. */
    readonly ggufPairs?: 'interleaved';
    /** Divide the frequencies, by the length of the context. */
    readonly ropeFactors?: RopeFactors;
    /** RMSNorm of queries and keys before they turn: of each head, or of all heads together. */
    readonly norm?: { readonly of: 'head' | 'all'; readonly epsilon: number; readonly view?: View };
    /** Each head has a logit that takes part in the softmax and has no value. */
    readonly sinks?: boolean;
  };

const sinkLogits = 'attn_sinks.weight';

/** Projections, norms and rotary embedding of queries and keys, attention, and a projection behind. */
export function selfAttention(options: AttentionOptions): Block {
  const { heads, kvHeads, headDim, rope: turns, ropeFactors: factors, norm } = options;
  return {
    key: keyOf('attention', options),
    rows: [
      ...projectionRows(options),
      ...normRows(options),
      ...(factors?.rows ?? []),
      ...(options.sinks ? [row(sinkLogits, 'self_attn.sinks', [heads])] : []),
    ],
    pools: attentionPools(options),
    window: options.window,
    build(l, x) {
      const { b, T } = l;
      const { q, k, v } = project(l, options, x);
      const split = (value: Value, count: number) => b.reshape(value, [T, count, headDim]);
      const normed = (value: Value, count: number, name: string) => {
        if (norm === undefined) return split(value, count);
        return norm.of === 'all'
          ? split(l.rmsNorm(value, name, norm.epsilon), count)
          : l.rmsNorm(split(value, count), name, norm.epsilon);
      };
      const { blocksPerSequence, blockSize } = l.options.limits;
      const divisor = factors?.choose((name) => l.has(name), blocksPerSequence * blockSize);
      const turned = (value: Value) =>
        turns === undefined ? value : rotate(l, value, turns, divisor === undefined ? undefined : l.value(divisor));
      const parts = {
        q: turned(normed(q, heads, 'attn_q_norm')),
        k: turned(normed(k, kvHeads, 'attn_k_norm')),
        v: split(v, kvHeads),
      };
      return l.linear(attend(l, options, parts, options), 'attn_output');
    },
  };
}

function projectionRows(options: AttentionOptions): readonly TensorRow[] {
  const { hiddenSize, heads, kvHeads, headDim, names = usualNames, views, ggufPairs } = options;
  const output = linearRows('attn_output', names.output, [hiddenSize, heads * headDim], { view: views?.output });
  if ('qkv' in names) {
    const rows = (heads + 2 * kvHeads) * headDim;
    return [...linearRows('attn_qkv', names.qkv, [rows, hiddenSize], { view: views?.qkv }), ...output];
  }
  const order = ggufPairs === undefined ? {} : { ggufView: interleaveHeads(headDim) };
  return [
    ...linearRows('attn_q', names.q, [heads * headDim, hiddenSize], order),
    ...linearRows('attn_k', names.k, [kvHeads * headDim, hiddenSize], order),
    ...linearRows('attn_v', names.v, [kvHeads * headDim, hiddenSize]),
    ...output,
  ];
}

function normRows({ heads, kvHeads, headDim, norm }: AttentionOptions): readonly TensorRow[] {
  if (norm === undefined) return [];
  const size = (count: number) => [norm.of === 'all' ? count * headDim : headDim];
  return [
    row('attn_q_norm.weight', 'self_attn.q_norm.weight', size(heads), { view: norm.view }),
    row('attn_k_norm.weight', 'self_attn.k_norm.weight', size(kvHeads), { view: norm.view }),
  ];
}

/** [T, heads * headDim] each. A product of one matrix is cut, the matrix is not. */
function project(l: Scope, { heads, kvHeads, headDim }: HeadSizes, x: Value) {
  if (!l.has('attn_qkv.weight')) {
    return { q: l.linear(x, 'attn_q'), k: l.linear(x, 'attn_k'), v: l.linear(x, 'attn_v') };
  }
  const all = l.linear(x, 'attn_qkv');
  const cut = (from: number, count: number) => l.b.slice(all, 1, from * headDim, (from + count) * headDim);
  return { q: cut(0, heads), k: cut(heads, kvHeads), v: cut(heads + kvHeads, kvHeads) };
}

function attentionPools({ kvHeads, headDim }: HeadSizes): Block['pools'] {
  return { k: [kvHeads, headDim], v: [kvHeads, headDim] };
}

/** Queries or keys [T, heads, headDim] turned by their positions; `factors` divide the frequencies. */
export function rotate(l: Scope, x: Value, attributes: RopeAttributes, factors?: Value): Value {
  return rope(l.b, x, l.value('positions'), attributes, factors);
}

/**
 * Puts `k` and `v` into the pools and attends; the result is [T, heads * headDim], of the values. Attention reads this step's
 * keys and values back from the pools too: what it sees never depends on how a prompt was cut.
 */
export function attend(
  l: Scope,
  { heads, headDim }: Pick<HeadSizes, 'heads' | 'headDim'>,
  { q, k, v }: { readonly q: Value; readonly k: Value; readonly v: Value },
  { scale = 1 / Math.sqrt(headDim), window, softCap, bidirectional }: AttendOptions,
): Value {
  const { b, T } = l;
  const sinks = l.optional(sinkLogits);
  const { limits, kv, numerics } = l.options;
  l.update('k', putKv(b, l.value('k'), l.value('slots'), k, kv));
  l.update('v', putKv(b, l.value('v'), l.value('slots'), v, kv));
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
    ...(bidirectional && { bidirectional }),
    ...(isCoded(kv) && { kv }),
    ...(numerics === 'bf16' ? { numerics } : isCoded(kv) && { numerics: 'i16' as const }),
  });
  return b.reshape(attended, [T, heads * headDim]);
}
