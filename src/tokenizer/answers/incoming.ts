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

/** Words by how they stand in the text, and what finds the first of them. */
interface Matcher {
  readonly spelled: ReadonlyMap<string, string>;
  readonly any: RegExp;
}

export class Incoming {
  readonly #specials: ReadonlySet<string>;
  readonly #matchers = new WeakMap<readonly string[], Matcher>();
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
    const { any, spelled } = this.#matcher(words);
    let space = '';
    const give = (text: string, trimmed: boolean) => {
      const shown = trimmed ? text.trimEnd() : text;
      if (shown !== '') out(space + shown);
      space = (shown === '' ? space : '') + text.slice(shown.length);
    };
    for (;;) {
      const found = any.exec(this.#text);
      if (found !== null) {
        give(this.#plain(this.#drop(found.index)), trims);
        this.#drop(found[0].length);
        return { word: spelled.get(found[0]) ?? '', space };
      }
      if (this.#ended) {
        const rest = space + this.#plain(this.#drop(this.#text.length));
        if (rest !== '') out(rest);
        return undefined;
      }
      const held = Math.max(0, ...[...spelled.keys()].map((word) => overlap(this.#text, word)));
      give(this.#plain(this.#drop(this.#text.length - held)), trims);
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

  /** Lists of words are few, and are looked for again and again. */
  #matcher(words: readonly string[]): Matcher {
    const known = this.#matchers.get(words);
    if (known !== undefined) return known;
    const spelled = new Map(words.map((word) => [this.#spelled(word), word]));
    const patterns = [...spelled.keys()].map((word) => word.replace(/\W/g, '\\$&'));
    const matcher = { spelled, any: new RegExp(patterns.join('|') || '(?!)') };
    this.#matchers.set(words, matcher);
    return matcher;
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
