/** Rules of ops that work on each element alone: every dimension is a factor of its own. */
import type { BinaryOp, UnaryOp } from '../../../ir/attributes.ts';
import { elementwise as rows } from '../../../ir/ops/elementwise.ts';
import type { Op } from '../../../ir/program.ts';
import type { ShardingRule } from '../../../ir/sharding-rule.ts';
import { along, type PartitionRow, type PartitionRows, rankOf } from './row.ts';

type Elementwise = keyof typeof rows;

/** Scalars beside tensors (a predicate, bounds) are whole. */
export function elementwiseRule(op: Op): ShardingRule {
  const rank = Math.min(...op.results.map(rankOf), ...op.operands.map(rankOf).filter((each) => each > 0));
  return {
    factors: Array.from({ length: rank }, (_, d) => ({
      operands: along(op.operands.length, (i) => (rankOf(op.operands[i]) === 0 ? undefined : d)),
      results: along(op.results.length, () => d),
    })),
  };
}

/** Sums of parts are parts of the sums; a product with a part is a part of the product. */
const linear: { readonly [N in Elementwise]?: ShardingRule['linear'] } = {
  add: { kind: 'all', operands: [0, 1] },
  multiply: { kind: 'each', operands: [0, 1] },
  divide: { kind: 'each', operands: [0] },
  negate: { kind: 'each', operands: [0] },
};

const names = Object.keys(rows) as readonly Elementwise[];

export const elementwise = Object.fromEntries(
  names.map((name): [Elementwise, PartitionRow<BinaryOp | UnaryOp>] => {
    const passes = linear[name];
    return [name, { rule: (op) => ({ ...elementwiseRule(op as Op), ...(passes && { linear: passes }) }) }];
  }),
) as unknown as PartitionRows<Elementwise>;
