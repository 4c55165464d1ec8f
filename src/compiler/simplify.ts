/**
 * Folding, algebra, common subexpressions and dead code, in turn until nothing changes. What Ingot's composites mean stays as it is:
 * a device has a kernel instead, or puts it in their place and simplifies all of it together.
 */
import { compositePrefix } from '../composites/composite.ts';
import type { Func, Op, Program, Value } from '../ir/program.ts';
import { rewriteProgram } from '../ir/rewrite.ts';
import { callee, walk } from '../ir/walk.ts';
import { simplifyOp } from './algebra.ts';
import { cse } from './cse.ts';
import { dce, dropUncalled, effects } from './dce.ts';
import { fold } from './fold.ts';
import { stateValues } from './state-values.ts';

/** Each round sees through one more op; what is left after so many is left. */
const rounds = 16;

export function simplify(program: Program): Program {
  const spelled = spelledOut(program);
  const functions = new Map([...program.functions].filter(([, func]) => spelled.has(func)));
  const begun = functions.size === program.functions.size ? program : { ...program, functions };
  let current = begun;
  for (let i = 0; i < rounds; i++) {
    const next = dce(cse(foldAndReduce(current)));
    if (next === current) break;
    current = next;
  }
  if (current === begun) return program;
  return dropUncalled({ ...current, functions: new Map([...program.functions, ...current.functions]) });
}

/** Functions that main reaches other than through composites of Ingot's that have no effect. */
function spelledOut(program: Program): ReadonlySet<Func> {
  const hasEffect = effects(program);
  const isOurs = (op: Op) =>
    op.name === 'composite' && op.attributes.name.startsWith(compositePrefix) && !hasEffect(op);
  const found = new Set<Func>();
  const visit = (func: Func) => {
    if (found.has(func)) return;
    found.add(func);
    for (const op of walk(func)) {
      const called = isOurs(op) ? undefined : callee(program, op);
      if (called !== undefined) visit(called);
    }
  };
  visit(program.main);
  return found;
}

function foldAndReduce(program: Program): Program {
  const state = stateValues(program);
  const kept = new Set<Value>(); // state in the new program
  return rewriteProgram(program, (op, site) => {
    const { operands, b } = site;
    op.operands.forEach((operand, i) => {
      if (state.has(operand)) kept.add(operands[i]);
    });
    const folded = fold(op, operands);
    if (folded !== undefined) return [b.literal(folded)];
    const touchesState = operands.some(
      ({ owner }, i) =>
        kept.has(operands[i]) || (owner.kind === 'op' && owner.operands.some((value) => kept.has(value))),
    );
    return touchesState ? undefined : simplifyOp(op, site);
  });
}
