/** Bodies in the place of calls: of composites that a device has no kernel for, or of every function. */
import type { OpOf, Program } from '../ir/program.ts';
import { rewriteProgram } from '../ir/rewrite.ts';
import { callee } from '../ir/walk.ts';
import { dropUncalled } from './dce.ts';

/** Composites become what their decompositions say, except those that a device keeps. */
export function inlineComposites(program: Program, keep: (composite: OpOf<'composite'>) => boolean): Program {
  return inline(program, (composite) => composite !== undefined && !keep(composite));
}

export function inlineCalls(program: Program): Program {
  return inline(program, (composite) => composite === undefined);
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
