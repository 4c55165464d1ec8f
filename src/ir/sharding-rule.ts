/**
 * What splitting an op over ranks means, as Shardy's sharding rules say it (https://openxla.org/shardy/sharding_representation,
 * `OpShardingRule`): an op has factors, each runs along one dimension of some operands and results, and where it is split, all
 * of these are split in the same proportions. A dimension in no factor must be whole on every rank.
 */
import type { Attribute, BinaryOp } from './attributes.ts';

/** A dimension for each operand or result; undefined where the factor does not run along it. */
export type Along = readonly (number | undefined)[];

export interface Factor {
  readonly operands: Along;
  readonly results: Along;
  /** The op folds the factor away: the results of the ranks are parts of a result, to be folded by this. */
  readonly fold?: BinaryOp;
  /** The op must become its decomposition where the factor is split. */
  readonly inline?: boolean;
  /** The operand whose values are indices along the factor; its dimensions lead the results. A rank's other rows are 0. */
  readonly index?: number;
  /** Of the dimension of the first operand or of the other ones, elements that stay together (blocks of a format). */
  readonly units?: Along;
  /** It pays to split at multiples of so many elements of these operands. */
  readonly aligned?: Along;
  /** Operands whose groups of elements belong to one element elsewhere (heads of keys): where there are too few, ranks share. */
  readonly shared?: readonly number[];
  /** The operand is the part of a result's (`part`) or the result one after another of the operands (`joined`). */
  readonly part?: { readonly start: number; readonly limit: number };
  readonly joined?: boolean;
}

export interface ShardingRule {
  readonly factors: readonly Factor[];
  /**
   * Through which operands parts of sums pass: the op gives the same whether it or its operands are summed. `each`: of one of
   * these at a time, as products; `all`: of all of them, as sums.
   */
  readonly linear?: { readonly kind: 'each' | 'all'; readonly operands: readonly number[] };
  /** Operands that lie in blocks of a format: a rank takes of them what was chosen for it, and nothing moves them. */
  readonly fixed?: readonly number[];
  /** An operand of a composite that is added where a fold is done, and the attributes without it: one rank adds it. */
  readonly addend?: { readonly operand: number; readonly without: { readonly [key: string]: Attribute } };
}
