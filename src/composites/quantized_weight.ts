/**
 * Weights as quantized_dot and quantized_take see them: either one logical [N, K] tensor stored in a block format, or
 * the parts of an affine quantization that an imported program spelled out. The composite's attributes name its
 * operands, so a device and the decomposition read the same list.
 */
import { IngotError } from '../base/errors.ts';
import type { Builder } from '../ir/build.ts';
import type { Value } from '../ir/program.ts';
import { asTensor, formatType, staticShape } from '../ir/types.ts';
import { blockFormat } from '../numerics/quant/formats.ts';

/**
 * `(quantized - zeroPoints) * scales + minima`, in f32, absent parts left out. `quantized` integer [N, K]; the others of any
 * numeric type [N, K / group], one entry for each group of consecutive K.
 */
export interface AffineWeight {
  readonly quantized: Value;
  readonly scales: Value;
  readonly zeroPoints?: Value;
  readonly minima?: Value;
}

/** Attribute `format` of weights given as parts; any other is the name of a block format. */
export const affineFormat = 'affine';

/** What the operands of a composite are, in order. */
export type WeightOperand = 'weight' | 'quantized' | 'scales' | 'zeroPoints' | 'minima';

/** Values by name, the absent ones dropped, as a list of operands and the attribute that names them. */
export function nameOperands<N extends string>(
  values: Readonly<Partial<Record<N, Value>>>,
): { operands: Value[]; names: N[] } {
  const names: N[] = [];
  const operands: Value[] = [];
  for (const name in values) {
    const value = values[name];
    if (value === undefined) continue;
    names.push(name);
    operands.push(value);
  }
  return { operands, names };
}

/** The way back: operands by the names that the attribute gives them. */
export function operandsByName<N extends string>(
  operands: readonly Value[],
  names: readonly N[],
): Readonly<Partial<Record<N, Value>>> {
  const values: Partial<Record<N, Value>> = {};
  names.forEach((name, i) => {
    values[name] = operands[i];
  });
  return values;
}

/** The parts of a weight mapped one by one, for instance to the rows that a step needs. */
export function mapWeight(
  values: Readonly<Partial<Record<WeightOperand, Value>>>,
  part: (value: Value) => Value,
): Readonly<Partial<Record<WeightOperand, Value>>> {
  const { operands, names } = nameOperands(values);
  return operandsByName(operands.map(part), names);
}

/** The weight in f32, [rows, K]. @throws IngotError 'InvalidProgram' where parts are missing or do not fit. */
export function dequantize(
  b: Builder,
  { weight, quantized, scales, zeroPoints, minima }: Readonly<Partial<Record<WeightOperand, Value>>>,
): Value {
  if (weight !== undefined) return b.convert(weight, 'f32');
  if (quantized === undefined || scales === undefined) {
    throw new IngotError('InvalidProgram', 'an affine weight needs `quantized` and `scales`');
  }
  const { shape } = asTensor(quantized.type);
  const [rows, columns] = shape;
  const [, groups] = asTensor(scales.type).shape;
  if (shape.length !== 2 || typeof columns !== 'number' || typeof groups !== 'number' || columns % groups !== 0) {
    const types = `${formatType(quantized.type)} and ${formatType(scales.type)}`;
    throw new IngotError('InvalidProgram', `scales do not divide the weight into groups: ${types}`);
  }
  const grouped = [rows, groups, columns / groups];
  const spread = (part: Value) => b.broadcast(b.convert(part, 'f32'), grouped, [0, 1]);
  let value = b.reshape(b.convert(quantized, 'f32'), grouped);
  if (zeroPoints !== undefined) value = b.subtract(value, spread(zeroPoints));
  value = b.multiply(value, spread(scales));
  if (minima !== undefined) value = b.add(value, spread(minima));
  return b.reshape(value, shape);
}

/** Which operands a weight is made of. */
export function weightOperands(names: readonly (WeightOperand | 'x' | 'ids' | 'bias')[]): readonly number[] {
  return names.flatMap((name, i) => (name === 'x' || name === 'ids' || name === 'bias' ? [] : [i]));
}

/** Elements of a row that cannot be divided; parts of an affine weight have rows of their own. */
export function weightUnits(format: string): number {
  return format === affineFormat ? 1 : blockFormat(format).blockSize;
}

/** @throws IngotError 'InvalidProgram' unless `value` is a static matrix. */
export function checkMatrix(value: Value, what: string): void {
  if (staticShape(asTensor(value.type)).length !== 2) {
    throw new IngotError('InvalidProgram', `${what} must be a matrix, is ${formatType(value.type)}`);
  }
}
