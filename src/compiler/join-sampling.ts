/**
 * The head and what is sampled from its logits become one, `sampled_dot`, where nobody else reads the logits: for devices that
 * have a kernel for it. Every bit stays.
 */
import { compositePrefix } from '../composites/composite.ts';
import { columnsOf } from '../composites/draw.ts';
import { type QuantizedDotAttributes, quantizedDotComposite } from '../composites/quantized_dot.ts';
import { sampleComposite, segmentsOf } from '../composites/sample.ts';
import { sampledDot } from '../composites/sampled_dot.ts';
import type { Op, OpOf, Program, Value } from '../ir/program.ts';
import { rewriteProgram, type Visitor } from '../ir/rewrite.ts';
import { reachable, uses } from '../ir/walk.ts';
import { dce } from './dce.ts';

/** `isKernel`: products whose weight a device has packed. */
export function joinSampling(program: Program, isKernel: (product: OpOf<'composite'>) => boolean): Program {
  const visitors = new Map<Op, Visitor>();
  for (const func of reachable(program)) {
    const usesOf = uses(func);
    for (const op of func.body) {
      if (!isComposite(op, sampleComposite.name)) continue;
      const [logits, ...inputs] = op.operands;
      const product = logits.owner;
      if (product.kind !== 'op' || !isComposite(product, quantizedDotComposite.name) || !isKernel(product)) continue;
      if (usesOf.get(logits)?.length !== 1 || segmentsOf(columnsOf(logits)).count === 1) continue;
      const attributes = product.attributes.composite_attributes as QuantizedDotAttributes;
      visitors.set(op, (_, { b, map }) => {
        const mapped = (values: readonly Value[]) => values.map(map);
        return sampledDot(b, mapped(product.operands), mapped(inputs), attributes);
      });
    }
  }
  return dce(rewriteProgram(program, (op, site) => visitors.get(op)?.(op, site)));
}

function isComposite(op: Op, name: string): op is OpOf<'composite'> {
  return op.name === 'composite' && op.attributes.name === compositePrefix + name;
}
