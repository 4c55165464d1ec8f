/**
 * What a model writes, as whoever reads it sees it: a grammar is a generator that takes what it expects, and stops in the middle
 * of it until more has come. So it makes no difference how the text was cut into tokens.
 */

/** A grammar, or a part of one. It yields where it has to wait. */
export type Reading<T = void> = Generator<void, T, void>;

/** Stands before the spelling of a token that is special: a noncharacter of Unicode, which no text holds. */
const special = '\ufdd1';

/** Length of the longest end of `text` with which `word` begins, `word` itself left out. */
export function overlap(text: string, word: string): number {
  for (let length = Math.min(text.length, word.length - 1); length > 0; length--) {
    if (text.endsWith(word.slice(0, length))) return length;
  }
  return 0;
}

export interface Found {
  readonly word: string;
  /** White space before it, where that was kept back. */
  readonly space: string;
}

export class Incoming {
  readonly #specials: ReadonlySet<string>;
  /** What nobody has taken. */
  #text = '';
  #ended = false;
  #taken: string | undefined;

  /** @param specials words that are special tokens: text that spells one is text. */
  constructor(specials: Iterable<string>) {
    this.#specials = new Set(specials);
  }

  add(text: string): void {
    this.#text += text.replaceAll(special, '\ufffd');
  }

  /** Special tokens that mean nothing in an answer are passed over. */
  addSpecial(spelling: string): void {
    if (this.#specials.has(spelling)) this.#text += special + spelling;
  }

  end(): void {
    this.#ended = true;
  }

  /** The next character; '' at the end. */
  *peek(): Reading<string> {
    return (yield* this.#has(1)) ? this.#text[0] : '';
  }

  *next(): Reading<string> {
    return (yield* this.#has(1)) ? this.#drop(1) : '';
  }

  /** Takes one of these words if it comes now. None of them begins another. */
  *take(...words: readonly string[]): Reading<string | undefined> {
    for (const word of words) {
      const spelled = this.#spelled(word);
      let length = 0;
      while (length < spelled.length && (yield* this.#has(length + 1)) && this.#text[length] === spelled[length]) {
        length++;
      }
      if (length < spelled.length) continue;
      this.#drop(length);
      return word;
    }
    return undefined;
  }

  /** Takes what has come of the characters that `pattern` matches at the start of a text; '' if the next is none. */
  some(pattern: RegExp): string {
    return this.#drop((pattern.exec(this.#text)?.[0] ?? '').length);
  }

  /** Takes all of them. */
  *all(pattern: RegExp): Reading<string> {
    let text = '';
    for (;;) {
      if ((yield* this.peek()) === '') return text;
      const more = this.some(pattern);
      text += more;
      if (more === '' || this.#text !== '') return text;
    }
  }

  *spaces(): Reading<string> {
    return yield* this.all(/^\s+/);
  }

  /**
   * Gives `out` the text before the first of these words, as soon as it is certain that it is none; takes the word. Keeps white
   * space just before it back if `trims`. Nothing if the text ends first.
   */
  *until(words: readonly string[], out: (text: string) => void, trims = false): Reading<Found | undefined> {
    const spelled = words.map((word) => [word, this.#spelled(word)] as const);
    const give = (length: number) => {
      const text = this.#plain(this.#drop(length));
      if (text !== '') out(text);
    };
    const within = (length: number) => (trims ? this.#text.slice(0, length).trimEnd().length : length);
    for (;;) {
      let [found, at, length] = ['', this.#text.length, 0];
      for (const [word, spelling] of spelled) {
        const place = this.#text.indexOf(spelling);
        if (place >= 0 && place < at) [found, at, length] = [word, place, spelling.length];
      }
      if (found !== '') {
        const shown = within(at);
        give(shown);
        const space = this.#drop(at - shown);
        this.#drop(length);
        return { word: found, space };
      }
      if (this.#ended) {
        give(this.#text.length);
        return undefined;
      }
      give(within(this.#text.length - Math.max(0, ...spelled.map(([, spelling]) => overlap(this.#text, spelling)))));
      yield;
    }
  }

  /** What `reading` took, special tokens aside, if it says that it found nothing. */
  *unless(reading: Reading<boolean>): Reading<string | undefined> {
    this.#taken = '';
    const found = yield* reading;
    const taken = this.#plain(this.#taken);
    this.#taken = undefined;
    return found ? undefined : taken;
  }

  /** As text: nothing if it is a special token. */
  textOf(word: string): string {
    return this.#specials.has(word) ? '' : word;
  }

  #plain(text: string): string {
    if (!text.includes(special)) return text;
    return [...this.#specials].reduce((rest, word) => rest.replaceAll(special + word, ''), text);
  }

  #spelled(word: string): string {
    return this.#specials.has(word) ? special + word : word;
  }

  *#has(length: number): Reading<boolean> {
    while (this.#text.length < length && !this.#ended) yield;
    return this.#text.length >= length;
  }

  #drop(length: number): string {
    const text = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    if (this.#taken !== undefined) this.#taken += text;
    return text;
  }
}
