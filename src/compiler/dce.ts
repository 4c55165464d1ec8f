/** Dead code elimination: ops whose results nobody needs, and functions that nobody calls. */

import { isCollective } from '../ir/process-groups.ts';
import type { Op, Program, Region, Value } from '../ir/program.ts';
import { rewriteProgram } from '../ir/rewrite.ts';
import { callee, reachable } from '../ir/walk.ts';

export function dce(program: Program): Program {
  const needed = new Set<Op>();
  const hasEffect = effects(program);
  let unneeded = false;
  const need = (value: Value) => {
    if (value.owner.kind === 'op') needed.add(value.owner);
  };
  const visit = (region: Region) => {
    region.results.forEach(need);
    for (const op of region.body.toReversed()) {
      if (!needed.has(op) && !hasEffect(op)) {
        unneeded = true;
        continue;
      }
      needed.add(op);
      op.operands.forEach(need);
      op.regions.forEach(visit);
    }
  };
  reachable(program).forEach(visit);
  const called = dropUncalled(program);
  return unneeded ? rewriteProgram(called, (op) => (needed.has(op) ? undefined : [])) : called;
}

/** The program without the functions that nobody calls. */
export function dropUncalled(program: Program): Program {
  const called = new Set(reachable(program));
  const kept = new Map([...program.functions].filter(([, func]) => called.has(func)));
  return kept.size === program.functions.size ? program : { ...program, functions: kept };
}

/** An effect of the op itself, on what is outside of the process. */
export function hasSideEffect(op: Op): boolean {
  return op.name === 'custom_call' && op.attributes.has_side_effect;
}

/** Whether an op does more than give results: by itself, as `own` says, or by what it calls. */
export function effects(
  program: Program,
  own = (op: Op) => hasSideEffect(op) || isCollective(op),
): (op: Op) => boolean {
  const known = new Map<Region, boolean>();
  const inside = (region: Region): boolean => {
    let found = known.get(region);
    if (found === undefined) {
      found = region.body.some(hasEffect);
      known.set(region, found);
    }
    return found;
  };
  const hasEffect = (op: Op): boolean => {
    if (own(op)) return true;
    const called = callee(program, op);
    return op.regions.some(inside) || (called !== undefined && inside(called));
  };
  return hasEffect;
}
