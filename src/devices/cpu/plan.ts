/** From a program to what the CPU device runs: products over packed weights, everything else as kernels of the loop language. */
import { IngotError } from '../../base/errors.ts';
import { lowerCollectives } from '../../compiler/exchange.ts';
import { hoist } from '../../compiler/hoist.ts';
import { dropDecompositions, inlineComposites } from '../../compiler/inline.ts';
import { joinProducts } from '../../compiler/join-products.ts';
import { type Plan, planProgram } from '../../compiler/kernel/plan.ts';
import { overlapExchanges } from '../../compiler/overlap.ts';
import { simplify } from '../../compiler/simplify.ts';
import type { Program } from '../../ir/program.ts';
import { canFollow, hasKernel, isKernelName } from './composites/table.ts';
import { checkPackedUses, packedValues, raiseProducts } from './weights.ts';

/** @throws IngotError 'UnsupportedOp'. */
export function planForCpu(program: Program): Plan {
  for (const { name, type } of program.results) {
    if (type.kind === 'tuple') {
      throw new IngotError('UnsupportedOp', `result ${name} is a tuple`, { op: 'tuple', device: 'cpu' });
    }
  }
  const raised = raiseProducts(lowerCollectives(program));
  const stored = packedValues(raised);
  const spelled = simplify(dropDecompositions(inlineComposites(raised, (op) => hasKernel(op, stored))));
  const hoisted = hoist(spelled);
  const kept = packedValues(hoisted);
  const joined = joinProducts(hoisted, (op) => hasKernel(op, kept));
  const lowered = simplify(dropDecompositions(joined));
  const packed = packedValues(lowered);
  checkPackedUses(lowered, packed, (op) => op.name === 'composite' && hasKernel(op, packed));
  return planProgram(overlapExchanges(lowered), isKernelName, canFollow);
}
