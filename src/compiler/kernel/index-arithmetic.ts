/**
 * Arithmetic on indices that keeps them in one normal form, a sum of (atom * constant) + constant, so that a reshape that
 * only splits or joins dimensions leaves nothing behind, and equal indices are equal texts. An atom is an axis, a
 * dimension, a value from memory, or a quotient or remainder by a constant that nothing could simplify.
 */
import { type Dim, maxDim } from '../../ir/types.ts';
import { keyOf } from './expression-key.ts';
import type { Axis, Binary, Expression } from './language.ts';

interface Term {
  readonly atom: Expression;
  readonly by: number;
}
interface Sum {
  readonly terms: ReadonlyMap<string, Term>;
  readonly constant: number;
}

export function indexConstant(value: number): Expression {
  return { kind: 'constant', type: 'index', value };
}

export function axisIndex(axis: Axis): Expression {
  return { kind: 'axis', type: 'index', axis };
}

export function dimIndex(dim: Dim): Expression {
  return typeof dim === 'number' ? indexConstant(dim) : { kind: 'dim', type: 'index', sym: dim.sym };
}

function raw(op: Binary, a: Expression, b: Expression): Expression {
  return { kind: 'binary', type: 'index', op, a, b };
}

/** The value of a constant index. */
export function constantIndex(e: Expression): number | undefined {
  return e.kind === 'constant' ? Number(e.value) : undefined;
}

function sumOf(e: Expression): Sum {
  if (e.kind === 'constant') return { terms: new Map(), constant: Number(e.value) };
  if (e.kind === 'binary') {
    if (e.op === 'add') return addSums(sumOf(e.a), sumOf(e.b), 1);
    if (e.op === 'subtract') return addSums(sumOf(e.a), sumOf(e.b), -1);
    if (e.op === 'multiply' && e.b.kind === 'constant') return scaleSum(sumOf(e.a), Number(e.b.value));
  }
  return { terms: new Map([[keyOf(e), { atom: e, by: 1 }]]), constant: 0 };
}

function addSums(a: Sum, b: Sum, sign: 1 | -1): Sum {
  const terms = new Map(a.terms);
  for (const [key, { atom, by }] of b.terms) {
    const sum = (terms.get(key)?.by ?? 0) + sign * by;
    if (sum === 0) terms.delete(key);
    else terms.set(key, { atom, by: sum });
  }
  return { terms, constant: a.constant + sign * b.constant };
}

function scaleSum({ terms, constant }: Sum, by: number): Sum {
  if (by === 0) return { terms: new Map(), constant: 0 };
  return {
    terms: new Map([...terms].map(([key, term]) => [key, { atom: term.atom, by: term.by * by }])),
    constant: constant * by,
  };
}

/** (x / n) * n + x % n is x. */
function joinQuotients(sum: Sum): Sum {
  for (const { atom, by } of sum.terms.values()) {
    if (atom.kind !== 'binary' || atom.op !== 'remainder' || atom.b.kind !== 'constant') continue;
    const n = Number(atom.b.value);
    const quotient = keyOf(raw('divide', atom.a, atom.b));
    if (sum.terms.get(quotient)?.by !== by * n) continue;
    const terms = new Map(sum.terms);
    terms.delete(quotient);
    terms.delete(keyOf(atom));
    return joinQuotients(addSums({ terms, constant: sum.constant }, scaleSum(sumOf(atom.a), by), 1));
  }
  return sum;
}

function expressionOf(sum: Sum): Expression {
  const { terms, constant } = joinQuotients(sum);
  let e: Expression | undefined;
  for (const { atom, by } of terms.values()) {
    const term = by === 1 ? atom : raw('multiply', atom, indexConstant(by));
    e = e === undefined ? term : raw('add', e, term);
  }
  if (e === undefined) return indexConstant(constant);
  return constant === 0 ? e : raw('add', e, indexConstant(constant));
}

export function addIndex(a: Expression, b: Expression): Expression {
  return expressionOf(addSums(sumOf(a), sumOf(b), 1));
}

export function subtractIndex(a: Expression, b: Expression): Expression {
  return expressionOf(addSums(sumOf(a), sumOf(b), -1));
}

export function scaleIndex(a: Expression, by: number): Expression {
  return expressionOf(scaleSum(sumOf(a), by));
}

/** Product of extents, of which at most one is no constant. */
export function multiplyIndex(a: Expression, b: Expression): Expression {
  if (b.kind === 'constant') return scaleIndex(a, Number(b.value));
  if (a.kind === 'constant') return scaleIndex(b, Number(a.value));
  return raw('multiply', a, b);
}

/**
 * The index with `by` in the place of (outer * turns + inner); undefined if it depends on one of them in another way.
 * `inside` does the same to what an atom is made of.
 */
export function substitute(
  e: Expression,
  outer: Axis,
  inner: Axis,
  turns: number,
  by: Expression,
  inside: (atom: Expression) => Expression | undefined,
): Expression | undefined {
  const sum = sumOf(e);
  const outerBy = sum.terms.get(keyOf(axisIndex(outer)))?.by ?? 0;
  const innerBy = sum.terms.get(keyOf(axisIndex(inner)))?.by ?? 0;
  if (outerBy !== innerBy * turns) return undefined;
  let result = scaleIndex(by, innerBy);
  for (const { atom, by: factor } of sum.terms.values()) {
    if (atom.kind === 'axis' && (atom.axis === outer || atom.axis === inner)) continue;
    const mapped = inside(atom);
    if (mapped === undefined) return undefined;
    result = addIndex(result, scaleIndex(mapped, factor));
  }
  return addIndex(result, indexConstant(sum.constant));
}

type Range = readonly [low: number, high: number];
const unknown: Range = [-Infinity, Infinity];

function rangeOf(e: Expression): Range {
  if (e.kind === 'constant') return [Number(e.value), Number(e.value)];
  if (e.kind === 'dim') return [0, Infinity];
  if (e.kind === 'axis') {
    const extent = constantIndex(e.axis.extent);
    return [0, extent === undefined ? Infinity : Math.max(0, extent - 1)];
  }
  if (e.kind !== 'binary') return unknown;
  const n = constantIndex(e.b);
  const [low, high] = rangeOf(e.a);
  if (e.op === 'remainder' && n !== undefined) return [0, Math.min(n - 1, high)];
  if (e.op === 'divide' && n !== undefined) return [Math.floor(low / n), Math.floor(high / n)];
  if (e.op === 'minimum' && n !== undefined) return [Math.min(low, n), Math.min(high, n)];
  if (e.op === 'maximum' && n !== undefined) return [Math.max(low, n), Math.max(high, n)];
  if (e.op === 'add' || e.op === 'subtract' || e.op === 'multiply') return rangeOfSum(sumOf(e), e);
  return unknown;
}

function rangeOfSum(sum: Sum, whole?: Expression): Range {
  let [low, high] = [sum.constant, sum.constant];
  for (const { atom, by } of sum.terms.values()) {
    if (atom === whole) return unknown;
    const [from, to] = rangeOf(atom);
    low += by > 0 ? from * by : to * by;
    high += by > 0 ? to * by : from * by;
  }
  return Number.isNaN(low) || Number.isNaN(high) ? unknown : [low, high];
}

/** What of a sum is a multiple of n, divided by it, and the rest. */
function split(sum: Sum, n: number): { whole: Sum; rest: Sum } {
  const [whole, rest] = [new Map<string, Term>(), new Map<string, Term>()];
  for (const [key, { atom, by }] of sum.terms) {
    if (by % n === 0) whole.set(key, { atom, by: by / n });
    else rest.set(key, { atom, by });
  }
  const constant = Math.floor(sum.constant / n);
  return { whole: { terms: whole, constant }, rest: { terms: rest, constant: sum.constant - constant * n } };
}

/** Of an index that is not negative by a positive constant. */
export function divideIndex(x: Expression, n: number): Expression {
  if (n === 1) return x;
  const { whole, rest } = split(joinQuotients(sumOf(x)), n);
  const [low, high] = rangeOfSum(rest);
  if (low >= 0 && high < n) return expressionOf(whole);
  if (low < 0) return raw('divide', x, indexConstant(n));
  const left = expressionOf(rest);
  // (y / m) / n is y / (m * n).
  const deep = left.kind === 'binary' && left.op === 'divide' ? constantIndex(left.b) : undefined;
  const quotient =
    deep !== undefined && left.kind === 'binary'
      ? raw('divide', left.a, indexConstant(deep * n))
      : raw('divide', left, indexConstant(n));
  return expressionOf(addSums(whole, sumOf(quotient), 1));
}

export function remainderIndex(x: Expression, n: number): Expression {
  if (n === 1) return indexConstant(0);
  const { rest } = split(joinQuotients(sumOf(x)), n);
  const [low, high] = rangeOfSum(rest);
  if (low >= 0 && high < n) return expressionOf(rest);
  return raw('remainder', low >= 0 ? expressionOf(rest) : x, indexConstant(n));
}

export function minimumIndex(x: Expression, limit: Expression): Expression {
  const n = constantIndex(limit);
  if (n !== undefined && rangeOf(x)[1] <= n) return x;
  return keyOf(x) === keyOf(limit) ? x : raw('minimum', x, limit);
}

export function maximumIndex(x: Expression, limit: number): Expression {
  return rangeOf(x)[0] >= limit ? x : raw('maximum', x, indexConstant(limit));
}

// ── shapes ──

/** Row-major, in elements: a symbolic dimension leads, so that no stride depends on it. */
function stridesOf(shape: readonly Dim[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = stride;
    stride *= maxDim(shape[d]);
  }
  return strides;
}

/** The number of an element in row-major order. */
export function linearIndex(index: readonly Expression[], shape: readonly Dim[]): Expression {
  const strides = stridesOf(shape);
  return index.reduce((sum, e, d) => addIndex(sum, scaleIndex(e, strides[d])), indexConstant(0));
}

/** Its index, from the number. */
export function spreadIndex(linear: Expression, shape: readonly Dim[]): Expression[] {
  const strides = stridesOf(shape);
  return shape.map((dim, d) => {
    if (dim === 1) return indexConstant(0);
    const quotient = divideIndex(linear, strides[d]);
    return d === 0 || shape.slice(0, d).every((outer) => outer === 1)
      ? quotient
      : remainderIndex(quotient, maxDim(dim));
  });
}
