/** Control inside of scalar regions (comparators, reducers): branches and loops over locals; calls are written out. */
import type { OpName } from '../../ir/attributes.ts';
import type { Op, Region, Value } from '../../ir/program.ts';
import { callee } from '../../ir/walk.ts';
import { numbersPerElement } from '../../numerics/host-array.ts';
import { type ElementRow, elementType, unsupported } from './element-row.ts';
import { compare, constant, localValue } from './expressions.ts';
import { shapeOf } from './index-maps.ts';
import type { Expression, Local } from './language.ts';
import { type Parts, partElement, type Scope } from './scope.ts';

/** One variable a number of each scalar. */
function scalarVariables(
  values: readonly Value[],
  scope: Scope,
  op: Pick<Op, 'name' | 'location'>,
): readonly (readonly Local[])[] {
  return values.map((value) => {
    if (value.type.kind === 'tensor' && shapeOf(value).length > 0) throw unsupported(op, 'a tensor inside of a region');
    const element = elementType(value);
    const zero = constant(partElement(element), 0);
    return scope.variables(Array.from({ length: numbersPerElement(element) }, () => zero));
  });
}

function read(locals: readonly (readonly Local[])[]): readonly Parts[] {
  return locals.map((parts) => parts.map(localValue));
}

/** What the op makes, as it is now, is known from here on. */
function finish(op: Pick<Op, 'results'>, locals: readonly (readonly Local[])[], scope: Scope): void {
  read(locals).forEach((parts, i) => {
    scope.know(op.results[i], [], scope.bindHere(parts));
  });
}

function branches(op: Op, regions: readonly Region[], choice: Expression, scope: Scope): void {
  const results = scalarVariables(op.results, scope, op);
  const all = results.flat();
  const branch = (i: number, inner: Scope): void => {
    const run = (s: Scope) => s.setAll(all, s.region(regions[i], []).flat());
    if (i === regions.length - 1) run(inner);
    else inner.if(compare('EQ', choice, constant(choice.type, i)), all, run, (s) => branch(i + 1, s));
  };
  branch(0, scope);
  finish(op, results, scope);
}

/** Anything outside of the cases is the last. */
export const caseElement: ElementRow<'case'> = (op, index, scope, result) => {
  branches(op, op.regions, scope.operand(op, 0, [])[0], scope);
  return scope.value(op.results[result], index);
};

export const ifElement: ElementRow<'if'> = (op, index, scope, result) => {
  branches(op, op.regions.toReversed(), scope.operand(op, 0, [])[0], scope);
  return scope.value(op.results[result], index);
};

export const whileElement: ElementRow<'while'> = (op, index, scope, result) => {
  const [condition, body] = op.regions;
  const carried = scalarVariables(op.results, scope, op);
  const all = carried.flat();
  scope.setAll(
    all,
    op.operands.flatMap((_, i) => scope.operand(op, i, [])),
  );
  scope.while(
    all,
    (before) => before.region(condition, read(carried))[0][0],
    (inner) => inner.setAll(all, inner.region(body, read(carried)).flat()),
  );
  finish(op, carried, scope);
  return scope.value(op.results[result], index);
};

export const callElement: ElementRow<'call' | 'composite'> = (op, index, scope, result) => {
  const func = callee(scope.writer.program, op as Op);
  if (func === undefined) throw unsupported(op, 'a function that is not there');
  const parts = scope.region(
    func,
    op.operands.map((_, i) => scope.operand(op, i, [])),
  );
  op.results.forEach((value, i) => {
    scope.know(value, [], parts[i]);
  });
  return scope.value(op.results[result], index);
};

export const barrierElement: ElementRow<'optimization_barrier'> = (op, index, scope, result) =>
  scope.operand(op, result, index);

/** What has no elements, or is no computation. */
export const notElementwise: ElementRow<OpName> = (op) => {
  throw unsupported(op, 'its use inside of a region');
};
