/**
 * Short sums over ranks that do not wait for each other become one, for which ranks meet once: the later ones are made where the first is, with
 * what they need. All ranks join the same, since their programs differ in sizes and constants only.
 */
import type { BinaryOp } from '../../ir/attributes.ts';
import { plainFold } from '../../ir/plain-fold.ts';
import type { Op, OpOf, Program, Region, Value } from '../../ir/program.ts';
import { rewriteProgram } from '../../ir/rewrite.ts';
import { asTensor, maxBytes, sameType, type TensorType } from '../../ir/types.ts';
import { reachable, reads, walk } from '../../ir/walk.ts';
import { joinedBytes, usualLink } from '../cost.ts';
import { effects, hasSideEffect } from '../dce.ts';
import { stateValues } from '../state-values.ts';
import { foldRegion } from './reshard.ts';

type Sum = OpOf<'all_reduce'>;

export function joinSums(program: Program): Program {
  const hasEffect = effects(program);
  /** Of more than ranks that meet. */
  const isSeen = effects(program, hasSideEffect);
  const state = versionsOfState(program);
  /** What reads a state may be what updates it. */
  const isFixed = (op: Op) => hasEffect(op) || [...reads(op)].some((value) => state.has(value));
  /** By the first of some sums, which stand behind it. */
  const joined = new Map<Op, { readonly by: BinaryOp; readonly all: readonly Sum[] }>();

  const ordered = <R extends Region>(region: R): R => {
    const body = region.body.map((op): Op => {
      const regions = op.regions.map(ordered);
      return regions.some((inner, i) => inner !== op.regions[i]) ? ({ ...op, regions } as Op) : op;
    });
    for (let from = 0; from < body.length; from++) {
      const sum = body[from];
      const by = isSum(sum) ? plainFold(sum.regions[0]) : undefined;
      if (!isSum(sum) || by === undefined) continue;
      const all = [sum];
      for (let at = from + 1; at < body.length && !isSeen(body[at]); at++) {
        const other = body[at];
        if (!isSum(other) || !canJoin(sum, other) || bytesOf([...all, other]) > joinedBytes(usualLink)) continue;
        const needed = neededFor(other, body.slice(from, at));
        if (needed.some(isFixed)) continue;
        const between = body.slice(from + all.length, at).filter((op) => !needed.includes(op));
        all.push(other);
        body.splice(from, at + 1 - from, ...needed, ...all, ...between);
        from += needed.length;
      }
      if (all.length > 1) joined.set(sum, { by, all });
      from += all.length - 1;
    }
    return body.every((op, i) => op === region.body[i]) ? region : { ...region, body };
  };

  const main = ordered(program.main);
  const functions = new Map([...program.functions].map(([name, func]) => [name, ordered(func)]));
  const made = new Map<Op, readonly Value[]>();
  return rewriteProgram({ ...program, main, functions }, (op, { b, map }) => {
    const sums = joined.get(op);
    if (sums === undefined) return made.get(op);
    const { by, all } = sums;
    const values = all.flatMap(({ operands }) => operands.map(map));
    const regions = [foldRegion(b, by, asTensor(values[0].type))];
    const results = b.op('all_reduce', values, all[0].attributes, { regions });
    let at = 0;
    for (const sum of all) {
      made.set(sum, results.slice(at, at + sum.results.length));
      at += sum.results.length;
    }
    return made.get(op);
  });
}

const isSum = (op: Op): op is Sum => op.name === 'all_reduce';
const bytesOf = (sums: readonly Sum[]) =>
  sums.flatMap(({ operands }) => operands).reduce((sum, { type }) => sum + maxBytes(asTensor(type)), 0);

/**
 * States, and what may be a newer version of one in its memory. Of all that a call gives, which takes a state, that is what has the elements and
 * the symbolic dimension of one: of those every rank says the same, where sizes differ.
 */
function versionsOfState(program: Program): ReadonlySet<Value> {
  const states = program.parameters.filter(({ role }) => role === 'state').map(({ type }) => likeness(type));
  const versions = new Set(
    [...stateValues(program)].filter(({ type }) => {
      return type.kind !== 'tensor' || states.includes(likeness(type));
    }),
  );
  for (const func of reachable(program)) {
    for (const op of walk(func)) {
      const types = op.operands.filter((value) => versions.has(value)).map(({ type }) => type);
      for (const value of op.results) if (types.some((type) => sameType(type, value.type))) versions.add(value);
    }
  }
  return versions;
}

/** What a type keeps in another shape. */
function likeness({ element, shape }: TensorType): string {
  return `${element} ${shape.map((dim) => (typeof dim === 'number' ? '' : dim.sym)).join('')}`;
}

/** The same is made of what they take, by the same ranks. */
function canJoin(sum: Sum, other: Sum): boolean {
  const says = ({ operands, attributes }: Sum) => JSON.stringify([asTensor(operands[0].type).element, attributes]);
  return plainFold(sum.regions[0]) === plainFold(other.regions[0]) && says(sum) === says(other);
}

/** Of ops in front of it, in their order. */
function neededFor(op: Op, before: readonly Op[]): readonly Op[] {
  const wanted = new Set(reads(op));
  const needed = before.toReversed().filter(({ results }, i, all) => {
    const isNeeded = results.some((value) => wanted.has(value));
    if (isNeeded) for (const value of reads(all[i])) wanted.add(value);
    return isNeeded;
  });
  return needed.toReversed();
}
