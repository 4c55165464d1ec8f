/** Calls as a name and then its arguments: Mistral from its tokenizer v11 on, and DeepSeek. */
import type { Incoming, Reading } from './incoming.ts';
import { jsonValue } from './json.ts';
import { jsonCalls } from './json-calls.ts';
import type { Outgoing } from './outgoing.ts';

/** After `[TOOL_CALLS]`: a list of objects, or a name, an id perhaps, and arguments. */
export function* mistralCalls(input: Incoming, out: Outgoing): Reading<boolean> {
  yield* input.spaces();
  const name = yield* input.all(/^[\w.-]+/);
  if (name === '') return yield* jsonCalls(input, out);
  if (yield* input.take('[CALL_ID]')) yield* input.all(/^\w+/);
  const isMarked = (yield* input.take('[ARGS]')) !== undefined;
  yield* input.spaces();
  if (!isMarked && (yield* input.peek()) !== '{') return false;
  out.call(name);
  yield* jsonValue(input, out.arguments);
  return true;
}

/**
 * After the word that begins calls, or one of them. V3.1 writes `name<sep>{...}`, V3 and R1 write `function<sep>name` and the
 * arguments in a block of Markdown.
 */
export function* deepSeekCalls(input: Incoming, out: Outgoing, opener: string): Reading<boolean> {
  let begun: string | undefined = opener === deepSeek.call ? opener : yield* nextDeepSeekCall(input);
  for (let any = false; ; any = true) {
    if (begun === undefined) return any;
    let head = '';
    const found = yield* input.until([deepSeek.separator, deepSeek.end, deepSeek.allEnd], (text) => {
      head += text;
    });
    if (found?.word !== deepSeek.separator) return any;
    yield* input.spaces();
    const isPlain = (yield* input.peek()) === '{';
    out.call((isPlain ? head : yield* input.all(/^[^\n]+/)).trim());
    yield* input.spaces();
    yield* input.take('```json');
    yield* input.spaces();
    yield* jsonValue(input, out.arguments);
    yield* input.spaces();
    yield* input.take('```');
    yield* input.spaces();
    yield* input.take(deepSeek.end);
    begun = yield* nextDeepSeekCall(input);
  }
}

function* nextDeepSeekCall(input: Incoming): Reading<string | undefined> {
  yield* input.spaces();
  return yield* input.take(deepSeek.call);
}

export const deepSeek = {
  calls: '<｜tool▁calls▁begin｜>',
  call: '<｜tool▁call▁begin｜>',
  separator: '<｜tool▁sep｜>',
  end: '<｜tool▁call▁end｜>',
  allEnd: '<｜tool▁calls▁end｜>',
} as const;
