/**
 * Attention, causal unless it says otherwise, of every token of a step over the keys and values of its sequence, which lie in blocks of shared
 * pools (Kwon et al., https://arxiv.org/abs/2309.06180): prefill, decode and both mixed.
 *
 * Keys are taken in partitions of fixed size at absolute positions; each has its own softmax, and they are merged in
 * ascending order (Milakov and Gimelshein, https://arxiv.org/abs/1805.02867). A partition in which a token sees nothing
 * leaves its bits alone, so they depend neither on the other tokens of the step nor on how a prompt was cut into steps.
 */
import { IngotError } from '../base/errors.ts';
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor, type Dim, formatType } from '../ir/types.ts';
import { type CodedKv, kvDim } from '../numerics/kv-format.ts';
import { codeScores, codeSums, integerQueries } from './code_products.ts';
import { type Composite, emit } from './composite.ts';
import { fromKvRows, kvCodes } from './kv_cache.ts';

export type PagedAttentionAttributes = {
  /** Factor on the dot products. */
  readonly scale: number;
  /** Tokens a block. */
  readonly blockSize: number;
  /** Tokens a partition, a multiple of `blockSize`. */
  readonly partition: number;
  /** A token at position p sees keys above p - window. */
  readonly window?: number;
  /** Tokens see those after them too: all keys of their sequence, which are in the pools when this step runs. */
  readonly bidirectional?: true;
  /** Scores s become softCap * tanh(s / softCap). */
  readonly softCap?: number;
  /** How keys and values are coded in the pools; absent where those are of floats. */
  readonly kv?: CodedKv;
  /**
   * How a fast device may round; `f32` where it is absent. `bf16`: queries, keys, weights and values are rounded to bf16 before
   * they are multiplied, in the order of numerics/dot.ts over 32 dimensions, and over 32 positions from the start of a partition.
   * `i16`, for coded keys and values, is no matter of the device: integers are multiplied, as code_products.ts says.
   */
  readonly numerics?: AttentionNumerics;
};

export type AttentionNumerics = 'bf16' | 'i16';

/** Maximum and sum of the exponentials, weighted sum of the values: a softmax under way. */
interface Softmax {
  readonly max: Value;
  readonly sum: Value;
  readonly values: Value;
}

const names = ['q', 'kPool', 'vPool', 'positions', 'sequence', 'ctxLen', 'blockTable'] as const;

interface Shapes {
  /** T. */
  readonly tokens: Dim;
  readonly heads: number;
  readonly kvHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Blocks that the pools hold. */
  readonly blocks: number;
}

function shapesOf(
  operands: readonly Value[],
  { blockSize, partition, kv, numerics }: PagedAttentionAttributes,
): Shapes {
  const [tokens, heads, keyDim] = asTensor(operands[0].type).shape;
  const [slots, kvHeads, keyLength] = asTensor(operands[1].type).shape;
  const [vSlots, vHeads, valueLength] = asTensor(operands[2].type).shape;
  const numbers =
    typeof heads === 'number' &&
    typeof keyDim === 'number' &&
    typeof slots === 'number' &&
    typeof kvHeads === 'number' &&
    typeof keyLength === 'number' &&
    typeof valueLength === 'number';
  const coded = operands.slice(1, 3).every(({ type }) => asTensor(type).element === 'ui8');
  const dimOf = (length: number) => (kv === undefined ? length : kvDim(kv, length));
  const fits = numbers && dimOf(keyLength) === keyDim && vSlots === slots && vHeads === kvHeads;
  if (!fits || heads % kvHeads !== 0 || coded !== (kv !== undefined)) {
    const types = operands.slice(0, 3).map((value) => formatType(value.type));
    throw new IngotError('InvalidProgram', `paged_attention: q and the pools do not fit: ${types.join(', ')}`);
  }
  if (slots % blockSize !== 0 || partition % blockSize !== 0) {
    throw new IngotError(
      'InvalidProgram',
      `paged_attention: pools of ${slots} slots and partitions of ${partition} are not whole blocks of ${blockSize}`,
    );
  }
  if (numerics === 'i16' && kv === undefined) {
    throw new IngotError('InvalidProgram', 'paged_attention: numerics i16 are for keys and values that are coded');
  }
  return { tokens, heads, kvHeads, keyDim, valueDim: dimOf(valueLength), blocks: slots / blockSize };
}

/** One sequence's blocks: the pools as [blocks, blockSize, Hkv, length], its row of the block table, its length. */
interface Context {
  readonly kPages: Value;
  readonly vPages: Value;
  readonly row: Value;
  readonly length: Value;
}

/** P = `partition` consecutive positions of a context. */
interface Partition {
  /** i32 [P]. */
  readonly positions: Value;
  /** i1 [P]: below the context's length and in a block. */
  readonly stored: Value;
  /** f32 [T, H, P]: the dot products of the queries with the keys. */
  readonly products: Value;
  /** f32 [T, H, Dv]: the sums of the values by `weights` f32 [T, H, P]. */
  sums(weights: Value): Value;
}

/** Multiplies with keys and values as they lie in the pools, rows of `partition` positions. */
interface Products {
  products(b: Builder, keys: Value): Value;
  /** Values are 0 where nothing is stored, since a weight of 0 does not silence what old blocks may hold. */
  sums(b: Builder, weights: Value, values: Value, stored: Value): Value;
}

function productsOf(
  b: Builder,
  q: Value,
  { partition, kv, numerics }: PagedAttentionAttributes,
  { heads, kvHeads, keyDim, valueDim }: Shapes,
): Products {
  if (numerics === 'i16' && kv !== undefined) {
    const queries = integerQueries(b, q, kv);
    return {
      products: (b, keys) => codeScores(b, queries, kvCodes(b, keys, kv)),
      sums(b, weights, values, stored) {
        const { codes, step, minimum } = kvCodes(b, values, kv);
        const kept = (x: Value) =>
          b.select(b.broadcast(stored, [partition, kvHeads], [0]), x, b.full('f32', [partition, kvHeads], 0));
        return codeSums(b, weights, { codes, step: kept(step), minimum: kept(minimum) }, kv);
      },
    };
  }
  const group = heads / kvHeads;
  // One product for each head of K: a batched one would put the heads before T, which must lead.
  const headOf = (b: Builder, x: Value, h: number, size: number) => b.slice(x, 1, h * size, (h + 1) * size);
  const perHead = (b: Builder, product: (h: number) => Value) =>
    b.concatenate(
      Array.from({ length: kvHeads }, (_, h) => product(h)),
      1,
    );
  return {
    products(b, keys) {
      const k = fromKvRows(b, keys, kv);
      return perHead(b, (h) =>
        b.dot(headOf(b, q, h, group), b.reshape(headOf(b, k, h, 1), [partition, keyDim]), { contract: [[2, 1]] }),
      );
    },
    sums(b, weights, values, stored) {
      const shape = [partition, kvHeads, valueDim];
      const v = b.select(b.broadcast(stored, shape, [0]), fromKvRows(b, values, kv), b.full('f32', shape, 0));
      return perHead(b, (h) =>
        b.dot(headOf(b, weights, h, group), b.reshape(headOf(b, v, h, 1), [partition, valueDim]), {
          contract: [[2, 0]],
        }),
      );
    },
  };
}

function load(
  b: Builder,
  { kPages, vPages, row, length }: Context,
  start: Value,
  { blockSize, partition }: PagedAttentionAttributes,
  { kvHeads }: Shapes,
  products: Products,
): Partition {
  const count = partition / blockSize;
  const firstBlock = b.divide(start, b.scalar('i32', blockSize));
  const [ids] = b.op('dynamic_slice', [row, firstBlock], { slice_sizes: [count] });
  const rows = (pages: Value) => {
    const { shape } = asTensor(pages.type);
    return b.reshape(b.take(pages, ids), [partition, kvHeads, shape[3]]);
  };
  const positions = b.add(b.iota('i32', [partition], 0), b.broadcast(start, [partition]));
  const inBlock = b.broadcast(b.compare('GE', ids, b.full('i32', [count], 0)), [count, blockSize], [0]);
  const stored = b.and(b.reshape(inBlock, [partition]), b.compare('LT', positions, b.broadcast(length, [partition])));
  const values = rows(vPages);
  return {
    positions,
    stored,
    products: products.products(b, rows(kPages)),
    sums: (weights) => products.sums(b, weights, values, stored),
  };
}

/** i1 [T, P]: which keys each token sees; `own` i1 [T] says which tokens are of this sequence. */
function visible(
  b: Builder,
  { positions: keys, stored }: Partition,
  own: Value,
  positions: Value,
  { partition, window, bidirectional }: PagedAttentionAttributes,
  tokens: Dim,
): Value {
  const shape = [tokens, partition];
  const perKey = (x: Value) => b.broadcast(x, shape, [1]);
  const perToken = (x: Value) => b.broadcast(x, shape, [0]);
  const inContext = b.and(perToken(own), perKey(stored));
  const seen = bidirectional ? inContext : b.and(inContext, b.compare('LE', perKey(keys), perToken(positions)));
  if (window === undefined) return seen;
  const horizon = b.subtract(positions, b.full('i32', [tokens], window));
  return b.and(seen, b.compare('GT', perKey(keys), perToken(horizon)));
}

/** Softmax over one partition, `seen` i1 [T, P]. */
function attend(
  b: Builder,
  { products, sums }: Partition,
  seen: Value,
  { scale, softCap, partition }: PagedAttentionAttributes,
  { tokens, heads }: Shapes,
): Softmax {
  const shape = [tokens, heads, partition];
  const scaled = b.multiply(products, b.full('f32', shape, scale));
  const scores =
    softCap === undefined
      ? scaled
      : b.multiply(b.unary('tanh', b.divide(scaled, b.full('f32', shape, softCap))), b.full('f32', shape, softCap));
  const masked = b.select(b.broadcast(seen, shape, [0, 2]), scores, b.full('f32', shape, Number.NEGATIVE_INFINITY));
  const max = b.reduce('maximum', masked, Number.NEGATIVE_INFINITY, [2]);
  const weights = b.exponential(b.subtract(masked, b.broadcast(finite(b, max), shape, [0, 1])));
  const sum = b.reduce('add', weights, 0, [2]);
  return { max, sum, values: sums(weights) };
}

/** 0 in place of -inf, the maximum of nothing: exp(-inf - 0) is 0 where exp(-inf - -inf) is not a number. */
function finite(b: Builder, max: Value): Value {
  const { element, shape } = asTensor(max.type);
  return b.select(
    b.compare('EQ', max, b.full(element, shape, Number.NEGATIVE_INFINITY)),
    b.full(element, shape, 0),
    max,
  );
}

/** Adds `next` to `running`; where `next` has seen no key, `running` keeps its bits. */
function merge(b: Builder, running: Softmax, next: Softmax): Softmax {
  const max = b.maximum(running.max, next.max);
  const origin = finite(b, max);
  const old = b.exponential(b.subtract(running.max, origin));
  const fresh = b.exponential(b.subtract(next.max, origin));
  const { shape } = asTensor(running.values.type);
  const wide = (x: Value) => b.broadcast(x, shape, [0, 1]);
  const sum = b.add(b.multiply(running.sum, old), b.multiply(next.sum, fresh));
  const values = b.add(b.multiply(running.values, wide(old)), b.multiply(next.values, wide(fresh)));
  const nothing = b.full('f32', asTensor(max.type).shape, Number.NEGATIVE_INFINITY);
  const some = b.compare('NE', next.max, nothing);
  return {
    max,
    sum: b.select(some, sum, running.sum),
    values: b.select(wide(some), values, running.values),
  };
}

export const pagedAttentionComposite: Composite<PagedAttentionAttributes> = {
  name: 'paged_attention',
  decompose(b, operands, attributes) {
    const shapes = shapesOf(operands, attributes);
    const { tokens, heads, kvHeads, valueDim, blocks } = shapes;
    const { blockSize, partition } = attributes;
    const [, kPool, vPool, positions, sequence, ctxLen, blockTable, sinks] = operands;
    const products = productsOf(b, b.convert(operands[0], 'f32'), attributes, shapes);
    const pages = (pool: Value) => b.reshape(pool, [blocks, blockSize, kvHeads, asTensor(pool.type).shape[2]]);
    const kPages = pages(kPool);
    const vPages = pages(vPool);
    // The table in whole partitions.
    const perPartition = partition / blockSize;
    const [sequences, columns] = asTensor(blockTable.type).shape;
    if (typeof columns !== 'number') throw new IngotError('InvalidProgram', 'paged_attention: blockTable has no width');
    const missing = (perPartition - (columns % perPartition)) % perPartition;
    const table = missing === 0 ? blockTable : b.concatenate([blockTable, b.full('i32', [sequences, missing], -1)], 1);

    const last = b.reduce('maximum', sequence, -1, [0]);
    const empty = [
      b.full('f32', [tokens, heads], Number.NEGATIVE_INFINITY),
      b.full('f32', [tokens, heads], 0),
      b.full('f32', [tokens, heads, valueDim], 0),
    ];
    // Sequence by sequence, each for all tokens of the step: its keys are gathered once, not once a token.
    const [, ...merged] = b.while(
      [b.scalar('i32', 0), ...empty],
      (c, s) => c.compare('LE', s, last),
      (body, s, ...before) => {
        const context: Context = { kPages, vPages, row: body.take(table, s), length: body.take(ctxLen, s) };
        const own = body.compare('EQ', sequence, body.broadcast(s, [tokens]));
        const [, ...after] = body.while(
          [body.scalar('i32', 0), ...before],
          (c, start) => c.compare('LT', start, context.length),
          (inner, start, max, sum, values) => {
            const part = load(inner, context, start, attributes, shapes, products);
            const seen = visible(inner, part, own, positions, attributes, tokens);
            const next = merge(inner, { max, sum, values }, attend(inner, part, seen, attributes, shapes));
            return [inner.add(start, inner.scalar('i32', partition)), next.max, next.sum, next.values];
          },
        );
        return [body.add(s, body.scalar('i32', 1)), ...after];
      },
    );
    const running: Softmax = { max: merged[0], sum: merged[1], values: merged[2] };
    return [output(b, running, sinks)];
  },
  sharding(operands, attributes) {
    const { heads, kvHeads } = shapesOf(operands, attributes);
    const optional = operands.slice(names.length);
    const [tokens, other] = [0, undefined];
    return {
      factors: [
        { operands: [tokens, other, other, 0, 0, other, other, ...optional.map(() => other)], results: [0] },
        {
          operands: [1, 1, 1, other, other, other, other, ...optional.map(() => 0)],
          results: [1],
          ...(heads !== kvHeads && { shared: [1, 2] }),
        },
      ],
    };
  },
};

/** The weighted mean of the values; a sink [H] is one more score that has no value. Tokens that see nothing give 0. */
function output(b: Builder, running: Softmax, sinks: Value | undefined): Value {
  const { shape } = asTensor(running.max.type);
  const { shape: wide } = asTensor(running.values.type);
  let { sum, values } = running;
  if (sinks !== undefined) {
    const sink = b.broadcast(b.convert(sinks, 'f32'), shape, [1]);
    ({ sum, values } = merge(b, running, {
      max: sink,
      sum: b.full('f32', shape, 1),
      values: b.full('f32', wide, 0),
    }));
  }
  const one = b.full('f32', shape, 1);
  const inverse = b.divide(one, b.select(b.compare('EQ', sum, b.full('f32', shape, 0)), one, sum));
  return b.multiply(values, b.broadcast(inverse, wide, [0, 1]));
}

/** `positions`, `sequence`, `ctxLen` and `blockTable` are the step descriptor's (`step.ts`). */
export interface PagedAttentionOperands extends Readonly<Record<(typeof names)[number], Value>> {
  /** Logits [H] that take part in the softmax and have no value. */
  readonly sinks?: Value;
}

/**
 * `q` [T, H, D], `kPool` [slots, Hkv, D], `vPool` [slots, Hkv, Dv] of any float type, or coded, this step's keys and values
 * already in them; H is a multiple of Hkv. The result is f32 [T, H, Dv].
 */
export function pagedAttention(
  b: Builder,
  operands: PagedAttentionOperands,
  {
    partition = 256,
    window,
    softCap,
    bidirectional,
    kv,
    numerics,
    ...attributes
  }: Omit<PagedAttentionAttributes, 'partition'> & { readonly partition?: number },
): Value {
  const values = names.map((name) => operands[name]);
  if (operands.sinks !== undefined) values.push(operands.sinks);
  return emit(b, pagedAttentionComposite, values, {
    ...attributes,
    partition,
    ...(window !== undefined && { window }),
    ...(softCap !== undefined && { softCap }),
    ...(bidirectional && { bidirectional }),
    ...(kv !== undefined && { kv }),
    ...(numerics !== undefined && { numerics }),
  })[0];
}
