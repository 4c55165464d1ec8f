/**
 * Constant folding: ops on small constants become constants. Arithmetic is that of every device: floats in f64 and
 * rounded once, integers wrapped. What has no value that all agree on (NaN, division of integers by zero) stays an op.
 */
import type { BinaryOp, ComparisonDirection, UnaryOp } from '../ir/attributes.ts';
import { literal, literalArray } from '../ir/literal.ts';
import type { Literal, Op, Value } from '../ir/program.ts';
import { isStatic, maxElements, staticShape, type TensorType } from '../ir/types.ts';
import { definedBy } from '../ir/walk.ts';
import { type ElementType, elementBytes, elementClass } from '../numerics/element-types.ts';
import { roundTo, wrapTo } from '../numerics/rounding.ts';

/** Elements of a constant that folding may make; one that fills a tensor counts as one. */
const largest = 1024;

/** The op's result for these operands as a constant; undefined where it is none, or a large one. */
export function fold(op: Op, operands: readonly Value[]): Literal | undefined {
  if (operands.length === 0 || op.results.length !== 1 || op.regions.length > 0) return undefined;
  const values: Literal[] = [];
  for (const operand of operands) {
    const value = definedBy(operand, 'constant')?.attributes.value;
    if (value === undefined || !(value.data instanceof Uint8Array)) return undefined;
    values.push(value);
  }
  const [{ type }] = op.results;
  if (type.kind !== 'tensor') return undefined;
  return foldShape(op, type, values) ?? foldElements(op, type, values);
}

// ── ops that move elements ──

/** Elements from `base` in steps of `strides`, one a dimension of the result. */
function strided(value: Literal, type: TensorType, base: number, strides: readonly number[]): Literal | undefined {
  const { data } = value;
  if (!(data instanceof Uint8Array)) return undefined;
  if (value.splat || maxElements(value.type) === 1) return { type, data, splat: maxElements(type) !== 1 };
  if (!isStatic(type) || maxElements(type) > largest) return undefined;
  const shape = staticShape(type);
  const size = elementBytes(type.element);
  const bytes = new Uint8Array(maxElements(type) * size);
  for (let i = 0; i < bytes.length / size; i++) {
    let [at, rest] = [base, i];
    for (let d = shape.length - 1; d >= 0; d--) {
      at += (rest % shape[d]) * strides[d];
      rest = Math.floor(rest / shape[d]);
    }
    bytes.set(data.subarray(at * size, (at + 1) * size), i * size);
  }
  return { type, data: bytes, splat: false };
}

/** Row-major strides. */
function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let d = shape.length - 2; d >= 0; d--) strides[d] = strides[d + 1] * shape[d + 1];
  return strides;
}

function foldShape(op: Op, type: TensorType, [value]: readonly Literal[]): Literal | undefined {
  // A splat may have a symbolic dimension; its strides are never used.
  const shape = value.splat ? value.type.shape.map(() => 1) : staticShape(value.type);
  const strides = stridesOf(shape);
  switch (op.name) {
    case 'reshape':
      return { ...value, type };
    case 'broadcast_in_dim': {
      const spread = type.shape.map(() => 0);
      op.attributes.broadcast_dimensions.forEach((to, from) => {
        spread[to] = shape[from] === 1 ? 0 : strides[from];
      });
      return strided(value, type, 0, spread);
    }
    case 'transpose': {
      const permuted = op.attributes.permutation.map((d) => strides[d]);
      return strided(value, type, 0, permuted);
    }
    case 'slice': {
      const { start_indices: starts, strides: steps } = op.attributes;
      const base = starts.reduce((sum, start, d) => sum + start * strides[d], 0);
      const stepped = strides.map((stride, d) => stride * steps[d]);
      return strided(value, type, base, stepped);
    }
    default:
      return undefined;
  }
}

// ── ops that compute each element ──

type Scalar = number | bigint;
type Compute = (...operands: Scalar[]) => Scalar | undefined;

function foldElements(op: Op, type: TensorType, values: readonly Literal[]): Literal | undefined {
  const compute = computeOf(op, values[0].type.element, type.element);
  if (compute === undefined) return undefined;
  const single = values.every((value) => value.splat || maxElements(value.type) === 1);
  const count = single ? 1 : maxElements(type);
  if (count > largest || (!single && !isStatic(type))) return undefined;
  const arrays = values.map((value) => literalArray(value, maxElements(value.type) === 1 ? 1 : count));
  const results: Scalar[] = [];
  for (let i = 0; i < count; i++) {
    const result = compute(...arrays.map((array) => array[array.length === 1 ? 0 : i]));
    if (result === undefined || Number.isNaN(result)) return undefined;
    results.push(result);
  }
  return literal(type, results);
}

/** Rounded or wrapped into the element type; undefined for types that are not folded. */
function storer(element: ElementType): ((value: Scalar) => Scalar) | undefined {
  switch (element) {
    case 'complex<f32>':
    case 'complex<f64>':
      return undefined;
    case 'f64':
    case 'f32':
    case 'f16':
    case 'bf16':
    case 'f8E4M3FN':
    case 'f8E5M2':
      return (value) => roundTo(element, Number(value));
    default:
      return (value) => wrapTo(element, value);
  }
}

function computeOf(op: Op, from: ElementType, to: ElementType): Compute | undefined {
  const store = storer(to);
  if (store === undefined || storer(from) === undefined) return undefined;
  const isFloat = elementClass(from) === 'float';
  const isWide = from === 'i64' || from === 'ui64';
  switch (op.name) {
    case 'select':
      return (predicate, onTrue, onFalse) => (predicate ? onTrue : onFalse);
    case 'compare': {
      const { comparison_direction: direction, compare_type: order } = op.attributes;
      if (order === 'TOTALORDER') return undefined;
      return (x, y) => (Number.isNaN(x) || Number.isNaN(y) ? undefined : comparisons[direction](x, y) ? 1 : 0);
    }
    case 'convert':
      // What a float outside of an integer type becomes is the device's to say; 64-bit integers may round twice.
      if (isWide !== (to === 'i64' || to === 'ui64') || (isFloat && elementClass(to) !== 'float')) return undefined;
      return (x) => store(to === 'i1' ? (x ? 1 : 0) : x);
    default:
  }
  if (isWide) return undefined;
  const table: Readonly<Record<string, NumberCompute>> = isFloat
    ? floats
    : elementClass(from) === 'boolean'
      ? booleans
      : integers;
  const row = Object.hasOwn(table, op.name) ? table[op.name] : undefined;
  return (
    row &&
    ((x, y) => {
      const value = row(Number(x), Number(y));
      return value === undefined ? undefined : store(value);
    })
  );
}

type NumberCompute = (x: number, y: number) => number | undefined;
type Rows = Partial<Record<UnaryOp | BinaryOp, NumberCompute>>;

const comparisons: Record<ComparisonDirection, (x: Scalar, y: Scalar) => boolean> = {
  EQ: (x, y) => x === y,
  NE: (x, y) => x !== y,
  GE: (x, y) => x >= y,
  GT: (x, y) => x > y,
  LE: (x, y) => x <= y,
  LT: (x, y) => x < y,
};

const floats: Rows = {
  abs: Math.abs,
  add: (x, y) => x + y,
  ceil: Math.ceil,
  divide: (x, y) => x / y,
  floor: Math.floor,
  maximum: Math.max,
  minimum: Math.min,
  multiply: (x, y) => x * y,
  negate: (x) => -x,
  sqrt: Math.sqrt,
  subtract: (x, y) => x - y,
};

const integers: Rows = {
  abs: Math.abs,
  add: (x, y) => x + y,
  and: (x, y) => x & y,
  divide: (x, y) => (y === 0 ? undefined : Math.trunc(x / y)),
  maximum: Math.max,
  minimum: Math.min,
  multiply: Math.imul,
  negate: (x) => -x,
  not: (x) => ~x,
  or: (x, y) => x | y,
  remainder: (x, y) => (y === 0 ? undefined : x % y),
  subtract: (x, y) => x - y,
  xor: (x, y) => x ^ y,
};

const booleans: Rows = {
  and: (x, y) => x & y,
  not: (x) => x ^ 1,
  or: (x, y) => x | y,
  xor: (x, y) => x ^ y,
};
