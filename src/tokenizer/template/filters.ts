/** Jinja's filters (its documentation, "List of Builtin Filters"), with the `tojson` of transformers. */
import { argument, capitalize, dictMethods, join, linesOf, replace, stringArgument, strip, texts } from './methods.ts';
import { testNamed } from './tests.ts';
import {
  type Arguments,
  type Budget,
  compare,
  equals,
  Float,
  fail,
  integer,
  isDict,
  isList,
  isTrue,
  iterate,
  type JsonStyle,
  jsonText,
  type List,
  lengthOf,
  numeric,
  text,
  typeName,
  type Value,
} from './values.ts';

type Filter = (value: Value, args: Arguments, budget: Budget) => Value;

const lower: Filter = (value, _, budget) => budget.made(text(value, budget).toLowerCase());
const upper: Filter = (value, _, budget) => budget.made(text(value, budget).toUpperCase());
const length: Filter = (value, _, budget) => lengthOf(value, budget);

const absent: Filter = (value, args) => {
  const instead = argument(args, 0, 'default_value');
  const empty = value === undefined || (isTrue(argument(args, 1, 'boolean')) && !isTrue(value));
  return empty ? (args.positional.length === 0 && instead === undefined ? '' : instead) : value;
};

function indent(value: Value, args: Arguments, budget: Budget): string {
  const width = argument(args, 0, 'width') ?? 4;
  const [first, blank] = [isTrue(argument(args, 1, 'first')), isTrue(argument(args, 2, 'blank'))];
  const lines = linesOf(`${text(value, budget)}\n`);
  const amount = typeof width === 'string' ? width.length : (numeric(width) ?? fail('the width is no number'));
  budget.spend((lines.length + 1) * Math.max(1, amount));
  const space = typeof width === 'string' ? width : ' '.repeat(Math.max(0, amount));
  const indented = lines.map((line, i) => (i > 0 && (blank || line !== '') ? space + line : line));
  return (first ? space : '') + join('\n', indented, budget);
}

function toJson(value: Value, args: Arguments, budget: Budget): string {
  const given = argument(args, 1, 'indent') ?? null;
  const separators = argument(args, 2, 'separators') ?? null;
  const style: JsonStyle = {
    ascii: isTrue(argument(args, 0, 'ensure_ascii')),
    sortKeys: isTrue(argument(args, 3, 'sort_keys')),
    ...(given !== null && { indent: indentation(given, budget) }),
    ...(separators !== null && { separators: pair(separators) }),
  };
  return jsonText(value, style, budget);
}

function indentation(given: Value, budget: Budget): string {
  if (typeof given === 'string') return given;
  const width = numeric(given) ?? fail(`indent is ${typeName(given)}`);
  budget.spend(Math.max(0, width));
  return ' '.repeat(Math.max(0, width));
}

function pair(value: Value): readonly [string, string] {
  const [item, key] = isList(value) ? value : [];
  return typeof item === 'string' && typeof key === 'string' ? [item, key] : fail('separators are two strings');
}

/** `a.b.0` of a value: keys and places. */
function attribute(value: Value, path: Value): Value {
  let found = value;
  for (const part of typeof path === 'string' ? path.split('.') : [path]) {
    const place = typeof part === 'number' ? part : /^\d+$/.test(String(part)) ? Number(part) : undefined;
    if (isList(found)) found = place === undefined ? undefined : found[place];
    else found = isDict(found) ? found.get(String(part)) : undefined;
  }
  return found;
}

/** Items for which a test holds, of them or of one of their attributes. */
function choose(wanted: boolean, byAttribute: boolean): Filter {
  return (value, { positional }, budget) => {
    const [path, name, other] = byAttribute ? positional : [undefined, ...positional];
    const test = name === undefined ? isTrue : testNamed(text(name, budget));
    return iterate(value, budget).filter(
      (item) => test(byAttribute ? attribute(item, path) : item, other, budget) === wanted,
    );
  };
}

/** Strings are the same in upper and lower case, unless asked otherwise. */
function sortKey(args: Arguments, places: { readonly sensitive: number; readonly path: number }, budget: Budget) {
  const sensitive = isTrue(argument(args, places.sensitive, 'case_sensitive'));
  const path = argument(args, places.path, 'attribute') ?? null;
  return (item: Value): Value => {
    const key = path === null ? item : attribute(item, path);
    return typeof key === 'string' && !sensitive ? budget.made(key.toLowerCase()) : key;
  };
}

function sorted(items: List, key: (item: Value) => Value, backwards: boolean, budget: Budget): List {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  keyed.sort((a, b) => (backwards ? compare(b.key, a.key, budget) : compare(a.key, b.key, budget)));
  return keyed.map(({ item }) => item);
}

/** As Python reads a number; undefined if it is none. */
function readNumber(value: Value, budget: Budget): number | undefined {
  if (typeof value !== 'string') return numeric(value);
  const written = strip(value, { positional: [], keywords: new Map() }, budget);
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(written) ? Number(written) : undefined;
}

const toFloat: Filter = (value, args, budget) => {
  const read = readNumber(value, budget);
  return read === undefined ? (argument(args, 0, 'default') ?? new Float(0)) : new Float(read);
};

const toInt: Filter = (value, args, budget) => {
  const read = readNumber(value, budget);
  return read === undefined ? (argument(args, 0, 'default') ?? 0) : integer(Math.trunc(read) + 0);
};

const filters: Readonly<Record<string, Filter>> = {
  abs(value) {
    const size = Math.abs(numeric(value) ?? fail(`${typeName(value)} has no absolute value`));
    return value instanceof Float ? new Float(size) : size;
  },
  capitalize: (value, _, budget) => budget.made(capitalize(text(value, budget))),
  count: length,
  d: absent,
  default: absent,
  dictsort(value, args, budget) {
    if (!isDict(value)) return fail(`dictsort is given ${typeName(value)}`);
    const by = stringArgument(args, 1, 'by', 'key') === 'value' ? 1 : 0;
    const key = sortKey({ ...args, positional: [args.positional[0], by] }, { sensitive: 0, path: 1 }, budget);
    const items = dictMethods.items(value, args, budget);
    return sorted(iterate(items, budget), key, isTrue(argument(args, 2, 'reverse')), budget);
  },
  first: (value, _, budget) => iterate(value, budget)[0],
  float: toFloat,
  indent,
  int: toInt,
  items: (value, args, budget) =>
    value === undefined ? [] : isDict(value) ? dictMethods.items(value, args, budget) : fail('items of no mapping'),
  join(value, args, budget) {
    const path = argument(args, 1, 'attribute') ?? null;
    const items = iterate(value, budget).map((item) => (path === null ? item : attribute(item, path)));
    return join(text(argument(args, 0, 'd'), budget), texts(items, budget), budget);
  },
  last: (value, _, budget) => iterate(value, budget).at(-1),
  length,
  list: (value, _, budget) => Array.from(iterate(value, budget)),
  lower,
  map(value, args, budget) {
    const path = args.keywords.get('attribute');
    const instead = args.keywords.get('default');
    const items = iterate(value, budget);
    if (path !== undefined) return items.map((item) => attribute(item, path) ?? instead);
    const [name, ...positional] = args.positional;
    const filter = filterNamed(stringArgument(args, 0, 'filter', text(name, budget)));
    return items.map((item) => filter(item, { positional, keywords: args.keywords }, budget));
  },
  reject: choose(false, false),
  rejectattr: choose(false, true),
  replace: (value, args, budget) => replace(text(value, budget), args, budget),
  reverse(value, _, budget) {
    const items = iterate(value, budget).slice().reverse();
    return typeof value === 'string' ? items.join('') : items;
  },
  safe: (value, _, budget) => text(value, budget),
  select: choose(true, false),
  selectattr: choose(true, true),
  sort(value, args, budget) {
    const key = sortKey(args, { sensitive: 1, path: 2 }, budget);
    return sorted(iterate(value, budget), key, isTrue(argument(args, 0, 'reverse')), budget);
  },
  string: (value, _, budget) => text(value, budget),
  title: (value, _, budget) =>
    budget.made(text(value, budget).replace(/(?<![^-\s({[<])[^-\s({[<]+/g, (word) => capitalize(word))),
  tojson: toJson,
  trim: (value, args, budget) => strip(text(value, budget), args, budget),
  unique(value, args, budget) {
    const key = sortKey(args, { sensitive: 0, path: 1 }, budget);
    const seen: Value[] = [];
    return iterate(value, budget).filter((item) => {
      const candidate = key(item);
      if (seen.some((other) => equals(other, candidate, budget))) return false;
      seen.push(candidate);
      return true;
    });
  },
  upper,
};

/** @throws IngotError 'InvalidArgument' for filters that are not known: leaving one out would give another text. */
export function filterNamed(name: string): Filter {
  return Object.hasOwn(filters, name) ? filters[name] : fail(`there is no filter ${name}`);
}
