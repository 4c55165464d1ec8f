/**
 * Methods of Python's `str` and `dict` that templates call (library reference, "Built-in Types"). The sandbox of transformers
 * forbids those that change a value.
 */
import {
  type Arguments,
  type Budget,
  Callable,
  fail,
  isDict,
  isList,
  lengthOf,
  Tuple,
  text,
  typeName,
  type Value,
} from './values.ts';

type Method<T> = (self: T, args: Arguments, budget: Budget) => Value;

/** One argument, given by its place or its name. */
export function argument(args: Arguments, place: number, name: string): Value {
  return place < args.positional.length ? args.positional[place] : args.keywords.get(name);
}

export function stringArgument(args: Arguments, place: number, name: string, absent?: string): string {
  const value = argument(args, place, name);
  if (typeof value === 'string') return value;
  if ((value === undefined || value === null) && absent !== undefined) return absent;
  return fail(`${name} is ${typeName(value)}, not a string`);
}

export function integerArgument(args: Arguments, place: number, name: string, absent: number): number {
  const value = argument(args, place, name);
  if (value === undefined || value === null) return absent;
  return typeof value === 'number' ? value : fail(`${name} is ${typeName(value)}, not a whole number`);
}

const lineEnds = '\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029';
/** White space, as Python's `str.isspace` has it. */
const space: ReadonlySet<string> = new Set(
  `\t\x1f \xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000${lineEnds}`,
);

/** Python's `str.splitlines`, of a text that ends in a line's end. */
export function linesOf(text: string): readonly string[] {
  const lines: string[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (!lineEnds.includes(text[i])) continue;
    lines.push(text.slice(start, i));
    if (text[i] === '\r' && text[i + 1] === '\n') i++;
    start = i + 1;
  }
  return lines;
}

/** Takes white space, or the given characters, off the ends. */
export function strip(self: string, args: Arguments, budget: Budget, ends: 'left' | 'right' | 'both' = 'both'): string {
  const given = argument(args, 0, 'chars');
  const chars = given === undefined || given === null ? undefined : new Set(stringArgument(args, 0, 'chars'));
  const drops = (character: string) => (chars === undefined ? space.has(character) : chars.has(character));
  const characters = Array.from(self);
  budget.spend(characters.length);
  let [start, end] = [0, characters.length];
  while (ends !== 'right' && start < end && drops(characters[start])) start++;
  while (ends !== 'left' && end > start && drops(characters[end - 1])) end--;
  return characters.slice(start, end).join('');
}

export function replace(self: string, args: Arguments, budget: Budget): string {
  const [before, after] = [stringArgument(args, 0, 'old'), stringArgument(args, 1, 'new')];
  const count = integerArgument(args, 2, 'count', -1);
  budget.search(self, before);
  const parts = before === '' ? ['', ...self, ''] : self.split(before);
  const replaced = count < 0 ? parts.length - 1 : Math.min(count, parts.length - 1);
  budget.spend(parts.length + self.length + replaced * after.length);
  const head = parts.slice(0, replaced + 1).join(after);
  const tail = parts.slice(replaced + 1).map((part) => before + part);
  return head + tail.join('');
}

function split(self: string, args: Arguments, budget: Budget, from: 'left' | 'right'): Value {
  const limit = integerArgument(args, 1, 'maxsplit', -1);
  const given = argument(args, 0, 'sep');
  const separator = given === undefined || given === null ? undefined : stringArgument(args, 0, 'sep');
  budget.search(self, separator ?? ' ');
  if (separator === '') return fail('the separator is empty');
  if (separator === undefined) return splitAtSpace(self, limit, from, budget);
  const parts = self.split(separator);
  budget.spend(parts.length);
  if (limit < 0 || parts.length <= limit + 1) return parts;
  const rest = parts.length - limit;
  return from === 'left'
    ? [...parts.slice(0, limit), parts.slice(limit).join(separator)]
    : [parts.slice(0, rest).join(separator), ...parts.slice(rest)];
}

/** Runs of white space separate, and there is no empty part. */
function splitAtSpace(self: string, limit: number, from: 'left' | 'right', budget: Budget): Value {
  const words: { readonly start: number; readonly end: number }[] = [];
  let start = -1;
  for (let i = 0; i <= self.length; i++) {
    const inside = i < self.length && !space.has(self[i]);
    if (inside && start < 0) start = i;
    if (inside || start < 0) continue;
    words.push({ start, end: i });
    start = -1;
  }
  budget.spend(words.length);
  const part = (word: { readonly start: number; readonly end: number }) => self.slice(word.start, word.end);
  if (limit < 0 || words.length <= limit) return words.map(part);
  if (from === 'left') {
    const rest = words.slice(limit, limit + 1).map((word) => strip(self.slice(word.start), none, budget, 'left'));
    return [...words.slice(0, limit).map(part), ...rest];
  }
  const cut = words.length - limit;
  const rest = words.slice(cut - 1, cut).map((word) => self.slice(0, word.end));
  return [...rest, ...words.slice(cut).map(part)];
}

const none: Arguments = { positional: [], keywords: new Map() };

function affix(self: string, args: Arguments, name: string, has: (self: string, part: string) => boolean): boolean {
  const given = argument(args, 0, name);
  if (given instanceof Tuple) return given.some((part) => typeof part === 'string' && has(self, part));
  return has(self, stringArgument(args, 0, name));
}

/** Places are counted in characters, and no part of one is given. */
function find(self: string, args: Arguments, budget: Budget, last = false): number {
  if (args.positional.length > 1) return fail('find from a place on is not known');
  const part = stringArgument(args, 0, 'sub');
  budget.search(self, part);
  const at = last ? self.lastIndexOf(part) : self.indexOf(part);
  return at < 0 ? -1 : lengthOf(self.slice(0, at), budget);
}

export function capitalize(word: string): string {
  const [first = '', ...rest] = Array.from(word);
  return first.toUpperCase() + rest.join('').toLowerCase();
}

export function join(separator: string, items: readonly string[], budget: Budget): string {
  budget.spend(items.reduce((sum, item) => sum + item.length + separator.length, 1));
  return items.join(separator);
}

const stringMethods: Readonly<Record<string, Method<string>>> = {
  strip,
  lstrip: (self, args, budget) => strip(self, args, budget, 'left'),
  rstrip: (self, args, budget) => strip(self, args, budget, 'right'),
  replace,
  split: (self, args, budget) => split(self, args, budget, 'left'),
  rsplit: (self, args, budget) => split(self, args, budget, 'right'),
  startswith: (self, args) => affix(self, args, 'prefix', (all, part) => all.startsWith(part)),
  endswith: (self, args) => affix(self, args, 'suffix', (all, part) => all.endsWith(part)),
  removeprefix(self, args) {
    const prefix = stringArgument(args, 0, 'prefix');
    return self.startsWith(prefix) ? self.slice(prefix.length) : self;
  },
  removesuffix(self, args) {
    const suffix = stringArgument(args, 0, 'suffix');
    return self.endsWith(suffix) ? self.slice(0, self.length - suffix.length) : self;
  },
  find: (self, args, budget) => find(self, args, budget),
  rfind: (self, args, budget) => find(self, args, budget, true),
  count(self, args, budget) {
    const part = stringArgument(args, 0, 'sub');
    budget.search(self, part);
    return part === '' ? lengthOf(self, budget) + 1 : self.split(part).length - 1;
  },
  upper: (self, _, budget) => budget.made(self.toUpperCase()),
  lower: (self, _, budget) => budget.made(self.toLowerCase()),
  capitalize: (self, _, budget) => budget.made(capitalize(self)),
  title: (self, _, budget) => budget.made(self.replace(/\p{Cased}+/gu, capitalize)),
  isdigit: (self, _, budget) => {
    budget.spend(self.length);
    return /^\p{Nd}+$/u.test(self);
  },
  join(self, args, budget) {
    const items = argument(args, 0, 'iterable');
    if (!isList(items)) return fail(`join is given ${typeName(items)}`);
    const strings = items.map((item) => (typeof item === 'string' ? item : fail(`join is given ${typeName(item)}`)));
    return join(self, strings, budget);
  },
};

export const dictMethods: Readonly<Record<string, Method<ReadonlyMap<string, Value>>>> = {
  get: (self, args) => {
    const key = argument(args, 0, 'key');
    const absent = argument(args, 1, 'default') ?? null;
    return typeof key === 'string' && self.has(key) ? self.get(key) : absent;
  },
  items(self, _, budget) {
    budget.spend(3 * self.size);
    return Array.from(self, (entry): Value => Tuple.from(entry));
  },
  keys(self, _, budget) {
    budget.spend(self.size);
    return [...self.keys()];
  },
  values(self, _, budget) {
    budget.spend(self.size);
    return [...self.values()];
  },
  copy(self, _, budget) {
    budget.spend(self.size);
    return new Map(self);
  },
};

/** Methods that Python has and this has not, by type: leaving one out silently would give another text. */
const unknownMethods: Readonly<Record<string, string>> = {
  str:
    ' casefold center encode expandtabs format format_map index isalnum isalpha isascii isdecimal isidentifier islower ' +
    'isnumeric isprintable isspace istitle isupper ljust maketrans partition rindex rjust rpartition splitlines swapcase ' +
    'translate zfill ',
  dict: ' clear fromkeys pop popitem setdefault update ',
  list: ' append clear copy count extend index insert pop remove reverse sort ',
  tuple: ' count index ',
  int: ' real imag numerator denominator conjugate is_integer as_integer_ratio bit_length bit_count to_bytes ',
  float: ' real imag conjugate is_integer as_integer_ratio hex ',
};

/** The method of that name; undefined if Python has none. @throws IngotError 'InvalidArgument' if it is not known. */
export function methodOf(object: Value, name: string, budget: Budget): Value {
  if (typeof object === 'string' && Object.hasOwn(stringMethods, name)) {
    return new Callable(name, (args) => stringMethods[name](object, args, budget));
  }
  if (isDict(object) && Object.hasOwn(dictMethods, name)) {
    return new Callable(name, (args) => dictMethods[name](object, args, budget));
  }
  const unknown = unknownMethods[typeName(object)]?.includes(` ${name} `) ?? false;
  return unknown ? fail(`the method ${name} of ${typeName(object)} is not known`) : undefined;
}

/** Python's `str.join` and Jinja's `join`: texts of any values. */
export function texts(items: readonly Value[], budget: Budget): readonly string[] {
  return items.map((item) => text(item, budget));
}
