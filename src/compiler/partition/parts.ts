/**
 * Sums of which ranks have parts: how long they are put off. Parts pass through what is linear, so that one fold does for several,
 * and for as few bytes as may be.
 */
import type { Op, Region, Value } from '../../ir/program.ts';
import type { ShardingRule } from '../../ir/sharding-rule.ts';
import { asTensor, maxBytes } from '../../ir/types.ts';
import { type Use, uses } from '../../ir/walk.ts';
import type { Chosen } from './rules/row.ts';
import { ruleOf } from './rules/table.ts';
import type { Layout, Partial } from './split.ts';

export interface Passed {
  /** Operands whose parts are passed on, not summed first. */
  readonly operands: readonly number[];
  /** What the result is parts of then. */
  readonly partial?: Partial;
}

const nothing: Passed = { operands: [] };

export class Parts {
  readonly #seen = new Set<Region>();
  readonly #uses = new Map<Value, readonly Use[]>();

  /** A function whose values will be asked about. */
  see(func: Region): void {
    if (this.#seen.has(func)) return;
    this.#seen.add(func);
    for (const [value, list] of uses(func)) this.#uses.set(value, list);
  }

  passed(op: Op, { linear }: ShardingRule, chosen: readonly Chosen[], layouts: readonly Layout[]): Passed {
    const operands = [...layouts.keys()].filter((i) => layouts[i].partial !== undefined);
    const [first] = operands;
    if (linear === undefined || first === undefined || op.results.length !== 1) return nothing;
    const { partial } = layouts[first];
    if (partial?.by !== 'add' || !operands.every((i) => linear.operands.includes(i))) return nothing;
    const same = operands.every((i) => layouts[i].partial?.axes.join() === partial.axes.join());
    const clash = chosen.some(
      ({ factor, ...split }) =>
        (factor.fold !== undefined && factor.fold !== 'add') ||
        [...split.operands, ...split.results].some((each) => each?.axes.some((axis) => partial.axes.includes(axis))),
    );
    const lie = operands.every((i) =>
      layouts[i].splits.every(
        (split, d) => split?.key === chosen.find(({ factor }) => factor.operands[i] === d)?.operands[i]?.key,
      ),
    );
    if (!same || clash || !lie || !operands.every((i) => this.#usesOf(op.operands[i]).length === 1)) return nothing;
    const [result] = op.results;
    if (bytesOf(result) > bytesOf(op.operands[first])) return nothing;
    const all = operands.length === op.operands.length || (op.name === 'add' && this.#shrinks(result));
    return (linear.kind === 'each' ? operands.length === 1 : all) ? { operands, partial } : nothing;
  }

  /** Nothing will make less of the parts before they are folded. */
  isFoldedNext(value: Value): boolean {
    const all = this.#usesOf(value);
    const isAdded = all.some(({ op }) => op === undefined || ruleOf(op).linear?.kind === 'all');
    return !isAdded && !this.#shrinks(value);
  }

  /** It is used once, by an op that passes its parts on in fewer bytes. */
  #shrinks(value: Value): boolean {
    const [use, ...others] = this.#usesOf(value);
    if (use?.op === undefined || others.length > 0) return false;
    const { linear } = ruleOf(use.op);
    return (
      linear?.kind === 'each' && linear.operands.includes(use.index) && bytesOf(use.op.results[0]) < bytesOf(value)
    );
  }

  #usesOf(value: Value): readonly Use[] {
    return this.#uses.get(value) ?? [];
  }
}

function bytesOf({ type }: Value): number {
  return maxBytes(asTensor(type));
}
