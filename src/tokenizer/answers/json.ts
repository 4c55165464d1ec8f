/** JSON (RFC 8259) within what a model writes, passed on as it comes: brackets and strings are followed, the rest is its reader's. */
import type { Incoming, Reading } from './incoming.ts';

/** Takes a value. @returns whether it was whole. */
export function* jsonValue(input: Incoming, out: (text: string) => void): Reading<boolean> {
  let depth = 0;
  for (;;) {
    const next = yield* input.peek();
    if (next === '"') {
      if (!(yield* jsonString(input, out))) return false;
    } else if (next === '{' || next === '[') {
      depth++;
      out(yield* input.next());
    } else if (depth > 0 && (next === '}' || next === ']')) {
      depth--;
      out(yield* input.next());
    } else if (depth > 0) {
      const between = input.some(/^[\s:,\w.+-]+/);
      if (between === '') return false;
      out(between);
      continue;
    } else {
      const scalar = yield* input.all(/^[\w.+-]+/);
      out(scalar);
      return parseJson(scalar) !== undefined;
    }
    if (depth === 0) return true;
  }
}

export function* jsonString(input: Incoming, out: (text: string) => void): Reading<boolean> {
  const quote = yield* input.take('"');
  if (quote === undefined) return false;
  out(quote);
  for (;;) {
    yield* input.peek();
    const text = input.some(/^[^"\\\ufdd1]+/);
    if (text !== '') {
      out(text);
      continue;
    }
    const end = yield* input.take('"', '\\');
    if (end === undefined) return false;
    out(end);
    if (end === '"') return true;
    out(yield* input.next());
  }
}

/** Nothing for what is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
