/**
 * Rules that replace an op by something simpler with the same bits, one row an op. Floats are no field: `x + 0` is not
 * `x` for -0, so only `x + -0` goes; nothing is reassociated. (Which NaN a computation gives is nobody's promise.)
 */
import type { OpName } from '../ir/attributes.ts';
import type { Builder } from '../ir/build.ts';
import { literalArray } from '../ir/literal.ts';
import type { Op, OpOf, Region, Value } from '../ir/program.ts';
import type { Site } from '../ir/rewrite.ts';
import { isConstraint } from '../ir/sharding.ts';
import { asTensor, type Dim, maxDim, maxElements, sameDim, sameShape, sameType } from '../ir/types.ts';
import { definedBy } from '../ir/walk.ts';
import { type ElementType, elementClass, elementTypes } from '../numerics/element-types.ts';
import { isDetour } from './conversions.ts';

type Rule<N extends OpName> = (op: OpOf<N>, site: Site) => Value | readonly Value[] | undefined;
type Rules = { readonly [N in OpName]?: Rule<N> };

/** What the op's results may be instead; undefined if no rule knows better. */
export function simplifyOp(op: Op, site: Site): readonly Value[] | undefined {
  const found = apply(op, site);
  return found === undefined || 'length' in found ? found : [found];
}

function apply<N extends OpName>(op: OpOf<N>, site: Site): Value | readonly Value[] | undefined {
  const rule: Rule<N> | undefined = (rules as { readonly [K in N]?: Rule<K> })[op.name];
  return rule?.(op, site);
}

/** The element that fills the constant; undefined for any other value. */
function splatOf(value: Value): number | bigint | undefined {
  const constant = definedBy(value, 'constant')?.attributes.value;
  if (constant === undefined || !(constant.data instanceof Uint8Array)) return undefined;
  if (!constant.splat && maxElements(constant.type) !== 1) return undefined;
  return elementClass(constant.type.element) === 'complex' ? undefined : literalArray(constant, 1)[0];
}

/** Whether the constant is everywhere the number, -0 and 0 told apart. */
function isSplat(value: Value, number: number): boolean {
  const splat = splatOf(value);
  return typeof splat === 'bigint' ? splat === BigInt(number) : Object.is(splat, number);
}

function elementOf(value: Value): ElementType {
  return asTensor(value.type).element;
}

const isIdentity = (list: readonly number[]): boolean => list.every((d, i) => d === i);

/** One of two operands is the neutral element: the other one. */
function neutral(number: (element: ElementType) => number): Rule<'add' | 'multiply' | 'and' | 'or' | 'xor'> {
  return (_, { operands: [x, y] }) => {
    const wanted = number(elementOf(x));
    if (isSplat(y, wanted)) return x;
    return isSplat(x, wanted) ? y : undefined;
  };
}

const same: Rule<'maximum' | 'minimum'> = (_, { operands: [x, y] }) => (x === y ? x : undefined);

const twice = <N extends 'negate' | 'not'>(op: OpOf<N>, { operands: [x] }: Site): Value | undefined =>
  definedBy(x, op.name)?.operands[0];

/** All bits set, as the element's own number. */
function ones(element: ElementType): number {
  const { class: kind, bits } = elementTypes[element];
  return kind === 'unsigned' || kind === 'boolean' ? 2 ** bits - 1 : -1;
}

/** A loop that never turns, whose condition has no effects to lose. */
function isNever({ body, results: [result] }: Region): boolean {
  return splatOf(result) === 0 && body.every(({ name }) => name === 'constant');
}

/**
 * A part that is cut out along one dimension, which is then divided: the same part of the whole that is divided, so that what takes parts of
 * the part takes them of the whole.
 */
function cutDivided(x: Value, shape: readonly Dim[], b: Builder): Value | undefined {
  const cut = definedBy(x, 'slice');
  if (cut === undefined) return undefined;
  const [whole] = cut.operands;
  const { shape: from } = asTensor(whole.type);
  const { start_indices: starts, strides } = cut.attributes;
  const part = asTensor(x.type).shape;
  const along = from.findIndex((dim, d) => !sameDim(dim, part[d]));
  const sizes = [from, part, shape].map((dims) => dims.slice(along));
  if (
    along < 0 ||
    along >= shape.length ||
    !sameShape(shape.slice(0, along), from.slice(0, along)) ||
    strides[along] !== 1
  )
    return undefined;
  if (sizes.flat().some((dim) => typeof dim !== 'number') || !sameShape(from.slice(along + 1), part.slice(along + 1))) {
    return undefined;
  }
  const [inner, unit] = [from, shape].map((dims) => elements(dims.slice(along + 1)));
  const [length, start, count] = [maxDim(from[along]), starts[along], maxDim(part[along])].map(
    (n) => (n * inner) / unit,
  );
  if (![length, start, count].every(Number.isInteger)) return undefined;
  const divided = b.reshape(whole, [...from.slice(0, along), length, ...shape.slice(along + 1)]);
  return b.slice(divided, along, start, start + count);
}

const elements = (dims: readonly Dim[]) => dims.reduce<number>((product, dim) => product * maxDim(dim), 1);

const rules: Rules = {
  add: (op, site) => neutral((element) => (elementClass(element) === 'float' ? -0 : 0))(op, site),
  and: (op, site) => (site.operands[0] === site.operands[1] ? site.operands[0] : neutral(ones)(op, site)),
  or: (op, site) => (site.operands[0] === site.operands[1] ? site.operands[0] : neutral(() => 0)(op, site)),
  xor: neutral(() => 0),
  multiply: neutral(() => 1),
  // Where no mesh is left, statements of shardings say nothing.
  custom_call: (op, { operands: [x] }) => (isConstraint(op) ? x : undefined),
  subtract: (_, { operands: [x, y] }) => (isSplat(y, 0) ? x : undefined),
  divide: (_, { operands: [x, y], b }) => {
    if (isSplat(y, 1)) return x;
    // A power of two: its inverse is exact, and both ways round the same number.
    const divisor = splatOf(y);
    const { element, shape } = asTensor(y.type);
    if ((element !== 'f32' && element !== 'f64') || typeof divisor !== 'number') return undefined;
    const exponent = Math.log2(Math.abs(divisor));
    if (!Number.isInteger(exponent) || Math.abs(exponent) > 100) return undefined;
    return b.multiply(x, b.full(element, shape, 1 / divisor));
  },
  maximum: same,
  minimum: same,
  negate: twice,
  not: twice,
  select: (_, { operands: [predicate, onTrue, onFalse], b }) => {
    if (onTrue === onFalse) return onTrue;
    const known = splatOf(predicate);
    if (known !== undefined) return known ? onTrue : onFalse;
    const inverse = definedBy(predicate, 'not');
    return inverse && b.select(inverse.operands[0], onFalse, onTrue);
  },
  convert: (op, { operands: [x], b }) => {
    const { element } = asTensor(op.results[0].type);
    if (elementOf(x) === element) return x;
    const inner = definedBy(x, 'convert')?.operands[0];
    return inner && isDetour(elementOf(inner), elementOf(x), element) ? b.convert(inner, element) : undefined;
  },
  reshape: (op, { operands: [x], b }) => {
    const { shape } = asTensor(op.results[0].type);
    if (sameShape(shape, asTensor(x.type).shape)) return x;
    const inner = definedBy(x, 'reshape')?.operands[0];
    return inner === undefined ? cutDivided(x, shape, b) : b.reshape(inner, shape);
  },
  transpose: (op, { operands: [x], b }) => {
    const { permutation } = op.attributes;
    if (isIdentity(permutation)) return x;
    const inner = definedBy(x, 'transpose');
    if (inner === undefined) return undefined;
    const composed = permutation.map((d) => inner.attributes.permutation[d]);
    return isIdentity(composed) ? inner.operands[0] : b.transpose(inner.operands[0], composed);
  },
  broadcast_in_dim: (op, { operands: [x], b }) => {
    const [{ type }] = op.results;
    const dims = op.attributes.broadcast_dimensions;
    if (sameType(type, x.type) && isIdentity(dims)) return x;
    const inner = definedBy(x, 'broadcast_in_dim');
    if (inner === undefined) return undefined;
    const composed = inner.attributes.broadcast_dimensions.map((d) => dims[d]);
    return b.broadcast(inner.operands[0], asTensor(type).shape, composed);
  },
  slice: (op, { operands: [x], b }) => {
    if (sameType(op.results[0].type, x.type)) return x;
    const inner = definedBy(x, 'slice');
    if (inner === undefined) return undefined;
    const { start_indices: starts, limit_indices: limits, strides } = op.attributes;
    const whole = inner.attributes;
    const at = (d: number, index: number) => whole.start_indices[d] + whole.strides[d] * index;
    return b.op('slice', inner.operands, {
      start_indices: starts.map((start, d) => at(d, start)),
      limit_indices: limits.map((limit, d) =>
        typeof limit === 'number' && limit > starts[d]
          ? at(d, limit - 1) + 1
          : typeof limit === 'number'
            ? at(d, starts[d])
            : limit,
      ),
      strides: strides.map((stride, d) => whole.strides[d] * stride),
    })[0];
  },
  reverse: (op, { operands: [x] }) => (op.attributes.dimensions.length === 0 ? x : undefined),
  pad: (op, { operands: [x] }) => {
    const { edge_padding_low: low, edge_padding_high: high, interior_padding: interior } = op.attributes;
    return [...low, ...high, ...interior].every((n) => n === 0) ? x : undefined;
  },
  concatenate: (_, { operands }) => (operands.length === 1 ? operands[0] : undefined),
  get_tuple_element: (op, { operands: [x] }) => definedBy(x, 'tuple')?.operands[op.attributes.index],
  if: (op, { operands: [predicate], inline }) => {
    const known = splatOf(predicate);
    return known === undefined ? undefined : inline(op.regions[known ? 0 : 1], []);
  },
  case: (op, { operands: [index], inline }) => {
    const known = splatOf(index);
    if (known === undefined) return undefined;
    const last = op.regions.length - 1;
    return inline(op.regions[known >= 0 && known <= last ? Number(known) : last], []);
  },
  while: (op, { operands }) => (isNever(op.regions[0]) ? operands : undefined),
};
