/**
 * Groups that follow a composite which a device runs whole: its kernel runs theirs on every piece of its result that it has made, where
 * the device can do that (`compiler/kernel/piece.ts`). They are one group then, and what only they read of one another needs no memory.
 */
import type { Op, OpOf, Program, Region, Value } from '../ir/program.ts';
import { uses } from '../ir/walk.ts';
import { lowerByDimension, type OpGroup } from './kernel/lower.ts';
import type { Follower } from './kernel/piece.ts';
import type { InPlace } from './state.ts';

/** Whether a device can run these behind the composite, in its launch. */
export type CanFollow = (op: OpOf<'composite'>, followers: readonly Follower[]) => boolean;

/** What follows a composite, and the values that they and it alone have: its result is 0, views of a value are that. */
export interface Following {
  readonly groups: readonly OpGroup[];
  readonly inner: ReadonlyMap<Value, number>;
}

/** A group, or several in one. */
export interface RunGroup extends OpGroup {
  readonly following?: Following;
}

/** The groups of a region, with those that follow composites in these. */
export function follow(
  program: Program,
  region: Region,
  groups: readonly OpGroup[],
  isKernel: (composite: string) => boolean,
  inPlace: InPlace,
  canFollow: CanFollow,
): readonly RunGroup[] {
  const usesOf = uses(region);
  const out: RunGroup[] = [];
  let rest = groups;
  while (rest.length > 0) {
    const [first, ...others] = rest as [OpGroup, ...OpGroup[]];
    const [op] = first.ops;
    const found =
      op?.name === 'composite' && isKernel(op.attributes.name) && op.results.length === 1
        ? followersOf(op, others)
        : undefined;
    out.push(...(found?.passed ?? []), found?.group ?? first);
    rest = found?.rest ?? others;
  }
  return out;

  function followersOf(op: OpOf<'composite'>, others: readonly OpGroup[]) {
    const [result] = op.results;
    const made = new Set<Value>([result]);
    const candidates: OpGroup[] = [];
    const passed: OpGroup[] = [];
    let end = 0;
    for (const [i, group] of others.entries()) {
      const isConstant = group.ops.every((one) => one.name === 'constant' && !inPlace.has(one.results[0]));
      if (isConstant) {
        passed.push(group);
        continue;
      }
      if (!group.inputs.some((value) => made.has(value)) || !(isComputed(group) || isView(group))) break;
      candidates.push(group);
      for (const value of group.outputs) made.add(value);
      end = i + 1;
    }
    const group = joined(op, candidates);
    return group && { group, passed: passed.filter((one) => others.indexOf(one) < end), rest: others.slice(end) };
  }

  /** All of them, if they are all who read the result. */
  function joined(composite: OpOf<'composite'>, groups: readonly OpGroup[]): RunGroup | undefined {
    const ops = new Set<Op>(groups.flatMap((group) => group.ops));
    const views = new Map<Value, Value>(
      groups.filter(isView).flatMap(({ ops: [op] }) => [[op.results[0], op.operands[0]] as const]),
    );
    const isInner = (value: Value): boolean =>
      !inPlace.has(value) &&
      (usesOf.get(value)?.every(({ op }) => {
        if (op === undefined || !ops.has(op)) return false;
        return op.name !== 'reshape' || !views.has(op.results[0]) || isInner(op.results[0]);
      }) ??
        false);
    const [result] = composite.results;
    if (groups.length === 0 || !isInner(result)) return undefined;
    const outputs = groups.flatMap((group) => group.outputs);
    const inner = new Map<Value, number>([[result, 0]]);
    for (const value of outputs) {
      const viewed = views.get(value);
      const known = viewed && inner.get(viewed);
      if (known !== undefined || isInner(value)) inner.set(value, known ?? inner.size);
    }
    const memory = (value: Value): Value => {
      const target = inPlace.get(value) ?? views.get(value);
      return target === undefined ? value : memory(target);
    };
    // Pieces run in any order: nobody reads what another writes, but for inner values.
    const written = groups.map(
      (group) => new Set(group.outputs.filter((value) => !isView(group) && !inner.has(value)).map(memory)),
    );
    const isTouched = (value: Value, of: number) => written.some((values, i) => i !== of && values.has(memory(value)));
    if (composite.operands.some((value) => isTouched(value, -1))) return undefined;
    const followers: Follower[] = [];
    for (const [i, group] of groups.entries()) {
      if (isView(group)) continue;
      if ([...group.inputs, ...group.outputs].some((value) => isTouched(value, i))) return undefined;
      for (const { kernel, args } of lowerByDimension(program, group, memory)) {
        followers.push({ kernel, inner: args.map((arg) => ('value' in arg ? inner.get(arg.value) : undefined)) });
      }
    }
    if (!canFollow(composite, followers)) return undefined;
    return {
      ops: [composite, ...ops],
      inputs: [...new Set([...composite.operands, ...groups.flatMap(({ inputs }) => inputs)])].filter(
        (value) => value !== result && !outputs.includes(value),
      ),
      outputs: outputs.filter((value) => !inner.has(value)),
      following: { groups: groups.filter((group) => !isView(group)), inner },
    };
  }
}

/** Another shape of what it reads. */
function isView({ ops: [op, ...others] }: OpGroup): boolean {
  return op?.name === 'reshape' && others.length === 0;
}

/** Whether a group becomes loops. */
function isComputed({ ops }: OpGroup): boolean {
  return ops.every(({ name }) => {
    switch (name) {
      case 'reshape':
        return ops.length > 1;
      case 'call':
      case 'composite':
      case 'custom_call':
      case 'if':
      case 'case':
      case 'while':
      case 'tuple':
      case 'get_tuple_element':
      case 'after_all':
      case 'optimization_barrier':
        return false;
      default:
        return true;
    }
  });
}
