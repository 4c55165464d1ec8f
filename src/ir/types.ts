/**
 * Types of StableHLO values (https://openxla.org/stablehlo/spec, "Types"), with bounded symbolic leading dimensions.
 */
import { IngotError } from '../base/errors.ts';
import { type ElementType, elementBytes } from '../numerics/element-types.ts';

/**
 * `T` tokens in the step, `S` sequences, `R` rows whose logits are wanted. A symbolic dimension leads its tensor, stands
 * alone in it, and equals only itself; nothing inside a program computes with its value (positions are inputs).
 */
export const dimSymbols = ['T', 'S', 'R'] as const;
export type DimSymbol = (typeof dimSymbols)[number];
export interface SymbolicDim {
  readonly sym: DimSymbol;
  /** Upper bound of the values that a run may bring. */
  readonly max: number;
}
export type Dim = number | SymbolicDim;

export interface TensorType {
  readonly kind: 'tensor';
  readonly element: ElementType;
  readonly shape: readonly Dim[];
}
/** Tokens order side effects; tuples only carry what imported programs bring. */
export type Type =
  | TensorType
  | { readonly kind: 'token' }
  | { readonly kind: 'tuple'; readonly parts: readonly Type[] };

export function tensor(element: ElementType, shape: readonly Dim[] = []): TensorType {
  return { kind: 'tensor', element, shape };
}

export function sameDim(a: Dim, b: Dim): boolean {
  return typeof a === 'number' || typeof b === 'number' ? a === b : a.sym === b.sym && a.max === b.max;
}

export function sameShape(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((dim, i) => sameDim(dim, b[i]));
}

export function sameType(a: Type, b: Type): boolean {
  if (a.kind === 'tensor') return b.kind === 'tensor' && a.element === b.element && sameShape(a.shape, b.shape);
  if (a.kind === 'token') return b.kind === 'token';
  return (
    b.kind === 'tuple' && a.parts.length === b.parts.length && a.parts.every((part, i) => sameType(part, b.parts[i]))
  );
}

/** Values of the symbolic dimensions of one run. */
export type DimValues = Readonly<Partial<Record<DimSymbol, number>>>;

export function maxDim(dim: Dim): number {
  return typeof dim === 'number' ? dim : dim.max;
}

/** @throws IngotError 'InvalidArgument' if the run gives no value, or one above the bound. */
export function resolveDim(dim: Dim, values: DimValues): number {
  if (typeof dim === 'number') return dim;
  const value = values[dim.sym];
  if (value === undefined) throw new IngotError('InvalidArgument', `the run gives no value for dimension ${dim.sym}`);
  if (!Number.isInteger(value) || value < 0 || value > dim.max) {
    throw new IngotError('InvalidArgument', `dimension ${dim.sym} is ${value}, outside 0..${dim.max}`);
  }
  return value;
}

export function resolveShape(shape: readonly Dim[], values: DimValues): number[] {
  return shape.map((dim) => resolveDim(dim, values));
}

export function isStatic(type: TensorType): boolean {
  return type.shape.every((dim) => typeof dim === 'number');
}

/** The shape of a type that has no symbolic dimension. @throws IngotError 'InvalidProgram' otherwise. */
export function staticShape(type: TensorType): readonly number[] {
  return type.shape.map((dim) => {
    if (typeof dim !== 'number') throw new IngotError('InvalidProgram', `${formatType(type)} has a symbolic dimension`);
    return dim;
  });
}

/** Elements at the upper bound of a symbolic dimension. */
export function maxElements(type: TensorType): number {
  return type.shape.reduce<number>((product, dim) => product * maxDim(dim), 1);
}

/** Bytes of the unpacked tensor at the upper bound. */
export function maxBytes(type: TensorType): number {
  return maxElements(type) * elementBytes(type.element);
}

/** As MLIR spells it; a symbolic dimension is `?` with its symbol and bound as the tensor's encoding. */
export function formatType(type: Type): string {
  switch (type.kind) {
    case 'tensor': {
      const dims = type.shape.map((dim) => (typeof dim === 'number' ? `${dim}x` : '?x')).join('');
      const symbolic = type.shape.find((dim) => typeof dim !== 'number');
      const encoding = symbolic === undefined ? '' : `, #ingot.dim<${symbolic.sym}, ${symbolic.max}>`;
      return `tensor<${dims}${type.element}${encoding}>`;
    }
    case 'token':
      return '!stablehlo.token';
    case 'tuple':
      return `tuple<${type.parts.map(formatType).join(', ')}>`;
    default:
      return type satisfies never;
  }
}

/** @throws IngotError 'InvalidProgram' if the type is no tensor. */
export function asTensor(type: Type): TensorType {
  if (type.kind !== 'tensor') throw new IngotError('InvalidProgram', `expected a tensor, found ${formatType(type)}`);
  return type;
}
