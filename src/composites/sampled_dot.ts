/**
 * A head and what is sampled from its logits, which nobody else reads: what a device makes of the two
 * (`compiler/join-sampling.ts`), so that a row that takes the greatest logit, or draws from a few, need not have its logits written.
 */
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { type Composite, emit } from './composite.ts';
import { type QuantizedDotAttributes, quantizedDotComposite } from './quantized_dot.ts';
import { weightOperands } from './quantized_weight.ts';
import { sampleComposite } from './sample.ts';

/** Operands and attributes of the `quantized_dot`, then those of `sample` without the logits. */
export const sampledDotComposite: Composite<QuantizedDotAttributes> = {
  name: 'sampled_dot',
  decompose(b, operands, attributes) {
    const { dot, inputs } = sampledDotOperands(operands, attributes);
    const logits = quantizedDotComposite.decompose(b, dot, attributes);
    return sampleComposite.decompose(b, [...logits, ...inputs], {});
  },
  // Programs are divided before devices make it.
  sharding: (_, { operands }) => ({ factors: [], fixed: weightOperands(operands) }),
};

export function sampledDotOperands(operands: readonly Value[], { operands: names }: QuantizedDotAttributes) {
  return { dot: operands.slice(0, names.length), inputs: operands.slice(names.length) };
}

/** Ids and log-probabilities. */
export function sampledDot(
  b: Builder,
  dot: readonly Value[],
  inputs: readonly Value[],
  attributes: QuantizedDotAttributes,
): readonly Value[] {
  return emit(b, sampledDotComposite, [...dot, ...inputs], attributes);
}
