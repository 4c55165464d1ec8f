/** Ops that place elements: each says where an element of its result comes from. */
import { literalArray } from '../../ir/literal.ts';
import type { OpOf, Value } from '../../ir/program.ts';
import { asTensor, type Dim, maxDim, maxElements, type TensorType } from '../../ir/types.ts';
import { elementClass, elementTypes } from '../../numerics/element-types.ts';
import { numbersPerElement } from '../../numerics/host-array.ts';
import { type ElementRow, elementType } from './element-row.ts';
import { and, binary, compare, constant, convert, elementOf, select } from './expressions.ts';
import {
  addIndex,
  constantIndex,
  dimIndex,
  divideIndex,
  indexConstant,
  linearIndex,
  maximumIndex,
  minimumIndex,
  remainderIndex,
  scaleIndex,
  spreadIndex,
  subtractIndex,
} from './index-arithmetic.ts';
import type { Expression, ScalarElement } from './language.ts';
import { type Index, type Parts, partElement, type Scope } from './scope.ts';

export function shapeOf(value: Value): readonly Dim[] {
  return asTensor(value.type).shape;
}

/** A constant of one element, or filled with one: written where it is used. */
export function isInline(op: OpOf<'constant'>): boolean {
  const { value } = op.attributes;
  return value.data instanceof Uint8Array && (value.splat || maxElements(value.type) === 1);
}

/** Small ones inside of regions may have more elements; they are chosen by index. */
export const constantElement: ElementRow<'constant'> = (op, index) => {
  const { value } = op.attributes;
  const type: TensorType = value.type;
  const width = numbersPerElement(type.element);
  const part = partElement(type.element);
  const count = value.splat ? 1 : maxElements(type);
  const array = literalArray(value, count);
  const at = (i: number): Parts => Array.from({ length: width }, (_, p) => constant(part, array[i * width + p]));
  if (count === 1) return at(0);
  const linear = linearIndex(index, type.shape);
  let parts = at(count - 1);
  for (let i = count - 2; i >= 0; i--) {
    const here = compare('EQ', linear, indexConstant(i));
    parts = at(i).map((x, p) => select(here, x, parts[p]));
  }
  return parts;
};

export const iotaElement: ElementRow<'iota'> = (op, index) => {
  const element = elementType(op.results[0]);
  const part = partElement(element);
  const value = convert(index[op.attributes.iota_dimension], part);
  return elementClass(element) === 'complex' ? [value, constant(part, 0)] : [value];
};

export const transposeElement: ElementRow<'transpose'> = (op, index, scope) => {
  const from: Expression[] = new Array(index.length);
  op.attributes.permutation.forEach((d, i) => {
    from[d] = index[i];
  });
  return scope.operand(op, 0, from);
};

export const broadcastElement: ElementRow<'broadcast_in_dim'> = (op, index, scope) => {
  const shape = shapeOf(op.operands[0]);
  const from = op.attributes.broadcast_dimensions.map((d, i) => (shape[i] === 1 ? indexConstant(0) : index[d]));
  return scope.operand(op, 0, from);
};

export const reshapeElement: ElementRow<'reshape'> = (op, index, scope) =>
  scope.operand(op, 0, reshapedIndex(index, shapeOf(op.results[0]), shapeOf(op.operands[0])));

/** The position in another shape of the element at this one. */
export function reshapedIndex(index: Index, from: readonly Dim[], to: readonly Dim[]): Index {
  return spreadIndex(linearIndex(index, from), to);
}

export const sliceElement: ElementRow<'slice'> = (op, index, scope) => {
  const { start_indices: starts, strides } = op.attributes;
  const from = index.map((e, d) => addIndex(scaleIndex(e, strides[d]), indexConstant(starts[d])));
  return scope.operand(op, 0, from);
};

export const reverseElement: ElementRow<'reverse'> = (op, index, scope) => {
  const shape = shapeOf(op.operands[0]);
  const last = (d: number) => subtractIndex(dimIndex(shape[d]), indexConstant(1));
  const from = index.map((e, d) => (op.attributes.dimensions.includes(d) ? subtractIndex(last(d), e) : e));
  return scope.operand(op, 0, from);
};

/** 0 <= index < extent, where it is not known. */
function inside(index: Expression, extent: Dim): Expression {
  return and(compare('GE', index, indexConstant(0)), compare('LT', index, dimIndex(extent)));
}

export function clampIndex(index: Expression, last: number): Expression {
  return minimumIndex(maximumIndex(index, 0), indexConstant(last));
}

/** Inside of regions; as an op of its own it is one kernel an operand (`lower-copies.ts`). */
export const concatenateElement: ElementRow<'concatenate'> = (op, index, scope) => {
  const { dimension } = op.attributes;
  let start = 0;
  const pieces = op.operands.flatMap((value, i) => {
    const extent = maxDim(shapeOf(value)[dimension]);
    const at = subtractIndex(index[dimension], indexConstant(start));
    start += extent;
    return extent === 0 ? [] : [{ i, end: start, at: clampIndex(at, extent - 1) }];
  });
  const parts = pieces.map(({ i, at }) => scope.operand(op, i, index.with(dimension, at)));
  return parts.reduceRight((rest, part, n) => {
    const here = compare('LT', index[dimension], indexConstant(pieces[n].end));
    return part.map((x, p) => select(here, x, rest[p]));
  });
};

/** Inside of regions, as concatenate. */
export const padElement: ElementRow<'pad'> = (op, index, scope) => {
  const { edge_padding_low: low, interior_padding: interior } = op.attributes;
  const shape = shapeOf(op.operands[0]);
  const value = scope.operand(op, 1, []);
  if (shape.includes(0)) return value;
  let from = constant('i1', 1);
  const position = index.map((e, d) => {
    const place = subtractIndex(e, indexConstant(low[d]));
    const step = interior[d] + 1;
    const at = divideIndex(maximumIndex(place, 0), step);
    from = and(from, and(compare('GE', place, indexConstant(0)), compare('LT', at, dimIndex(shape[d]))));
    if (step > 1) from = and(from, compare('EQ', remainderIndex(maximumIndex(place, 0), step), indexConstant(0)));
    return clampIndex(at, maxDim(shape[d]) - 1);
  });
  return scope.operand(op, 0, position).map((x, p) => select(from, x, value[p]));
};

// ── positions that data decides ──

/** The last place at which `size` elements of a dimension may start; a symbolic dimension is taken whole, or by one. */
export function lastStart(dim: Dim, size: Dim): Expression {
  if (typeof size !== 'number') return indexConstant(0);
  return subtractIndex(dimIndex(dim), indexConstant(size));
}

/** The largest value of an integer type, as a number. */
function largest(type: ScalarElement): number {
  const { class: kind, bits } = elementTypes[type];
  return 2 ** (kind === 'signed' ? bits - 1 : bits) - 1;
}

/** An integer from memory as an index from 0 to `last`, compared in its own type where that is wide enough. */
export function clampedStart(start: Expression, last: Expression): Expression {
  const type = elementOf(start);
  const known = constantIndex(last);
  if (known === 0) return last;
  const low = elementTypes[type].class === 'signed' ? binary('maximum', start, constant(type, 0)) : start;
  if (known === undefined) return maximumIndex(minimumIndex(convert(low, 'index'), last), 0);
  return convert(largest(type) <= known ? low : binary('minimum', low, constant(type, Math.max(0, known))), 'index');
}

/** Whether an integer from memory is from 0 to `last`. */
export function isStart(start: Expression, last: Expression): Expression {
  const type = elementOf(start);
  const known = constantIndex(last);
  const low = elementTypes[type].class === 'signed' ? compare('GE', start, constant(type, 0)) : constant('i1', 1);
  if (known === undefined) return and(low, compare('LE', convert(start, 'index'), last));
  if (known < 0) return constant('i1', 0);
  return largest(type) <= known ? low : and(low, compare('LE', start, constant(type, known)));
}

/** Where a dynamic slice of these sizes starts. */
export function sliceStart(
  op: OpOf<'dynamic_slice' | 'dynamic_update_slice'>,
  first: number,
  sizes: readonly Dim[],
  scope: Scope,
): Index {
  return shapeOf(op.operands[0]).map((dim, d) =>
    clampedStart(scope.operand(op, first + d, [])[0], lastStart(dim, sizes[d])),
  );
}

export const dynamicSliceElement: ElementRow<'dynamic_slice'> = (op, index, scope) => {
  const starts = sliceStart(op, 1, shapeOf(op.results[0]), scope);
  return scope.operand(
    op,
    0,
    index.map((e, d) => addIndex(e, starts[d])),
  );
};

/** Inside of regions; as an op of its own it updates memory (`lower-copies.ts`). */
export const dynamicUpdateSliceElement: ElementRow<'dynamic_update_slice'> = (op, index, scope) => {
  const sizes = shapeOf(op.operands[1]);
  if (sizes.includes(0)) return scope.operand(op, 0, index);
  const starts = sliceStart(op, 2, sizes, scope);
  const places = index.map((e, d) => subtractIndex(e, starts[d]));
  const within = places.map((e, d) => inside(e, sizes[d])).reduce((a, b) => and(a, b), constant('i1', 1));
  const update = scope.operand(
    op,
    1,
    places.map((e, d) => clampIndex(e, maxDim(sizes[d]) - 1)),
  );
  const old = scope.operand(op, 0, index);
  return update.map((x, p) => select(within, x, old[p]));
};

export const gatherElement: ElementRow<'gather'> = (op, index, scope) => {
  const a = op.attributes;
  const [operandShape, indicesShape] = [shapeOf(op.operands[0]), shapeOf(op.operands[1])];
  const batch = index.filter((_, d) => !a.offset_dims.includes(d));
  const offsets = a.offset_dims.map((d) => index[d]);
  const batchDims = indicesShape.map((_, d) => d).filter((d) => d !== a.index_vector_dim);
  const kept = operandShape
    .map((_, d) => d)
    .filter((d) => !a.collapsed_slice_dims.includes(d) && !a.operand_batching_dims.includes(d));
  const from = operandShape.map((dim, d): Expression => {
    const batching = a.operand_batching_dims.indexOf(d);
    if (batching >= 0) return batch[batchDims.indexOf(a.start_indices_batching_dims[batching])];
    const offset = kept.includes(d) ? offsets[kept.indexOf(d)] : indexConstant(0);
    const mapped = a.start_index_map.indexOf(d);
    if (mapped < 0) return offset;
    const at: Expression[] = [...batch];
    if (a.index_vector_dim < indicesShape.length) at.splice(a.index_vector_dim, 0, indexConstant(mapped));
    const [start] = scope.operand(op, 1, at);
    return addIndex(clampedStart(start, lastStart(dim, a.slice_sizes[d])), offset);
  });
  return scope.operand(op, 0, from);
};
