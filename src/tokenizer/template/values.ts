/**
 * Values of a template, with Python's meaning: what is true, equal, how a value is written. Whoever makes or walks something
 * pays for it from a budget, so a template can ask for neither more time nor more memory than that.
 */
import { IngotError } from '../../base/errors.ts';

/** `undefined` is Jinja's Undefined, `null` Python's None. */
export type Value = undefined | null | boolean | number | Float | string | List | Dict | Namespace | Callable;
export type List = readonly Value[];
export type Dict = ReadonlyMap<string, Value>;

/** A whole number is an int, unless it is in here. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export class Tuple extends Array<Value> {}

export class Namespace {
  readonly values: Map<string, Value>;
  constructor(values: Map<string, Value>) {
    this.values = values;
  }
}

export interface Arguments {
  readonly positional: List;
  readonly keywords: Dict;
}

export class Callable {
  readonly name: string;
  readonly call: (args: Arguments) => Value;
  constructor(name: string, call: (args: Arguments) => Value) {
    this.name = name;
    this.call = call;
  }
}

/** Python raises an exception here, or Ingot does not know what Python does. */
export function fail(what: string): never {
  throw new IngotError('InvalidArgument', `the chat template failed: ${what}`);
}

export class Budget {
  readonly units: number;
  #left: number;

  constructor(units: number) {
    this.units = units;
    this.#left = units;
  }

  get spent(): number {
    return this.units - this.#left;
  }

  /** One unit is a step, a character, or an element. @throws IngotError 'InvalidArgument' when there is no more. */
  spend(units: number): void {
    this.#left -= units;
    if (this.#left >= 0) return;
    throw new IngotError('InvalidArgument', 'the chat template does not end, or makes too much text', {
      hint: 'give another template',
    });
  }

  /** Pays for a text that was made. */
  made(text: string): string {
    this.spend(text.length + 1);
    return text;
  }

  /** Pays for looking for `needle` in `text`, which takes their product at worst. */
  search(text: string, needle: string): void {
    this.spend(text.length * (1 + needle.length / 32));
  }
}

/** What JSON holds, as values. */
export function fromJson(json: unknown, budget: Budget): Value {
  budget.spend(1);
  if (json === undefined || json === null || typeof json === 'boolean') return json;
  if (typeof json === 'string') return budget.made(json);
  if (typeof json === 'number') return Number.isSafeInteger(json) ? json : new Float(json);
  if (Array.isArray(json)) return json.map((item: unknown) => fromJson(item, budget));
  if (typeof json === 'object') {
    return new Map(Object.entries(json).map(([key, value]) => [budget.made(key), fromJson(value, budget)]));
  }
  return fail(`a ${typeof json} is given to it`);
}

export function isList(value: Value): value is List {
  return Array.isArray(value);
}

export function isDict(value: Value): value is Dict {
  return value instanceof Map;
}

export function isTrue(value: Value): boolean {
  if (isList(value)) return value.length > 0;
  if (value instanceof Map) return value.size > 0;
  if (value instanceof Float) return value.value !== 0;
  return value instanceof Namespace || value instanceof Callable || Boolean(value);
}

/** As Python computes with it: booleans are 0 and 1. */
export function numeric(value: Value): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return Number(value);
  return value instanceof Float ? value.value : undefined;
}

/** A result of whole numbers. */
export function integer(value: number): number {
  return Number.isSafeInteger(value) ? value : fail(`${value} is too large for a whole number`);
}

export function typeName(value: Value): string {
  if (value === undefined) return 'undefined';
  if (value === null) return 'None';
  if (isList(value)) return value instanceof Tuple ? 'tuple' : 'list';
  if (value instanceof Map) return 'dict';
  if (value instanceof Float) return 'float';
  if (value instanceof Namespace) return 'namespace';
  if (value instanceof Callable) return `function ${value.name}`;
  return { boolean: 'bool', number: 'int', string: 'str' }[typeof value as 'boolean' | 'number' | 'string'];
}

export function equals(a: Value, b: Value, budget: Budget): boolean {
  budget.spend(1);
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined && y !== undefined) return x === y;
  if (typeof a === 'string' && typeof b === 'string') budget.spend(Math.min(a.length, b.length));
  if (isList(a) && isList(b)) {
    const alike = a instanceof Tuple === b instanceof Tuple && a.length === b.length;
    return alike && a.every((item, i) => equals(item, b[i], budget));
  }
  if (isDict(a) && isDict(b)) {
    return a.size === b.size && [...a].every(([key, value]) => b.has(key) && equals(value, b.get(key), budget));
  }
  return a === b;
}

/** Negative if a comes first. */
export function compare(a: Value, b: Value, budget: Budget): number {
  budget.spend(1);
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined && y !== undefined) return x - y;
  if (typeof a === 'string' && typeof b === 'string') {
    budget.spend(Math.min(a.length, b.length));
    return a < b ? -1 : Number(a > b);
  }
  return fail(`${typeName(a)} and ${typeName(b)} have no order`);
}

/** What a loop goes through. */
export function iterate(value: Value, budget: Budget): List {
  if (value === undefined) return [];
  const items = isList(value)
    ? value instanceof Tuple
      ? Array.from(value)
      : value
    : value instanceof Map
      ? [...value.keys()]
      : typeof value === 'string'
        ? Array.from(value)
        : fail(`${typeName(value)} is nothing to go through`);
  budget.spend(items.length);
  return items;
}

export function lengthOf(value: Value, budget: Budget): number {
  if (value instanceof Map) return value.size;
  if (isList(value)) return value.length;
  if (value === undefined || typeof value === 'string') return iterate(value, budget).length;
  return fail(`${typeName(value)} has no length`);
}

/** Python's `str`. */
export function text(value: Value, budget: Budget): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : representation(value, budget);
}

/** Python's `repr`. */
function representation(value: Value, budget: Budget): string {
  const inner = (item: Value) => representation(item, budget);
  budget.spend(1);
  if (value === undefined) return 'Undefined';
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number') return String(value);
  if (value instanceof Float) return floatText(value.value);
  if (typeof value === 'string') return budget.made(quoted(value));
  if (value instanceof Map) {
    return budget.made(`{${Array.from(value, ([key, item]) => `${inner(key)}: ${inner(item)}`).join(', ')}}`);
  }
  if (isList(value)) {
    const items = Array.from(value, inner).join(', ');
    if (value instanceof Tuple) return budget.made(value.length === 1 ? `(${items},)` : `(${items})`);
    return budget.made(`[${items}]`);
  }
  return fail(`a ${typeName(value)} has no text`);
}

const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function quoted(value: string): string {
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
  // What Python does not print: controls, separators but for the space, what has no meaning.
  const written = value.replace(/[\\\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    const hex = code.toString(16);
    if (code > 0xffff) return `\\U${hex.padStart(8, '0')}`;
    return escapes[character] ?? (code > 0xff ? `\\u${hex.padStart(4, '0')}` : `\\x${hex.padStart(2, '0')}`);
  });
  return quote + (quote === "'" ? written.replaceAll("'", "\\'") : written) + quote;
}

function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf';
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e16 || size < 1e-4)) return value.toExponential().replace(/([+-])(\d)$/, '$10$2');
  if (Object.is(value, -0)) return '-0.0';
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}

export interface JsonStyle {
  readonly ascii: boolean;
  /** What one level is indented by. */
  readonly indent?: string;
  readonly separators?: readonly [item: string, key: string];
  readonly sortKeys: boolean;
}

/** Python's `json.dumps`. */
export function jsonText(value: Value, style: JsonStyle, budget: Budget, newline = '\n'): string {
  const [comma, colon] = style.separators ?? [style.indent === undefined ? ', ' : ',', ': '];
  const below = style.indent === undefined ? '' : newline + style.indent;
  const around = (open: string, items: readonly string[], close: string) =>
    items.length === 0 || style.indent === undefined
      ? open + items.join(comma) + close
      : open + below + items.join(comma + below) + newline + close;
  const inner = (item: Value) => jsonText(item, style, budget, below);
  const key = (name: string) => {
    const written = JSON.stringify(name);
    return style.ascii
      ? written.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      : written;
  };
  budget.spend(1 + below.length + comma.length + colon.length);
  if (value === null) return 'null';
  if (typeof value === 'boolean' || typeof value === 'number') return String(value);
  if (value instanceof Float) return floatText(value.value).replace('nan', 'NaN').replace('inf', 'Infinity');
  if (typeof value === 'string') return budget.made(key(value));
  if (isList(value)) return budget.made(around('[', Array.from(value, inner), ']'));
  if (value instanceof Map) {
    const entries = style.sortKeys ? [...value].sort(([a], [b]) => (a < b ? -1 : 1)) : [...value];
    const items = entries.map(([name, item]) => {
      budget.spend(below.length + comma.length);
      return budget.made(key(name)) + colon + inner(item);
    });
    return budget.made(around('{', items, '}'));
  }
  return fail(`a ${typeName(value)} has no JSON`);
}
