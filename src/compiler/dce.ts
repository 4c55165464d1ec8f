/** Dead code elimination: ops whose results nobody needs, and functions that nobody calls. */
import type { Op, Program, Region, Value } from '../ir/program.ts';
import { rewriteProgram } from '../ir/rewrite.ts';
import { callee, reachable, walk } from '../ir/walk.ts';

export function dce(program: Program): Program {
  const needed = new Set<Op>();
  const need = (value: Value) => {
    if (value.owner.kind === 'op') needed.add(value.owner);
  };
  const visit = (region: Region) => {
    region.results.forEach(need);
    for (const op of region.body.toReversed()) {
      if (!needed.has(op) && !hasEffect(program, op)) continue;
      needed.add(op);
      op.operands.forEach(need);
      op.regions.forEach(visit);
    }
  };
  reachable(program).forEach(visit);
  return rewriteProgram(dropUncalled(program), (op) => (needed.has(op) ? undefined : []));
}

/** The program without the functions that nobody calls. */
export function dropUncalled(program: Program): Program {
  const called = new Set(reachable(program));
  const kept = new Map([...program.functions].filter(([, func]) => called.has(func)));
  return kept.size === program.functions.size ? program : { ...program, functions: kept };
}

function hasEffect(program: Program, op: Op): boolean {
  if (op.name === 'custom_call') return op.attributes.has_side_effect;
  const inner = op.regions.flatMap((region) => [...walk(region)]);
  const called = callee(program, op);
  const body = called === undefined ? inner : [...inner, ...walk(called)];
  return body.some((nested) => hasEffect(program, nested));
}
