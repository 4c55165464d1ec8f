/** How every op is split over ranks, one row each. A name missing here does not compile. */
import { compositePrefix } from '../../../composites/composite.ts';
import { composites } from '../../../composites/table.ts';
import type { Attribute, OpName } from '../../../ir/attributes.ts';
import type { Op, Value } from '../../../ir/program.ts';
import type { ShardingRule } from '../../../ir/sharding-rule.ts';
import { collective } from './collective.ts';
import { control } from './control.ts';
import { elementwise } from './elementwise.ts';
import { reduction } from './reduction.ts';
import type { LocalSite, PartitionRow, PartitionRows } from './row.ts';
import { shape } from './shape.ts';

const rows: PartitionRows<OpName> = { ...elementwise, ...shape, ...reduction, ...control, ...collective };

type KnownComposite = (typeof composites)[keyof typeof composites];

/** The composite's row, if it is one of ours that says how it is split; any other is split as its decomposition is. */
export function knownComposite(op: Op): KnownComposite | undefined {
  if (op.name !== 'composite' || !op.attributes.name.startsWith(compositePrefix)) return undefined;
  const name = op.attributes.name.slice(compositePrefix.length);
  return Object.hasOwn(composites, name) ? composites[name as keyof typeof composites] : undefined;
}

const rules = new WeakMap<Op, ShardingRule>();

export function ruleOf(op: Op): ShardingRule {
  let rule = rules.get(op);
  if (rule === undefined) {
    rule = makeRule(op);
    rules.set(op, rule);
  }
  return rule;
}

function makeRule(op: Op): ShardingRule {
  if (op.name !== 'composite') return rowOf(op.name).rule(op as never);
  const known = knownComposite(op);
  if (known === undefined) return { factors: [] };
  // One table for all names: the row and its attributes agree by the name.
  const sharding = known.sharding as (
    operands: Op['operands'],
    attributes: { [key: string]: Attribute },
  ) => ShardingRule;
  return sharding(op.operands, op.attributes.composite_attributes);
}

function rowOf<N extends OpName>(name: N): PartitionRow<N> {
  return rows[name] as unknown as PartitionRow<N>;
}

/** A rank's part of an op that is no composite and has no regions that see values from around them. */
export function emitLocal<N extends OpName>(site: LocalSite<N>): readonly Value[] {
  const { op, operands, types, regions, b } = site;
  return rowOf(op.name).local?.(site) ?? b.op(op.name, operands, op.attributes, { types, regions });
}
