/**
 * Several `quantized_dot`s of one activation, side by side in one result, and what is added to that: what a device makes of
 * neighbours (`compiler/join-products.ts`), so that they are one kernel, and a residual connection passes memory once.
 */
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor } from '../ir/types.ts';
import { type Composite, emit } from './composite.ts';
import { type DotNumerics, quantizedDotComposite } from './quantized_dot.ts';

export type JoinedDotAttributes = {
  readonly format: string;
  readonly numerics: DotNumerics;
  readonly matrices: number;
  /** Whether each matrix has one. */
  readonly biased: boolean;
  readonly residual: boolean;
};

/** As the operands have them, one after another. */
export interface JoinedDotOperands {
  /** [..., K], f32. */
  readonly x: Value;
  /** [N, K] each, stored in blocks of the format. */
  readonly weights: readonly Value[];
  /** None, or one for each weight. */
  readonly biases: readonly Value[];
  /** As the result, f32; added last. */
  readonly residual?: Value | undefined;
}

export function joinedDotOperands(
  [x, ...others]: readonly Value[],
  { matrices, biased, residual }: JoinedDotAttributes,
): JoinedDotOperands {
  return {
    x,
    weights: others.slice(0, matrices),
    biases: biased ? others.slice(matrices, 2 * matrices) : [],
    residual: residual ? others.at(-1) : undefined,
  };
}

export const joinedDotComposite: Composite<JoinedDotAttributes> = {
  name: 'joined_dot',
  decompose(b, operands, attributes) {
    const { x, weights, biases, residual } = joinedDotOperands(operands, attributes);
    const { format, numerics } = attributes;
    const products = weights.map((weight, i) => {
      const bias = biases.slice(i, i + 1);
      const names = ['x', 'weight', ...bias.map(() => 'bias' as const)] as const;
      return quantizedDotComposite.decompose(b, [x, weight, ...bias], { format, numerics, operands: names })[0];
    });
    const joined = products.length === 1 ? products[0] : b.concatenate(products, asTensor(x.type).shape.length - 1);
    return [residual === undefined ? joined : b.add(residual, joined)];
  },
  sharding(operands, attributes) {
    const { x, weights, biases } = joinedDotOperands(operands, attributes);
    const whole = [...weights, ...biases].map(() => undefined);
    const rows = asTensor(x.type).shape.slice(0, -1);
    return {
      factors: rows.map((_, d) => ({
        operands: [d, ...whole, ...(attributes.residual ? [d] : [])],
        results: [d],
      })),
      fixed: weights.map((_, i) => 1 + i),
    };
  },
};

/** The result is f32 [..., rows of all weights]. */
export function joinedDot(
  b: Builder,
  { x, weights, biases, residual }: JoinedDotOperands,
  { format, numerics }: Pick<JoinedDotAttributes, 'format' | 'numerics'>,
): Value {
  const operands = [x, ...weights, ...biases, ...(residual === undefined ? [] : [residual])];
  return emit(b, joinedDotComposite, operands, {
    ...{ format, numerics, matrices: weights.length },
    ...{ biased: biases.length > 0, residual: residual !== undefined },
  })[0];
}
