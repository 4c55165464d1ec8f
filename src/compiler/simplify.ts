/** Folding, algebra, common subexpressions and dead code, in turn until nothing changes. */
import type { Program, Value } from '../ir/program.ts';
import { rewriteProgram } from '../ir/rewrite.ts';
import { simplifyOp } from './algebra.ts';
import { cse } from './cse.ts';
import { dce } from './dce.ts';
import { fold } from './fold.ts';
import { stateValues } from './state-values.ts';

/** Each round sees through one more op; what is left after so many is left. */
const rounds = 16;

export function simplify(program: Program): Program {
  let current = program;
  for (let i = 0; i < rounds; i++) {
    const next = dce(cse(foldAndReduce(current)));
    if (next === current) break;
    current = next;
  }
  return current;
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
