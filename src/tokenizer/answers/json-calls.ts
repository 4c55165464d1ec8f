/**
 * Calls as objects, `{"name": "f", "arguments": {...}}`, alone, one after another or in a list: what Hermes began and Qwen,
 * Mistral, Granite and Phi took over. Llama says `parameters`.
 */
import type { Incoming, Reading } from './incoming.ts';
import { jsonString, jsonValue, parseJson } from './json.ts';
import type { Outgoing } from './outgoing.ts';

/** @returns whether there was any call. */
export function* jsonCalls(input: Incoming, out: Outgoing): Reading<boolean> {
  yield* input.spaces();
  const isList = (yield* input.take('[')) !== undefined;
  for (let any = false; ; any = true) {
    yield* input.spaces();
    if (isList && (yield* input.take(']'))) return any;
    if (!(yield* input.take('{')) || !(yield* jsonCall(input, out))) return any;
    yield* input.spaces();
    yield* input.take(',', ';');
  }
}

/**
 * The rest of an object whose brace was taken. Given out as soon as the name is known and the arguments begin.
 * @param known names that count, where nothing but the object itself says that it is a call.
 * @returns whether it was one.
 */
export function* jsonCall(input: Incoming, out: Outgoing, known?: { has(name: string): boolean }): Reading<boolean> {
  let name: string | undefined;
  /** Arguments that come before the name. */
  let early: string | undefined;
  let begun = false;
  const begin = (called: string) => {
    out.call(called);
    begun = true;
  };
  for (;;) {
    yield* input.spaces();
    if (yield* input.take('}')) break;
    const key = yield* readString(input);
    yield* input.spaces();
    if (key === undefined || !(yield* input.take(':'))) return begun;
    yield* input.spaces();
    if (key === 'name') {
      name = yield* readString(input);
      if (name === undefined || known?.has(name) === false) return begun;
    } else if ((key === 'arguments' || key === 'parameters') && early === undefined && !begun) {
      if (name === undefined) {
        early = '';
        yield* argumentsOf(input, (text) => {
          early += text;
        });
      } else {
        begin(name);
        if (!(yield* argumentsOf(input, out.arguments))) return true;
      }
    } else if ((known !== undefined && !otherKeys.has(key)) || !(yield* jsonValue(input, () => {}))) return begun;
    yield* input.spaces();
    yield* input.take(',');
  }
  if (begun) return true;
  if (name === undefined || (early === undefined && known !== undefined)) return false;
  begin(name);
  out.arguments(early ?? '{}');
  return true;
}

/** What a bare call may have besides: an object with anything else is text, and need not be held back. */
const otherKeys = new Set(['type', 'id', 'function']);

/** Some models write the object into a string; no arguments may be `null`. */
function* argumentsOf(input: Incoming, out: (text: string) => void): Reading<boolean> {
  const next = yield* input.peek();
  if (next === '{') return yield* jsonValue(input, out);
  let written = '';
  const whole = yield* jsonValue(input, (text) => {
    written += text;
  });
  const value = parseJson(written);
  if (value === null) out('{}');
  else if (typeof value === 'string' && typeof parseJson(value) === 'object') out(value);
  else out(written);
  return whole;
}

function* readString(input: Incoming): Reading<string | undefined> {
  let written = '';
  const whole = yield* jsonString(input, (text) => {
    written += text;
  });
  const value = whole ? parseJson(written) : undefined;
  return typeof value === 'string' ? value : undefined;
}
