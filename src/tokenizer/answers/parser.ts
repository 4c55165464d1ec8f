/** From the tokens of an answer to its parts: thoughts, text, calls. */
import { type AnswerFormat, callFormat, thoughtFormat } from './formats.ts';
import { harmony } from './harmony.ts';
import { Incoming, type Reading } from './incoming.ts';
import { type AnswerPart, Outgoing } from './outgoing.ts';
import type { Tools } from './tools.ts';

export interface AnswerOptions {
  /** Without any, what looks like a call is text. */
  readonly tools?: Tools;
  /** The answer ends with its first call. */
  readonly once?: boolean;
  /** The prompt ends with the beginning of thoughts. */
  readonly thinking?: boolean;
}

type Marked = Extract<AnswerFormat, { kind: 'marked' }>;

export class AnswerParser {
  readonly #input: Incoming;
  readonly #out: Outgoing;
  readonly #reading: Reading;

  constructor(format: AnswerFormat, { tools = new Map(), once = false, thinking = false }: AnswerOptions = {}) {
    this.#input = new Incoming(format.specials);
    this.#out = new Outgoing(once ? 1 : Number.POSITIVE_INFINITY);
    const callable = tools.size > 0;
    this.#reading =
      format.kind === 'harmony' ? harmony(this.#input, this.#out, callable) : this.#marked(format, tools, thinking);
  }

  /** The prompt holds this of the answer. Its parts are given out with those that follow. */
  begin(text: string, special?: string): void {
    this.#input.add(text);
    if (special !== undefined) this.#input.addSpecial(special);
    this.#reading.next();
  }

  /** @param special the token itself, where it is a special one: it comes after the text. */
  push(text: string, special?: string): readonly AnswerPart[] {
    this.begin(text, special);
    return this.#out.drain();
  }

  /** There is no more: what was held back is given out. */
  end(): readonly AnswerPart[] {
    this.#input.end();
    this.#reading.next();
    return this.#out.drain();
  }

  *#marked(format: Marked, tools: Tools, thinking: boolean): Reading {
    const [input, out] = [this.#input, this.#out];
    const thoughts = format.thoughts === undefined ? undefined : thoughtFormat(format.thoughts);
    const calls = format.calls === undefined || tools.size === 0 ? undefined : callFormat(format.calls);
    const think = function* () {
      yield* input.spaces();
      yield* input.until([thoughts?.close ?? ''], out.thoughts, true);
    };
    // A special token is no accident in the middle of a text.
    const marksThoughts = thoughts !== undefined && input.textOf(thoughts.open) === '' ? [thoughts.open] : [];
    const around = thoughts?.around ?? [];
    const words = [...(calls?.opens ?? []), ...marksThoughts, ...around];
    /** White space around thoughts and calls counts where text is on both sides of them. */
    let space = '';
    let apart = thinking;
    const say = (text: string) => {
      if (out.saidText || !apart) out.text(space);
      space = '';
      out.text(text);
    };
    if (thinking) yield* think();
    for (let atWord = true; ; ) {
      if (atWord) space += yield* input.spaces();
      if (atWord && thoughts !== undefined && (yield* input.take(thoughts.open))) {
        apart = true;
        yield* think();
        continue;
      }
      const found = yield* input.until(words, say, words.length > 0);
      if (found === undefined) break;
      const { word } = found;
      atWord = true;
      if (around.includes(word) || word === thoughts?.open || calls === undefined) {
        space += found.space;
        apart = true;
        if (word === thoughts?.open) yield* think();
        continue;
      }
      const refused = yield* input.unless(calls.read(input, out, word, tools));
      if (refused !== undefined) {
        say(found.space + input.textOf(word) + refused);
        atWord = false;
        continue;
      }
      space += found.space;
      apart = true;
      yield* input.spaces();
      yield* input.take(...calls.closes);
    }
    if (!apart) out.text(space);
  }
}
