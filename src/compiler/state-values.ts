/**
 * Values that may be state under another name or in a newer version. Passes keep their hands off these: to use such a
 * value at a later place than the program does may be to use it after its memory has been written.
 */
import type { Program, Region, Value } from '../ir/program.ts';
import { callee, reachable } from '../ir/walk.ts';

export function stateValues(program: Program): ReadonlySet<Value> {
  const found = new Set<Value>();
  program.parameters.forEach(({ role }, i) => {
    if (role === 'state') found.add(program.main.parameters[i]);
  });
  const spread = (from: Value, to: Value) => {
    if (found.has(from)) found.add(to);
  };
  const visit = (region: Region) => {
    for (const op of region.body) {
      switch (op.name) {
        case 'reshape':
        case 'optimization_barrier':
        case 'dynamic_update_slice':
        case 'scatter':
          op.results.forEach((result, i) => {
            spread(op.operands[i], result);
          });
          break;
        case 'while':
          op.operands.forEach((operand, i) => {
            for (const inner of op.regions) spread(operand, inner.parameters[i]);
            spread(operand, op.results[i]);
          });
          op.regions.forEach(visit);
          break;
        case 'if':
        case 'case':
          for (const inner of op.regions) {
            visit(inner);
            inner.results.forEach((value, i) => {
              spread(value, op.results[i]);
            });
          }
          break;
        case 'call':
        case 'composite': {
          callee(program, op)?.parameters.forEach((parameter, i) => {
            spread(op.operands[i], parameter);
          });
          // Any of its results may be what it was given: callees are visited later, if they are there.
          if (op.operands.some((operand) => found.has(operand))) for (const result of op.results) found.add(result);
          break;
        }
        default:
      }
    }
  };
  for (const func of reachable(program)) visit(func);
  return found;
}
