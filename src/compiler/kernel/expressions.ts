/** Short names for expressions on elements; what is known at once is not computed. */
import type { ComparisonDirection } from '../../ir/attributes.ts';
import { elementClass, elementTypes } from '../../numerics/element-types.ts';
import type { Binary, Expression, Local, ScalarElement, ScalarType, Unary } from './language.ts';

export function constant(type: ScalarType, value: number | bigint): Expression {
  const wide = type === 'i64' || type === 'ui64';
  return { kind: 'constant', type, value: wide ? BigInt(value) : Number(value) };
}

export function localValue(local: Local): Expression {
  return { kind: 'local', type: local.type, local };
}

export function unary(op: Unary, x: Expression): Expression {
  return { kind: 'unary', type: elementOf(x), op, x };
}

export function binary(op: Binary, a: Expression, b: Expression): Expression {
  return { kind: 'binary', type: a.type, op, a, b };
}

export const add = (a: Expression, b: Expression) => binary('add', a, b);
export const subtract = (a: Expression, b: Expression) => binary('subtract', a, b);
export const multiply = (a: Expression, b: Expression) => binary('multiply', a, b);
export const divide = (a: Expression, b: Expression) => binary('divide', a, b);
export function and(a: Expression, b: Expression): Expression {
  if (a.kind === 'constant' && a.type === 'i1') return a.value === 1 ? b : a;
  if (b.kind === 'constant' && b.type === 'i1') return b.value === 1 ? a : b;
  return binary('and', a, b);
}
export const or = (a: Expression, b: Expression) => binary('or', a, b);
export const negate = (x: Expression) => unary('negate', x);
export const not = (x: Expression) => unary('not', x);

export function compare(op: ComparisonDirection, a: Expression, b: Expression): Expression {
  return { kind: 'compare', type: 'i1', op, a, b };
}

export function select(condition: Expression, a: Expression, b: Expression): Expression {
  if (condition.kind === 'constant') return condition.value === 0 ? b : a;
  return { kind: 'select', type: a.type, condition, a, b };
}

export function finite(x: Expression): Expression {
  return { kind: 'is_finite', type: 'i1', x };
}

export function convert(x: Expression, type: ScalarType): Expression {
  return x.type === type ? x : { kind: 'convert', type, x };
}

export function bitcast(x: Expression, type: ScalarElement): Expression {
  return x.type === type ? x : { kind: 'bitcast', type, x };
}

/** The type of an expression that is no index. */
export function elementOf(x: Expression): ScalarElement {
  if (x.type === 'index') throw new Error('an index is no element');
  return x.type;
}

export function isFloat(type: ScalarType): boolean {
  return type !== 'index' && elementClass(type) === 'float';
}

const unsigned = { 1: 'i1', 4: 'ui4', 8: 'ui8', 16: 'ui16', 32: 'ui32', 64: 'ui64' } as const;

/** The unsigned integers of the same width; i1 is its own. */
export function unsignedOf(type: ScalarElement): ScalarElement {
  return unsigned[elementTypes[type].bits];
}

/** The element as a bit pattern. */
export function bitsOf(x: Expression): Expression {
  return bitcast(x, unsignedOf(elementOf(x)));
}

/** What an expression is made of. */
export function operandsOf(e: Expression): readonly Expression[] {
  switch (e.kind) {
    case 'constant':
    case 'axis':
    case 'dim':
    case 'local':
      return [];
    case 'load':
      return [e.index];
    case 'unary':
    case 'is_finite':
    case 'convert':
    case 'bitcast':
      return [e.x];
    case 'binary':
    case 'compare':
      return [e.a, e.b];
    case 'select':
      return [e.condition, e.a, e.b];
    default:
      return e satisfies never;
  }
}

/** The same expression of other operands. */
export function mapOperands(e: Expression, f: (operand: Expression) => Expression): Expression {
  switch (e.kind) {
    case 'constant':
    case 'axis':
    case 'dim':
    case 'local':
      return e;
    case 'load':
      return { ...e, index: f(e.index) };
    case 'unary':
    case 'is_finite':
    case 'convert':
    case 'bitcast':
      return { ...e, x: f(e.x) };
    case 'binary':
    case 'compare':
      return { ...e, a: f(e.a), b: f(e.b) };
    case 'select':
      return { ...e, condition: f(e.condition), a: f(e.a), b: f(e.b) };
    default:
      return e satisfies never;
  }
}
