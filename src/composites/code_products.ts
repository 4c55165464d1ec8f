/**
 * Numerics `i16` of attention over coded keys and values: queries, and weights times the steps of their values, become integers of 16 bits with
 * a scale, and are multiplied with the codes as they lie. Sums of integers are exact, so that any order and any instructions give the same.
 *
 *   score = (f32(sum of query * code) * step + f32(sum of query) * minimum) * scale of the query
 *   values = sum over tiles of 16 positions, ascending, of f32(sum of weight * code) * scale of the tile, and then + sum of weight * minimum
 *
 * A query has a scale for each token and head, weights have one more for each tile, so that it depends on nothing that a token does not see: what
 * is unseen has a weight of 0. Scales are those of activations (numerics/dot.ts) but for their levels.
 */
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor, type Dim } from '../ir/types.ts';
import { type CodedKv, codeFactorLevels } from '../numerics/kv-format.ts';
import type { KvCodes } from './kv_cache.ts';

/** Positions whose weights share a scale. */
const TILE = 16;

/** `largest / levels`, not a number where that is not finite and 0 where it is subnormal; and what a number is multiplied with to be one of levels. */
function scaleOf(b: Builder, largest: Value, levels: number): { readonly scale: Value; readonly inverse: Value } {
  const { shape } = asTensor(largest.type);
  const full = (value: number) => b.full('f32', shape, value);
  const exact = b.divide(largest, full(levels));
  const finite = b.compare('LT', exact, full(Number.POSITIVE_INFINITY));
  const normal = b.and(finite, b.compare('GE', exact, full(2 ** -126)));
  const nothing = b.select(finite, full(0), full(Number.NaN));
  return {
    scale: b.select(normal, exact, nothing),
    inverse: b.select(normal, b.divide(full(1), exact), full(0)),
  };
}

const nearest = (b: Builder, x: Value) => b.convert(b.unary('round_nearest_even', x), 'i32');

/** f32 [T, H, D] as integers, their sums and scales. */
export interface IntegerQueries {
  /** i32 [T, H, D]. */
  readonly levels: Value;
  /** f32 [T, H]. */
  readonly sum: Value;
  readonly scale: Value;
}

export function integerQueries(b: Builder, q: Value, format: CodedKv): IntegerQueries {
  const { shape } = asTensor(q.type);
  const largest = b.reduce('maximum', b.unary('abs', q), 0, [2]);
  const { scale, inverse } = scaleOf(b, largest, codeFactorLevels(format, shape[2] as number));
  const levels = nearest(b, b.multiply(q, b.broadcast(inverse, shape, [0, 1])));
  return { levels, sum: b.convert(b.reduce('add', levels, 0, [2]), 'f32'), scale };
}

/** f32 [T, H, P]: the products with P keys of each head of the pools. */
export function codeScores(b: Builder, { levels, sum, scale }: IntegerQueries, keys: KvCodes): Value {
  const [T, H] = asTensor(levels.type).shape;
  const { group, perHead, of } = headsOf(b, H as number, keys);
  const P = of.positions;
  const sums = perHead((h) =>
    b.dot(b.slice(levels, 1, h * group, (h + 1) * group), of.codes(h), { contract: [[2, 1]] }),
  );
  const shape = [T, H, P];
  // f32 [P, Hkv] to all queries.
  const ofKeys = (x: Value) => perHead((h) => b.broadcast(of.column(x, h), [T, group, P], [2]));
  const ofQueries = (x: Value) => b.broadcast(x, shape, [0, 1]);
  const codes = b.multiply(b.convert(sums, 'f32'), ofKeys(keys.step));
  return b.multiply(b.add(codes, b.multiply(ofQueries(sum), ofKeys(keys.minimum))), ofQueries(scale));
}

/** f32 [T, H, Dv]: the sums of P values by `weights` [T, H, P]; steps and minima of what is not stored are 0. */
export function codeSums(b: Builder, weights: Value, values: KvCodes, format: CodedKv): Value {
  const [T, H, P] = asTensor(weights.type).shape as readonly [Dim, number, number];
  const { group, perHead, of } = headsOf(b, H, values);
  const ofPositions = (x: Value) => perHead((h) => b.broadcast(of.column(x, h), [T, group, P], [2]));
  const tiles = Math.ceil(P / TILE);
  // Every tile by itself in a row of all positions.
  const apart = [T, H, tiles, P];
  const tile = b.divide(b.iota('i32', apart, 3), b.full('i32', apart, TILE));
  const inTile = b.compare('EQ', tile, b.iota('i32', apart, 2));
  const steps = b.broadcast(b.multiply(weights, ofPositions(values.step)), apart, [0, 1, 3]);
  const own = b.select(inTile, steps, b.full('f32', apart, 0));
  const largest = b.reduce('maximum', b.unary('abs', own), 0, [3]);
  const { scale, inverse } = scaleOf(b, largest, codeFactorLevels(format, TILE));
  const levels = nearest(b, b.multiply(own, b.broadcast(inverse, apart, [0, 1, 2])));
  const sums = perHead((h) =>
    b.dot(b.slice(levels, 1, h * group, (h + 1) * group), of.codes(h), { contract: [[3, 0]] }),
  );
  const products = b.dot(b.convert(sums, 'f32'), scale, {
    batch: [
      [0, 0],
      [1, 1],
    ],
    contract: [[2, 2]],
  });
  const minima = b.reduce('add', b.multiply(weights, ofPositions(values.minimum)), 0, [2]);
  return b.add(products, b.broadcast(minima, asTensor(products.type).shape, [0, 1]));
}

/** Heads of queries by the heads of the pools that they share: one product for each of these, since T must lead. */
function headsOf(b: Builder, heads: number, { codes }: KvCodes) {
  const [positions, kvHeads, dim] = asTensor(codes.type).shape as readonly number[];
  const perHead = (part: (h: number) => Value) =>
    b.concatenate(
      Array.from({ length: kvHeads }, (_, h) => part(h)),
      1,
    );
  return {
    group: heads / kvHeads,
    perHead,
    of: {
      positions,
      /** i32 [P, D]. */
      codes: (h: number) => b.reshape(b.convert(b.slice(codes, 1, h, h + 1), 'i32'), [positions, dim]),
      /** [P] of [P, Hkv]. */
      column: (x: Value, h: number) => b.reshape(b.slice(x, 1, h, h + 1), [positions]),
    },
  };
}
