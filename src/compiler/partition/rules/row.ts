/** What the table of rules says of an op: its factors, and how a rank computes its part where that is not the same op. */
import type { OpName } from '../../../ir/attributes.ts';
import type { Builder } from '../../../ir/build.ts';
import type { OpOf, Region, Value } from '../../../ir/program.ts';
import type { Along, Factor, ShardingRule } from '../../../ir/sharding-rule.ts';
import { asTensor, type Dim, type Type } from '../../../ir/types.ts';
import type { Place, Split } from '../split.ts';

/** A factor that is split, and how that splits the dimensions it runs along. */
export interface Chosen {
  readonly factor: Factor;
  readonly operands: readonly (Split | undefined)[];
  readonly results: readonly (Split | undefined)[];
}

/** An op of the whole program where a rank's part of it is made. */
export interface LocalSite<N extends OpName> {
  readonly op: OpOf<N>;
  /** The rank's parts of the operands, split as the chosen factors say. */
  readonly operands: readonly Value[];
  readonly chosen: readonly Chosen[];
  /** Of the rank's parts of the results. */
  readonly types: readonly Type[];
  readonly place: Place;
  /** Copies of the op's. */
  readonly regions: readonly Region[];
  readonly b: Builder;
}

export interface PartitionRow<N extends OpName> {
  rule(op: OpOf<N>): ShardingRule;
  local?(site: LocalSite<N>): readonly Value[];
}

export type PartitionRows<N extends OpName> = { readonly [K in N]: PartitionRow<K> };

/** Nothing can be split. */
export const whole: { rule(): ShardingRule } = { rule: () => ({ factors: [] }) };

export function shapeOf(value: Value): readonly Dim[] {
  return asTensor(value.type).shape;
}

export function rankOf(value: Value): number {
  return shapeOf(value).length;
}

/** The numbers of its dimensions. */
export function dims(value: Value): readonly number[] {
  return [...shapeOf(value).keys()];
}

/** `at` of the operands or results that have a dimension, undefined for the others. */
export function along(count: number, at: (i: number) => number | undefined): Along {
  return Array.from({ length: count }, (_, i) => at(i));
}

/** The split of dimension `d` of an operand. */
export function operandSplit(chosen: readonly Chosen[], operand: number, d: number): Split | undefined {
  return chosen.find(({ factor }) => factor.operands[operand] === d)?.operands[operand];
}

export function resultSplit(chosen: readonly Chosen[], result: number, d: number): Split | undefined {
  return chosen.find(({ factor }) => factor.results[result] === d)?.results[result];
}
