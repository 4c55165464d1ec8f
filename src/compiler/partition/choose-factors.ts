/** Which factors of an op are split, from how its operands lie: those for which least has to move. */
import type { Op, Value } from '../../ir/program.ts';
import type { Factor, ShardingRule } from '../../ir/sharding-rule.ts';
import { asTensor, maxBytes } from '../../ir/types.ts';
import type { Chosen } from './rules/row.ts';
import { coverSplit, joinSplits, type Layout, type Split, scaleSplit, windowSplit } from './split.ts';

type Splits = Layout['splits'];

interface Scored extends Chosen {
  readonly axes: readonly string[];
  /** Bytes that lie as they are wanted. */
  readonly score: number;
}

/** `wanted`: how results should lie, where it is known. */
export function chooseFactors(
  op: Op,
  rule: ShardingRule,
  operands: readonly Splits[],
  wanted: readonly Splits[],
): readonly Chosen[] {
  const scored = rule.factors
    .flatMap((factor) => bestOf(op, rule, factor, operands, wanted))
    .toSorted((a, b) => b.score - a.score);
  const chosen: Scored[] = [];
  for (const each of scored) {
    const taken = chosen.some(({ axes }) => axes.some((axis) => each.axes.includes(axis)));
    const folds = (factor: Factor) => factor.fold !== undefined;
    // Results are parts of one fold, and rows are taken by one list of indices.
    const clashes = chosen.some(
      ({ factor }) =>
        folds(factor) && folds(each.factor) && (factor.fold !== each.factor.fold || factor.index !== undefined),
    );
    if (!taken && !clashes) chosen.push(each);
  }
  return chosen;
}

function bestOf(
  op: Op,
  { fixed = [] }: ShardingRule,
  factor: Factor,
  operands: readonly Splits[],
  wanted: readonly Splits[],
): Scored[] {
  const own = factor.operands.map((d, i) => (d === undefined ? undefined : operands[i][d]));
  const asked = factor.results.map((d, i) => (d === undefined ? undefined : wanted[i][d]));
  const options = factor.joined ? joined(op, factor, own, asked) : scaled(op, factor, own, asked);
  const scored = options.flatMap((option): Scored[] => {
    if (!isPossible(op, factor, option)) return [];
    if (fixed.some((i) => factor.operands[i] !== undefined && option.operands[i]?.key !== own[i]?.key)) return [];
    const [{ axes }] = [...option.operands, ...option.results].filter((split) => split !== undefined);
    const score = op.operands.reduce((sum, value, i) => {
      const lies = own[i] !== undefined && own[i]?.key === option.operands[i]?.key;
      return lies ? sum + (fixed.includes(i) ? Number.POSITIVE_INFINITY : maxBytes(asTensor(value.type))) : sum;
    }, 0);
    return [{ factor, ...option, axes, score }];
  });
  return scored.toSorted((a, b) => b.score - a.score).slice(0, 1);
}

type Option = Pick<Chosen, 'operands' | 'results'>;

const extent = (value: Value, d: number): number => {
  const dim = asTensor(value.type).shape[d];
  return typeof dim === 'number' ? dim : 0;
};

/** As one of the members lies, or is wanted to. */
function scaled(op: Op, factor: Factor, own: Splits, asked: Splits): Option[] {
  const { shared = [], part } = factor;
  const sources = [
    ...own.map((split, i) => ({ split, value: op.operands[i], d: factor.operands[i], isShared: shared.includes(i) })),
    ...asked.map((split, i) => ({ split, value: op.results[i], d: factor.results[i], isShared: false })),
  ];
  if (part !== undefined) {
    const [split] = own;
    if (split === undefined) return [];
    const results = [windowSplit(split, part.start, part.limit)];
    return results[0] === undefined ? [] : [{ operands: [split], results }];
  }
  return sources.flatMap(({ split, value, d, isShared }): Option[] => {
    if (split === undefined || d === undefined) return [];
    const from = extent(value, d);
    let fits = true;
    const derive = (to: Value, dim: number | undefined, toShared: boolean): Split | undefined => {
      if (dim === undefined) return undefined;
      const size = extent(to, dim);
      const covers = toShared && !isShared;
      if (isShared && !toShared && !split.disjoint) {
        fits = false;
        return undefined;
      }
      const result = covers ? coverSplit(split, from, size) : scaleSplit(split, from, size);
      fits &&= result !== undefined;
      return result;
    };
    const operands = op.operands.map((to, i) => derive(to, factor.operands[i], shared.includes(i)));
    const results = op.results.map((to, i) => derive(to, factor.results[i], false));
    return fits ? [{ operands, results }] : [];
  });
}

/** One after another: each as it lies, or as its place in the result is wanted. */
function joined(op: Op, factor: Factor, own: Splits, [asked]: Splits): Option[] {
  const sizes = op.operands.map((value, i) => extent(value, factor.operands[i] ?? 0));
  const options: Option[] = [];
  const lying = own.filter((split) => split !== undefined);
  const axes = lying.at(0)?.axes.join();
  if (lying.length === own.length && lying.every((split) => split.axes.join() === axes)) {
    const result = joinSplits(lying, sizes);
    if (result !== undefined) options.push({ operands: lying, results: [result] });
  }
  if (asked !== undefined) {
    let start = 0;
    const operands = sizes.map((size) => {
      const split = windowSplit(asked, start, start + size);
      start += size;
      return split;
    });
    if (operands.every((split) => split !== undefined)) options.push({ operands, results: [asked] });
  }
  return options;
}

function isPossible(op: Op, { fold, index, units, operands: dims }: Factor, { operands }: Option): boolean {
  return operands.every((split, i) => {
    if (split === undefined) return true;
    if (fold !== undefined && !split.disjoint) return false;
    if (index !== undefined && !split.contiguous) return false;
    const unit = units?.[i] ?? 1;
    const size = extent(op.operands[i], dims[i] ?? 0);
    const whole = (point: number) => point % unit === 0 || point === size;
    return split.parts.flat().every(({ start, limit }) => whole(start) && whole(limit));
  });
}
