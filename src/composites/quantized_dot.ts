/**
 * `x @ weight^T (+ bias)` in f32: the product that owns the time of a language model. `numerics` says how a fast device
 * may round: it is part of the program, and each has a bit-exact reference in `numerics/`; the decomposition is the
 * f32 meaning that bounds their error.
 */
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor } from '../ir/types.ts';
import { type Composite, emit } from './composite.ts';
import {
  type AffineWeight,
  affineFormat,
  checkMatrix,
  dequantize,
  nameOperands,
  operandsByName,
  type WeightOperand,
  weightOperands,
  weightUnits,
} from './quantized_weight.ts';

export type DotNumerics = 'i8' | 'bf16' | 'f32';

export type QuantizedDotAttributes = {
  readonly format: string;
  readonly numerics: DotNumerics;
  readonly operands: readonly ('x' | WeightOperand | 'bias')[];
};

export const quantizedDotComposite: Composite<QuantizedDotAttributes> = {
  name: 'quantized_dot',
  decompose(b, operands, attributes) {
    const { bias, ...weight } = operandsByName(operands, attributes.operands);
    const x = b.convert(operands[0], 'f32');
    const last = asTensor(x.type).shape.length - 1;
    const product = b.dot(x, dequantize(b, weight), { contract: [[last, 1]] });
    if (bias === undefined) return [product];
    return [b.add(product, b.broadcast(b.convert(bias, 'f32'), asTensor(product.type).shape, [last]))];
  },
  sharding(operands, attributes) {
    const { format, operands: names } = attributes;
    const x = asTensor(operands[0].type).shape.length - 1;
    const bias = names.indexOf('bias');
    const each = (x: number | undefined, weight: number | undefined, bias: number | undefined) =>
      names.map((name) => (name === 'x' ? x : name === 'bias' ? bias : weight));
    const rows = Array.from({ length: x }, (_, d) => ({ operands: each(d, undefined, undefined), results: [d] }));
    const units = weightUnits(format);
    return {
      factors: [
        ...rows,
        { operands: each(undefined, 0, 0), results: [x], aligned: each(undefined, panelRows, undefined) },
        {
          operands: each(x, 1, undefined),
          results: [undefined],
          fold: 'add',
          units: each(undefined, units, undefined),
        },
      ],
      linear: { kind: 'each', operands: [0] },
      fixed: weightOperands(names),
      ...(bias >= 0 && {
        addend: { operand: bias, without: { ...attributes, operands: names.filter((name) => name !== 'bias') } },
      }),
    };
  },
};

/** Rows of a matrix that devices multiply together. */
export const panelRows = 16;

export interface DotOptions {
  readonly numerics: DotNumerics;
  /** [N]. */
  readonly bias?: Value;
}

/** `x` [..., K], `weight` [N, K] stored in block format `format`; the result is f32 [..., N]. */
export function quantizedDot(
  b: Builder,
  x: Value,
  weight: Value,
  { format, numerics, bias }: DotOptions & { readonly format: string },
): Value {
  checkMatrix(weight, 'the weight of quantized_dot');
  const { operands, names } = nameOperands({ x, weight, bias });
  return emit(b, quantizedDotComposite, operands, { format, numerics, operands: names })[0];
}

/** The same with the weight in parts, as imported programs bring it. */
export function affineDot(b: Builder, x: Value, weight: AffineWeight, { numerics, bias }: DotOptions): Value {
  checkMatrix(weight.quantized, 'the weight of quantized_dot');
  const { quantized, scales, zeroPoints, minima } = weight;
  const { operands, names } = nameOperands({ x, quantized, scales, zeroPoints, minima, bias });
  return emit(b, quantizedDotComposite, operands, { format: affineFormat, numerics, operands: names })[0];
}
