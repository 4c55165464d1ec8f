/** Ops that choose, repeat, call, or only carry values. Whether a callee fits its call is for the verifier, which sees it. */
import type { OpName } from '../attributes.ts';
import { sameType, type Type } from '../types.ts';
import {
  check,
  declaredTypes,
  fail,
  formatTypes,
  isScalarOf,
  type OpFamily,
  type OpRow,
  type OpSite,
  operandCount,
  regionCount,
  tensorOperand,
} from './row.ts';

function operandTypes<N extends OpName>(site: OpSite<N>): readonly Type[] {
  return site.operands.map((value) => value.type);
}

function sameTypes(a: readonly Type[], b: readonly Type[]): boolean {
  return a.length === b.length && a.every((type, i) => sameType(type, b[i]));
}

const types = (values: readonly { readonly type: Type }[]): readonly Type[] => values.map((value) => value.type);

const whileRow: OpRow<'while'> = {
  infer(site) {
    regionCount(site, 2);
    const carried = operandTypes(site);
    const [condition, body] = site.regions;
    for (const region of site.regions) {
      check(
        site,
        sameTypes(types(region.parameters), carried),
        () => `a region takes ${formatTypes(types(region.parameters))}, the loop carries ${formatTypes(carried)}`,
      );
    }
    check(
      site,
      condition.results.length === 1 && isScalarOf(condition.results[0].type, 'i1'),
      () => 'its condition must return one i1',
    );
    check(
      site,
      sameTypes(types(body.results), carried),
      () => `its body returns ${formatTypes(types(body.results))}, the loop carries ${formatTypes(carried)}`,
    );
    return carried;
  },
};

function branches<N extends OpName>(site: OpSite<N>): readonly Type[] {
  const [first, ...others] = site.regions;
  if (first === undefined) return fail(site, 'has no branches');
  for (const region of site.regions) check(site, region.parameters.length === 0, () => 'branches take no values');
  for (const region of others) {
    check(
      site,
      sameTypes(types(region.results), types(first.results)),
      () => `branches return ${formatTypes(types(first.results))} and ${formatTypes(types(region.results))}`,
    );
  }
  return types(first.results);
}

const ifRow: OpRow<'if'> = {
  infer(site) {
    operandCount(site, 1);
    regionCount(site, 2);
    check(site, isScalarOf(tensorOperand(site, 0), 'i1'), () => 'its predicate must be one i1');
    return branches(site);
  },
};

const caseRow: OpRow<'case'> = {
  infer(site) {
    operandCount(site, 1);
    check(site, isScalarOf(tensorOperand(site, 0), 'i32'), () => 'its index must be one i32');
    return branches(site);
  },
};

const stated = { infer: (site: OpSite<'call' | 'composite' | 'custom_call'>) => declaredTypes(site) };

const passThrough: OpRow<'optimization_barrier'> = { infer: (site) => operandTypes(site) };

const tuple: OpRow<'tuple'> = { infer: (site) => [{ kind: 'tuple', parts: operandTypes(site) }] };

const getTupleElement: OpRow<'get_tuple_element'> = {
  infer(site) {
    operandCount(site, 1);
    const [type] = operandTypes(site);
    if (type.kind !== 'tuple') return fail(site, 'its operand is not a tuple');
    const part = type.parts.at(site.attributes.index);
    return part === undefined ? fail(site, `the tuple has no part ${site.attributes.index}`) : [part];
  },
};

export const control = {
  call: stated,
  case: caseRow,
  composite: stated,
  custom_call: stated,
  get_tuple_element: getTupleElement,
  if: ifRow,
  optimization_barrier: passThrough,
  tuple,
  while: whileRow,
} satisfies OpFamily<
  | 'call'
  | 'case'
  | 'composite'
  | 'custom_call'
  | 'get_tuple_element'
  | 'if'
  | 'optimization_barrier'
  | 'tuple'
  | 'while'
>;
