/** What stands after `is` (Jinja's documentation, "List of Builtin Tests"). */
import {
  type Budget,
  Callable,
  compare,
  equals,
  Float,
  fail,
  isDict,
  isList,
  iterate,
  numeric,
  text,
  typeName,
  type Value,
} from './values.ts';

type Test = (value: Value, other: Value, budget: Budget) => boolean;

function whole(value: Value): number {
  const number = numeric(value);
  return number === undefined ? fail(`${typeName(value)} is neither even nor odd`) : number;
}

const isEqual: Test = (a, b, budget) => equals(a, b, budget);
const isLess: Test = (a, b, budget) => compare(a, b, budget) < 0;
const isMore: Test = (a, b, budget) => compare(a, b, budget) > 0;
const isSequence: Test = (value) => value === undefined || typeof value === 'string' || isList(value) || isDict(value);

const tests: Readonly<Record<string, Test>> = {
  boolean: (value) => typeof value === 'boolean',
  callable: (value) => value instanceof Callable,
  defined: (value) => value !== undefined,
  undefined: (value) => value === undefined,
  none: (value) => value === null,
  true: (value) => value === true,
  false: (value) => value === false,
  string: (value) => typeof value === 'string',
  number: (value) => numeric(value) !== undefined,
  integer: (value) => typeof value === 'number',
  float: (value) => value instanceof Float,
  mapping: (value) => isDict(value),
  iterable: isSequence,
  sequence: isSequence,
  even: (value) => whole(value) % 2 === 0,
  odd: (value) => Math.abs(whole(value) % 2) === 1,
  lower: (value, _, budget) =>
    /\p{Cased}/u.test(text(value, budget)) && text(value, budget) === text(value, budget).toLowerCase(),
  upper: (value, _, budget) =>
    /\p{Cased}/u.test(text(value, budget)) && text(value, budget) === text(value, budget).toUpperCase(),
  eq: isEqual,
  equalto: isEqual,
  '==': isEqual,
  ne: (a, b, budget) => !equals(a, b, budget),
  '!=': (a, b, budget) => !equals(a, b, budget),
  lt: isLess,
  lessthan: isLess,
  '<': isLess,
  gt: isMore,
  greaterthan: isMore,
  '>': isMore,
  le: (a, b, budget) => compare(a, b, budget) <= 0,
  '<=': (a, b, budget) => compare(a, b, budget) <= 0,
  ge: (a, b, budget) => compare(a, b, budget) >= 0,
  '>=': (a, b, budget) => compare(a, b, budget) >= 0,
  in: (a, b, budget) => contains(b, a, budget),
};

/** Python's `in`. */
export function contains(all: Value, part: Value, budget: Budget): boolean {
  if (typeof all === 'string') {
    if (typeof part !== 'string') return fail(`${typeName(part)} is sought in a string`);
    budget.search(all, part);
    return all.includes(part);
  }
  if (isDict(all)) return typeof part === 'string' && all.has(part);
  return iterate(all, budget).some((item) => equals(item, part, budget));
}

/** @throws IngotError 'InvalidArgument' for tests that are not known. */
export function testNamed(name: string): Test {
  return Object.hasOwn(tests, name) ? tests[name] : fail(`there is no test ${name}`);
}
