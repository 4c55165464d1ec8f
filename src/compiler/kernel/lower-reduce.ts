/**
 * Folds: reduce, reduce_window, dot_general, map. The orders are those of the reference device: a plain float sum in lanes,
 * products in ascending order of the contracted index with one accumulator, everything else ascending as the region says.
 */
import type { BinaryOp } from '../../ir/attributes.ts';
import { plainFold } from '../../ir/plain-fold.ts';
import type { Region, Value } from '../../ir/program.ts';
import { type Dim, maxDim } from '../../ir/types.ts';
import { type ElementType, elementClass } from '../../numerics/element-types.ts';
import { type ElementRow, elementType } from './element-row.ts';
import { add, and, binary, compare, constant, localValue, multiply, or, select } from './expressions.ts';
import {
  addIndex,
  dimIndex,
  divideIndex,
  indexConstant,
  maximumIndex,
  remainderIndex,
  scaleIndex,
  subtractIndex,
} from './index-arithmetic.ts';
import { clampIndex, shapeOf } from './index-maps.ts';
import type { Expression, Local, ReduceOp } from './language.ts';
import { complexBinary } from './lower-complex.ts';
import { convertParts } from './lower-elementwise.ts';
import { type Index, type Parts, partElement, type Scope } from './scope.ts';

/** What a region folds into: one accumulator an operand, of the types of its parameters. */
class Accumulators {
  readonly #region: Region;
  readonly #elements: readonly ElementType[];
  readonly #locals: readonly (readonly Local[])[];
  readonly all: readonly Local[];

  constructor(region: Region, inits: readonly Parts[], scope: Scope) {
    this.#region = region;
    this.#elements = region.parameters.map(elementType);
    this.#locals = inits.map((init, i) => scope.variables(convertParts(init, this.#elements[i]), 'acc'));
    this.all = this.#locals.flat();
  }

  get values(): readonly Parts[] {
    return this.#locals.map((parts) => parts.map(localValue));
  }

  add(scope: Scope, elements: readonly Parts[]): void {
    const { length } = this.#locals;
    const args = elements.map((parts, i) => convertParts(parts, this.#elements[length + i]));
    const results = scope.region(this.#region, [...this.values, ...args.map((parts) => scope.bind(parts))]);
    scope.setAll(this.all, results.flat());
  }

  /** As elements of the op's results, all of which are known now. */
  finish(scope: Scope, results: readonly Value[], index: Index): void {
    results.forEach((value, i) => {
      const parts = convertParts(this.values[i], elementType(value));
      scope.know(
        value,
        index,
        parts.map((part) => scope.here(part)),
      );
    });
  }
}

/** The op of the language for a fold by one op of this type; undefined where the region itself must run. */
function foldOf(name: BinaryOp | undefined, element: ElementType): ReduceOp | undefined {
  const boolean = elementClass(element) === 'boolean';
  if (elementClass(element) === 'complex') return undefined;
  switch (name) {
    case 'add':
    case 'maximum':
      return boolean ? 'or' : name;
    case 'multiply':
    case 'minimum':
      return boolean ? 'and' : name;
    case 'and':
    case 'or':
    case 'xor':
      return name;
    default:
      return undefined;
  }
}

export const reduceElement: ElementRow<'reduce'> = (op, index, scope, result) => {
  const { dimensions } = op.attributes;
  const arity = op.results.length;
  const shape = shapeOf(op.operands[0]);
  const reduced = shape.map((_, d) => d).filter((d) => dimensions.includes(d));
  const extents = reduced.map((d) => shape[d]);
  const full = (inner: Index): Index => {
    const kept = index.values();
    return shape.map((_, d) =>
      dimensions.includes(d) ? inner[reduced.indexOf(d)] : (kept.next().value as Expression),
    );
  };
  const inits = op.results.map((_, i) => scope.operand(op, arity + i, []));
  const element = elementType(op.operands[0]);
  const same = arity === 1 && elementType(op.results[0]) === element;
  const fold = same ? foldOf(plainFold(op.regions[0]), element) : undefined;
  const home = scope.homeFor(index);
  if (fold !== undefined) {
    return [home.reduce(fold, extents, inits[0][0], (inner, at) => inner.operand(op, 0, full(at))[0])];
  }
  const accumulators = new Accumulators(op.regions[0], inits, home);
  home.loops('serial', extents, accumulators.all, (inner, at) => {
    accumulators.add(
      inner,
      op.results.map((_, i) => inner.operand(op, i, full(at))),
    );
  });
  accumulators.finish(home, op.results, index);
  return scope.value(op.results[result], index);
};

/** Windows of reduce_window and select_and_scatter. */
export interface Windows {
  readonly size: readonly number[];
  readonly strides: readonly number[];
  readonly low: readonly number[];
  readonly baseDilations: readonly number[];
  readonly windowDilations: readonly number[];
}

/** The element under `at` of the window at `position`: where it is (clamped), and whether it is none but padding. */
export function underWindow(shape: readonly Dim[], windows: Windows, position: Index, at: Index) {
  let real = constant('i1', 1);
  const index = shape.map((dim, d) => {
    const place = addIndex(
      subtractIndex(scaleIndex(position[d], windows.strides[d]), indexConstant(windows.low[d])),
      scaleIndex(at[d], windows.windowDilations[d]),
    );
    const dilation = windows.baseDilations[d];
    const reached = maximumIndex(place, 0);
    const i = divideIndex(reached, dilation);
    if (reached !== place) real = and(real, compare('GE', place, indexConstant(0)));
    if (windows.low[d] !== 0 || windows.size[d] !== 1 || windows.strides[d] !== 1) {
      real = and(real, compare('LT', i, dimIndex(dim)));
    }
    if (dilation > 1) real = and(real, compare('EQ', remainderIndex(reached, dilation), indexConstant(0)));
    return clampIndex(i, Math.max(0, maxDim(dim) - 1));
  });
  return { index, real };
}

/** Padding contributes the initial value, as the specification says. */
export const reduceWindowElement: ElementRow<'reduce_window'> = (op, index, scope, result) => {
  const a = op.attributes;
  const arity = op.results.length;
  const shape = shapeOf(op.operands[0]);
  const windows: Windows = {
    size: a.window_dimensions,
    strides: a.window_strides,
    low: a.padding.map(([low]) => low),
    baseDilations: a.base_dilations,
    windowDilations: a.window_dilations,
  };
  const home = scope.homeFor(index);
  const inits = op.results.map((_, i) => scope.operand(op, arity + i, []));
  const accumulators = new Accumulators(op.regions[0], inits, home);
  home.loops('serial', windows.size, accumulators.all, (inner, at) => {
    if (shape.includes(0)) return accumulators.add(inner, inits);
    const { index: from, real } = underWindow(shape, windows, index, at);
    const [isReal] = inner.bind([real]);
    accumulators.add(
      inner,
      inits.map((init, i) => inner.operand(op, i, from).map((x, p) => select(isReal, x, init[p]))),
    );
  });
  accumulators.finish(home, op.results, index);
  return scope.value(op.results[result], index);
};

export const mapElement: ElementRow<'map'> = (op, index, scope) =>
  scope.region(
    op.regions[0],
    op.operands.map((_, i) => convertParts(scope.operand(op, i, index), elementType(op.regions[0].parameters[i]))),
  )[0];

/** The type in which a product accumulates: f32 for what is narrower, the result's otherwise. */
function accumulation(element: ElementType): ElementType {
  return elementClass(element) === 'float' && element !== 'f64' ? 'f32' : element;
}

export const dotElement: ElementRow<'dot_general'> = (op, index, scope) => {
  const a = op.attributes;
  const [lhs, rhs] = op.operands.map(shapeOf);
  const free = (shape: readonly Dim[], batch: readonly number[], contract: readonly number[]) =>
    shape.map((_, d) => d).filter((d) => !batch.includes(d) && !contract.includes(d));
  const lhsFree = free(lhs, a.lhs_batching_dimensions, a.lhs_contracting_dimensions);
  const rhsFree = free(rhs, a.rhs_batching_dimensions, a.rhs_contracting_dimensions);
  const batches = a.lhs_batching_dimensions.length;
  const [batch, rows, columns] = [
    index.slice(0, batches),
    index.slice(batches, batches + lhsFree.length),
    index.slice(batches + lhsFree.length),
  ];
  const place = (shape: readonly Dim[], groups: readonly (readonly [readonly number[], Index])[]): Index => {
    const at = shape.map(() => indexConstant(0));
    for (const [dims, indices] of groups) {
      dims.forEach((d, i) => {
        at[d] = indices[i];
      });
    }
    return at;
  };
  const element = elementType(op.results[0]);
  const type = accumulation(element);
  const zero = constant(partElement(type), 0);
  const home = scope.homeFor(index);
  const sums = home.variables(elementClass(type) === 'complex' ? [zero, zero] : [zero], 'acc');
  home.loops(
    'serial',
    a.lhs_contracting_dimensions.map((d) => lhs[d]),
    sums,
    (inner, k) => {
      const x = inner.operand(
        op,
        0,
        place(lhs, [
          [a.lhs_batching_dimensions, batch],
          [lhsFree, rows],
          [a.lhs_contracting_dimensions, k],
        ]),
      );
      const y = inner.operand(
        op,
        1,
        place(rhs, [
          [a.rhs_batching_dimensions, batch],
          [rhsFree, columns],
          [a.rhs_contracting_dimensions, k],
        ]),
      );
      const product = productOf(type, inner.bind(convertParts(x, type)), inner.bind(convertParts(y, type)));
      inner.setAll(
        sums,
        sums.map((sum, i) => (type === 'i1' ? or : add)(localValue(sum), product[i])),
      );
    },
  );
  return home.bindHere(convertParts(sums.map(localValue), element));
};

function productOf(type: ElementType, x: Parts, y: Parts): Parts {
  if (type === 'i1') return [binary('and', x[0], y[0])];
  if (elementClass(type) !== 'complex') return [multiply(x[0], y[0])];
  return complexBinary('multiply', [x[0], x[1]], [y[0], y[1]], partElement(type)) ?? x;
}
