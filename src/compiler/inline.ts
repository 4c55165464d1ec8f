/** Bodies in the place of calls: of composites that a device has no kernel for, or of every function. */
import type { Func, OpOf, Program } from '../ir/program.ts';
import { rewriteProgram } from '../ir/rewrite.ts';
import { callee, walk } from '../ir/walk.ts';
import { dropUncalled } from './dce.ts';

/** Composites become what their decompositions say, except those that a device keeps. */
export function inlineComposites(program: Program, keep: (composite: OpOf<'composite'>) => boolean): Program {
  return inline(program, (composite) => composite !== undefined && !keep(composite));
}

export function inlineCalls(program: Program): Program {
  return inline(program, (composite) => composite === undefined);
}

/**
 * The program without what the composites in it mean, for a device that has kernels for all of them: passes over it would take longer than
 * those over the program. No kernel may write state.
 */
export function dropDecompositions(program: Program): Program {
  const called = new Set<Func>();
  const visit = (func: Func) => {
    if (called.has(func)) return;
    called.add(func);
    for (const op of walk(func)) {
      const found = op.name === 'call' ? callee(program, op) : undefined;
      if (found !== undefined) visit(found);
    }
  };
  visit(program.main);
  return { ...program, functions: new Map([...program.functions].filter(([, func]) => called.has(func))) };
}

/** `wanted` gets the composite, undefined for a call. */
function inline(program: Program, wanted: (composite: OpOf<'composite'> | undefined) => boolean): Program {
  const inlined = rewriteProgram(program, (op, site) => {
    const body = callee(program, op);
    if (body === undefined) return undefined;
    return wanted(op.name === 'composite' ? op : undefined) ? site.inline(body, site.operands) : undefined;
  });
  return dropUncalled(inlined);
}
