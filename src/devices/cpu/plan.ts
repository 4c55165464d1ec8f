/** From a program to what the CPU device runs: products over packed weights, everything else as kernels of the loop language. */
import { IngotError } from '../../base/errors.ts';
import { lowerCollectives } from '../../compiler/exchange.ts';
import { hoist } from '../../compiler/hoist.ts';
import { dropDecompositions, inlineComposites } from '../../compiler/inline.ts';
import { joinProducts } from '../../compiler/join-products.ts';
import { joinSampling } from '../../compiler/join-sampling.ts';
import { type Plan, planProgram } from '../../compiler/kernel/plan.ts';
import { overlapExchanges } from '../../compiler/overlap.ts';
import { simplify } from '../../compiler/simplify.ts';
import type { OpOf, Program } from '../../ir/program.ts';
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
  const spelled = simplify(dropDecompositions(inlineComposites(raised, kernelsFor(raised))));
  const hoisted = hoist(spelled);
  const joined = joinProducts(hoisted, kernelsFor(hoisted));
  const sampled = joinSampling(joined, kernelsFor(joined));
  const lowered = simplify(dropDecompositions(sampled));
  const packed = packedValues(lowered);
  checkPackedUses(lowered, packed, (op) => op.name === 'composite' && hasKernel(op, packed));
  return planProgram(overlapExchanges(lowered), isKernelName, canFollow);
}

/** Which composites of a program have a kernel. */
function kernelsFor(program: Program): (op: OpOf<'composite'>) => boolean {
  const packed = packedValues(program);
  return (op) => hasKernel(op, packed);
}
