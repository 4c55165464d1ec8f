/** Values that depend on weights and constants alone: the same in every run. */
import { dependsOnProcess } from '../ir/process-groups.ts';
import type { Op, Program, Region, Value } from '../ir/program.ts';
import { callee, reachable, reads } from '../ir/walk.ts';

export function weightsOnly(program: Program): ReadonlySet<Value> {
  const found = new Set<Value>();
  program.parameters.forEach(({ role }, i) => {
    if (role === 'weight') found.add(program.main.parameters[i]);
  });
  /** Parameters of a function are found if every call passes such values: callers come first. */
  const dropped = new Set<Value>();
  const enter = (op: Op) => {
    const func = callee(program, op);
    func?.parameters.forEach((parameter, i) => {
      if (found.has(op.operands[i]) && !dropped.has(parameter)) found.add(parameter);
      else {
        found.delete(parameter);
        dropped.add(parameter);
      }
    });
  };
  const visit = (region: Region) => {
    for (const op of region.body) {
      enter(op);
      op.regions.forEach(visit);
      const isFixed =
        op.name !== 'custom_call' && !dependsOnProcess(op) && [...reads(op)].every((value) => found.has(value));
      if (isFixed) for (const value of op.results) found.add(value);
    }
  };
  for (const func of reachable(program)) visit(func);
  return found;
}
