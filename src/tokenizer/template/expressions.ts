/**
 * What an expression of a template is worth: Jinja's rules (its documentation, "Expressions"), which are Python's, in the
 * sandbox of transformers. A name that is nowhere is Undefined, and most that is done with it fails.
 */
import { filterNamed } from './filters.ts';
import { methodOf } from './methods.ts';
import type { Call, Expression, Filter, Slice } from './syntax.ts';
import { contains, testNamed } from './tests.ts';
import {
  type Arguments,
  type Budget,
  Callable,
  compare,
  equals,
  Float,
  fail,
  integer,
  isDict,
  isList,
  isTrue,
  iterate,
  Namespace,
  numeric,
  Tuple,
  text,
  typeName,
  type Value,
} from './values.ts';

export class Scope {
  readonly #values = new Map<string, Value>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
  }

  get(name: string): Value {
    for (let scope: Scope | undefined = this; scope !== undefined; scope = scope.#outer) {
      if (scope.#values.has(name)) return scope.#values.get(name);
    }
    return undefined;
  }

  set(name: string, value: Value): void {
    this.#values.set(name, value);
  }
}

export function evaluate(node: Expression, scope: Scope, budget: Budget): Value {
  const value = (inner: Expression) => evaluate(inner, scope, budget);
  budget.spend(1);
  switch (node.type) {
    case 'Identifier':
      return scope.get(node.value);
    case 'IntegerLiteral':
      return integer(node.value);
    case 'FloatLiteral':
      return new Float(node.value);
    case 'StringLiteral':
      return node.value;
    case 'ArrayLiteral':
      return node.value.map(value);
    case 'TupleLiteral':
      return Tuple.from(node.value, value);
    case 'ObjectLiteral':
      return new Map(
        Array.from(node.value, ([keyNode, item]) => {
          const key = value(keyNode);
          return [typeof key === 'string' ? key : fail(`a key is ${typeName(key)}, not a string`), value(item)];
        }),
      );
    case 'MemberExpression': {
      const object = value(node.object);
      if (node.property.type === 'SliceExpression') return slice(object, node.property, value, budget);
      const byName = !node.computed && node.property.type === 'Identifier';
      return byName ? attribute(object, node.property.value, budget) : item(object, value(node.property), budget);
    }
    case 'CallExpression':
      return call(value(node.callee), readArguments(node, scope, budget), budget);
    case 'BinaryExpression':
      if (isOrder(node) && node.left.type === 'BinaryExpression' && isOrder(node.left)) fail('a chain of comparisons');
      return binary(node.operator.value, value(node.left), () => value(node.right), budget);
    case 'UnaryExpression':
      return unary(node.operator.value, value(node.argument));
    case 'FilterExpression':
      return applyFilter(node.filter, value(node.operand), scope, budget);
    case 'TestExpression':
      return testNamed(node.test.value)(value(node.operand), undefined, budget) !== node.negate;
    case 'SelectExpression':
      return isTrue(value(node.test)) ? value(node.lhs) : undefined;
    case 'Ternary':
      return value(isTrue(value(node.condition)) ? node.trueExpr : node.falseExpr);
    case 'SliceExpression':
      return fail('a slice stands alone');
    default:
      return node satisfies never;
  }
}

/** Python's `a < b < c` is `a < b and b < c`; the parser makes `(a < b) < c` of it. */
function isOrder({ operator }: { readonly operator: { readonly value: string } }): boolean {
  return operator.value.startsWith('<') || operator.value.startsWith('>');
}

export function applyFilter(filter: Filter, operand: Value, scope: Scope, budget: Budget): Value {
  const none: Arguments = { positional: [], keywords: new Map() };
  if (filter.type === 'Identifier') return filterNamed(filter.value)(operand, none, budget);
  return filterNamed(filter.callee.value)(operand, readArguments(filter, scope, budget), budget);
}

export function call(callee: Value, args: Arguments, budget: Budget): Value {
  budget.spend(1);
  return callee instanceof Callable ? callee.call(args) : fail(`${typeName(callee)} is called`);
}

export function readArguments({ args }: Pick<Call, 'args'>, scope: Scope, budget: Budget): Arguments {
  const positional: Value[] = [];
  const keywords = new Map<string, Value>();
  const name = (key: string, given: Value) => {
    budget.spend(1);
    if (keywords.has(key)) fail(`${key} is given twice`);
    keywords.set(key, given);
  };
  const mapping = (given: Value) => (isDict(given) ? given : fail(`** is given ${typeName(given)}`));
  for (const argument of args) {
    switch (argument.type) {
      case 'KeywordArgumentExpression':
        name(argument.key.value, evaluate(argument.value, scope, budget));
        break;
      case 'SpreadExpression':
        for (const given of iterate(evaluate(argument.argument, scope, budget), budget)) positional.push(given);
        break;
      case 'KeywordSpreadExpression':
        for (const [key, given] of mapping(evaluate(argument.argument, scope, budget))) name(key, given);
        break;
      default:
        positional.push(evaluate(argument, scope, budget));
    }
  }
  return { positional, keywords };
}

/** `object.name`: a method comes before a key. */
function attribute(object: Value, name: string, budget: Budget): Value {
  if (object === undefined) return fail(`${name} of something undefined`);
  if (name.startsWith('__')) return fail(`${name} is not for templates`);
  const method = methodOf(object, name, budget);
  if (method !== undefined) return method;
  if (isDict(object)) return object.get(name);
  return object instanceof Namespace ? object.values.get(name) : undefined;
}

/** `object[key]`: a key comes before a method. */
function item(object: Value, key: Value, budget: Budget): Value {
  if (object === undefined) return fail('an item of something undefined');
  if (typeof key === 'string') {
    if (isDict(object) && object.has(key)) return object.get(key);
    return object instanceof Namespace ? fail('a namespace has no items') : methodOf(object, key, budget);
  }
  if (typeof key !== 'number') return undefined;
  if (isList(object)) return object.at(key);
  return typeof object === 'string' ? iterate(object, budget).at(key) : undefined;
}

/** Python's `object[start:stop:step]`. */
function slice(object: Value, node: Slice, value: (inner: Expression) => Value, budget: Budget): Value {
  const given = (inner: Expression | undefined) => {
    const bound = inner === undefined ? null : value(inner);
    if (bound === null || typeof bound === 'number') return bound;
    return fail(`a slice is bounded by ${typeName(bound)}`);
  };
  const [start, stop, step] = [given(node.start), given(node.stop), given(node.step) ?? 1];
  if (step === 0) return fail('the step of a slice is 0');
  if (!isList(object) && typeof object !== 'string') return undefined;
  const items = iterate(object, budget);
  const [low, high] = step > 0 ? [0, items.length] : [-1, items.length - 1];
  const clamp = (bound: number) => Math.min(high, Math.max(low, bound < 0 ? bound + items.length : bound));
  const end = stop === null ? (step > 0 ? high : low) : clamp(stop);
  const found: Value[] = object instanceof Tuple ? new Tuple() : [];
  for (let i = start === null ? (step > 0 ? low : high) : clamp(start); step > 0 ? i < end : i > end; i += step) {
    found.push(items[i]);
  }
  return typeof object === 'string' ? found.join('') : found;
}

function unary(operator: string, operand: Value): Value {
  if (operator === 'not') return !isTrue(operand);
  const number = numeric(operand);
  if (number === undefined) return fail(`the sign of ${typeName(operand)}`);
  const signed = operator === '-' ? -number : number;
  return operand instanceof Float ? new Float(signed) : signed + 0;
}

function binary(operator: string, left: Value, readRight: () => Value, budget: Budget): Value {
  if (operator === 'and') return isTrue(left) ? readRight() : left;
  if (operator === 'or') return isTrue(left) ? left : readRight();
  const right = readRight();
  switch (operator) {
    case '==':
      return equals(left, right, budget);
    case '!=':
      return !equals(left, right, budget);
    case 'in':
      return contains(right, left, budget);
    case 'not in':
      return !contains(right, left, budget);
    case '<':
      return compare(left, right, budget) < 0;
    case '>':
      return compare(left, right, budget) > 0;
    case '<=':
      return compare(left, right, budget) <= 0;
    case '>=':
      return compare(left, right, budget) >= 0;
    case '~':
      return budget.made(text(left, budget) + text(right, budget));
    default:
      return arithmetic(operator, left, right, budget);
  }
}

function arithmetic(operator: string, left: Value, right: Value, budget: Budget): Value {
  const [a, b] = [numeric(left), numeric(right)];
  if (a !== undefined && b !== undefined) {
    const float = operator === '/' || left instanceof Float || right instanceof Float || (operator === '**' && b < 0);
    const result = compute(operator, a, b);
    return float ? new Float(result) : integer(result) + 0;
  }
  if (operator === '+' && typeof left === 'string' && typeof right === 'string') return budget.made(left + right);
  if (operator === '+' && isList(left) && isList(right) && left instanceof Tuple === right instanceof Tuple) {
    budget.spend(left.length + right.length);
    return left.concat(right);
  }
  const [many, times] = typeof right === 'number' ? [left, right] : [right, left];
  if (operator === '*' && typeof times === 'number' && (typeof many === 'string' || isList(many))) {
    const count = Math.max(0, times);
    budget.spend(count * (many.length + 1));
    if (typeof many === 'string') return many.repeat(count);
    const items = Array.from({ length: count }, () => many).flat();
    return many instanceof Tuple ? Tuple.from(items) : items;
  }
  return fail(`${operator} of ${typeName(left)} and ${typeName(right)}`);
}

function compute(operator: string, a: number, b: number): number {
  if (b === 0 && (operator === '/' || operator === '//' || operator === '%')) return fail('a division by zero');
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return a / b;
    case '//':
      return Math.floor(a / b);
    case '%':
      return a - b * Math.floor(a / b);
    case '**': {
      const power = a ** b;
      return Number.isFinite(power) ? power : fail(`${a} to the power of ${b}`);
    }
    default:
      return fail(`the operator ${operator} is not known`);
  }
}
