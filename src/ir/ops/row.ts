/**
 * What a row of an op's family says: the types of its results, or why the op is wrong. Verification and inference are
 * one function, so they cannot disagree; where StableHLO leaves a result type to the writer (`reshape`, `convert` ...)
 * `declared` carries it and the row checks it.
 */
import { IngotError } from '../../base/errors.ts';
import { type ElementClass, type ElementType, elementClass } from '../../numerics/element-types.ts';
import type { OpAttributes, OpName } from '../attributes.ts';
import type { Region, Value } from '../program.ts';
import { asTensor, formatType, type TensorType, type Type } from '../types.ts';

export interface OpSite<N extends OpName> {
  readonly name: N;
  readonly operands: readonly Value[];
  readonly attributes: OpAttributes[N];
  readonly regions: readonly Region[];
  readonly declared?: readonly Type[];
}

export interface OpRow<N extends OpName> {
  /** @throws IngotError 'InvalidProgram' naming the op and what is wrong with it. */
  infer(site: OpSite<N>): readonly Type[];
}

export type OpFamily<N extends OpName> = { readonly [K in N]: OpRow<K> };

export function fail(site: { readonly name: string }, message: string): never {
  throw new IngotError('InvalidProgram', `${site.name}: ${message}`, { op: site.name });
}

export function check(site: { readonly name: string }, condition: boolean, message: () => string): asserts condition {
  if (!condition) fail(site, message());
}

export function operandCount<N extends OpName>(site: OpSite<N>, count: number): void {
  check(site, site.operands.length === count, () => `takes ${count} operands, has ${site.operands.length}`);
}

export function regionCount<N extends OpName>(site: OpSite<N>, count: number): void {
  check(site, site.regions.length === count, () => `takes ${count} regions, has ${site.regions.length}`);
}

export function tensorOperand<N extends OpName>(site: OpSite<N>, index: number): TensorType {
  const type = site.operands.at(index)?.type;
  check(
    site,
    type?.kind === 'tensor',
    () => `operand ${index} is ${type ? formatType(type) : 'missing'}, not a tensor`,
  );
  return type;
}

export function tensorOperands<N extends OpName>(site: OpSite<N>): readonly TensorType[] {
  return site.operands.map((_, i) => tensorOperand(site, i));
}

/** A region over scalars: `parameters` of them. The element types that it returns. */
export function scalarRegion<N extends OpName>(
  site: OpSite<N>,
  region: Region,
  parameters: number,
): readonly TensorType[] {
  check(
    site,
    region.parameters.length === parameters,
    () => `its region takes ${region.parameters.length} values, not ${parameters}`,
  );
  return region.results.map((value) => {
    const type = asTensor(value.type);
    check(site, type.shape.length === 0, () => 'its region returns no scalar');
    return type;
  });
}

/** The one result type that the writer stated. */
export function declaredTensor<N extends OpName>(site: OpSite<N>): TensorType {
  const type = site.declared?.[0];
  check(site, site.declared?.length === 1 && type?.kind === 'tensor', () => 'needs one stated tensor result type');
  return type;
}

export function declaredTypes<N extends OpName>(site: OpSite<N>): readonly Type[] {
  return site.declared ?? fail(site, 'needs stated result types');
}

/** Letters of element classes: F float, S signed, U unsigned, B boolean, C complex. */
export type Classes = string;
const letters: Record<ElementClass, string> = { float: 'F', signed: 'S', unsigned: 'U', boolean: 'B', complex: 'C' };

export function checkClass<N extends OpName>(site: OpSite<N>, element: ElementType, allowed: Classes): void {
  check(site, allowed.includes(letters[elementClass(element)]), () => `is not defined for element type ${element}`);
}

export function isScalarOf(type: Type, element: ElementType): boolean {
  return type.kind === 'tensor' && type.shape.length === 0 && type.element === element;
}

export function formatTypes(types: readonly Type[]): string {
  return `(${types.map(formatType).join(', ')})`;
}
