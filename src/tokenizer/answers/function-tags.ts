/**
 * Calls as tags, `<function=name>`: Qwen3-Coder writes each argument into `<parameter=key>`, as text whose type the tool's schema
 * says; Functionary and Llama write an object of JSON.
 */
import type { Incoming, Reading } from './incoming.ts';
import { jsonValue, parseJson } from './json.ts';
import type { Outgoing } from './outgoing.ts';
import type { Tools } from './tools.ts';

/** After `<tool_call>`, or after the tag's own beginning. */
export function* functionTags(input: Incoming, out: Outgoing, opener: string, tools: Tools): Reading<boolean> {
  if (opener !== '<function=') {
    yield* input.spaces();
    if (!(yield* input.take('<function='))) return false;
  }
  const name = yield* input.all(/^[^\s<>]+/);
  if (name === '' || !(yield* input.take('>'))) return false;
  out.call(name);
  yield* input.spaces();
  if ((yield* input.peek()) === '{') yield* jsonValue(input, out.arguments);
  else yield* parameters(input, out.arguments, tools.get(name) ?? {});
  yield* input.spaces();
  yield* input.take('</function>');
  return true;
}

function* parameters(
  input: Incoming,
  out: (text: string) => void,
  schemas: Readonly<Record<string, unknown>>,
): Reading {
  out('{');
  for (let separator = ''; yield* input.take('<parameter='); separator = ', ') {
    const key = yield* input.all(/^[^<>\n]+/);
    yield* input.take('>');
    yield* input.take('\n');
    out(`${separator}${JSON.stringify(key)}: `);
    const types = typesOf(schemas[key]);
    const isText = types.size === 1 && types.has('string');
    if (isText) out('"');
    let value = '';
    yield* input.until(['\n</parameter>', '</parameter>', '</function>'], (text) => {
      if (isText) out(JSON.stringify(text).slice(1, -1));
      else value += text;
    });
    out(isText ? '"' : jsonOf(value, types));
    yield* input.spaces();
  }
  out('}');
}

const jsonTypes = new Set<unknown>(['string', 'number', 'integer', 'boolean', 'object', 'array', 'null']);

/** Types of JSON that a schema allows, as far as it says so. */
function typesOf(schema: unknown): ReadonlySet<string> {
  if (typeof schema !== 'object' || schema === null) return new Set();
  const { type, anyOf, oneOf } = schema as Readonly<Record<string, unknown>>;
  const own = [type].flat().filter((name): name is string => jsonTypes.has(name));
  const others = [anyOf, oneOf].flatMap((list) =>
    Array.isArray(list) ? list.flatMap((one) => [...typesOf(one)]) : [],
  );
  return new Set([...own, ...others]);
}

/** Python's spelling of values that a template may have written so. */
const literals: Readonly<Record<string, string>> = { True: 'true', False: 'false', None: 'null' };

/** A value of JSON if the types allow that, else a string. */
function jsonOf(text: string, types: ReadonlySet<string>): string {
  const trimmed = text.trim();
  for (const literal of [trimmed, ...(Object.hasOwn(literals, trimmed) ? [literals[trimmed]] : [])]) {
    const names = typeNames(parseJson(literal));
    const isAllowed = types.size === 0 ? literal === trimmed : names.some((name) => types.has(name));
    if (names.length > 0 && isAllowed) return literal;
  }
  return JSON.stringify(text);
}

/** Of values that are no strings. */
function typeNames(value: unknown): readonly string[] {
  if (value === null) return ['null'];
  if (Array.isArray(value)) return ['array'];
  switch (typeof value) {
    case 'number':
      return Number.isInteger(value) ? ['integer', 'number'] : ['number'];
    case 'boolean':
    case 'object':
      return [typeof value];
    default:
      return [];
  }
}
