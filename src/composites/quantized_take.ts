/** Rows of a stored weight in f32: token embeddings. Ids out of range clamp. */
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor } from '../ir/types.ts';
import { type Composite, emit } from './composite.ts';
import {
  type AffineWeight,
  affineFormat,
  checkMatrix,
  dequantize,
  mapWeight,
  nameOperands,
  operandsByName,
  type WeightOperand,
  weightOperands,
  weightUnits,
} from './quantized_weight.ts';

export type QuantizedTakeAttributes = {
  readonly format: string;
  readonly operands: readonly ('ids' | WeightOperand)[];
};

export const quantizedTakeComposite: Composite<QuantizedTakeAttributes> = {
  name: 'quantized_take',
  decompose(b, operands, attributes) {
    const { ids: _, ...weight } = operandsByName(operands, attributes.operands);
    const [ids] = operands;
    return [
      dequantize(
        b,
        mapWeight(weight, (part) => b.take(part, ids)),
      ),
    ];
  },
  sharding([ids], { format, operands: names }) {
    const rank = asTensor(ids.type).shape.length;
    const each = (ids: number | undefined, weight: number | undefined) =>
      names.map((name) => (name === 'ids' ? ids : weight));
    const places = Array.from({ length: rank }, (_, d) => ({ operands: each(d, undefined), results: [d] }));
    return {
      factors: [
        ...places,
        { operands: each(undefined, 1), results: [rank], units: each(undefined, weightUnits(format)) },
        // A rank takes the rows that it has.
        { operands: each(undefined, 0), results: [undefined], fold: 'add', index: names.indexOf('ids') },
      ],
      fixed: weightOperands(names),
    };
  },
};

/** `weight` [V, K] stored in block format `format`, `ids` integer of any shape [...]; the result is f32 [..., K]. */
export function quantizedTake(b: Builder, weight: Value, ids: Value, { format }: { readonly format: string }): Value {
  checkMatrix(weight, 'the weight of quantized_take');
  const { operands, names } = nameOperands({ ids, weight });
  return emit(b, quantizedTakeComposite, operands, { format, operands: names })[0];
}

/** The same with the weight in parts, as imported programs bring it. */
export function affineTake(b: Builder, weight: AffineWeight, ids: Value): Value {
  checkMatrix(weight.quantized, 'the weight of quantized_take');
  const { quantized, scales, zeroPoints, minima } = weight;
  const { operands, names } = nameOperands({ ids, quantized, scales, zeroPoints, minima });
  return emit(b, quantizedTakeComposite, operands, { format: affineFormat, operands: names })[0];
}
