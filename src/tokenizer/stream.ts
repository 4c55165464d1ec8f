/**
 * Token bytes to text, a token at a time. A token may end inside a character (an emoji is four bytes), so bytes wait
 * until their character is whole; what can no longer become one is U+FFFD at once, as in WHATWG's decoder.
 */
import { shortAscii } from '../base/string-list.ts';
import type { TokenStream } from './tokenizer.ts';
import type { TokenDecoder } from './vocabulary.ts';

type Wishes = Pick<TokenDecoder, 'dropsLastSpace' | 'dropsRepeats'>;

export class Utf8Stream implements TokenStream {
  readonly #bytesOf: (id: number, first: boolean) => Uint8Array | undefined;
  readonly #wishes: Wishes;
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  /** Whether the decoder may have the beginning of a character: none that ended with ASCII has. */
  #isWithin = false;
  #first: boolean;
  #previous: number | undefined;
  #space = '';

  /**
   * @param bytesOf nothing for tokens that are passed over.
   * @param fromStart the first token begins a text; it may stand for something else there.
   */
  constructor(bytesOf: (id: number, first: boolean) => Uint8Array | undefined, wishes: Wishes, fromStart: boolean) {
    this.#bytesOf = bytesOf;
    this.#wishes = wishes;
    this.#first = fromStart;
  }

  push(id: number): string {
    if (this.#wishes.dropsRepeats === true && id === this.#previous) return '';
    this.#previous = id;
    const bytes = this.#bytesOf(id, this.#first);
    if (bytes === undefined) return '';
    this.#first = false;
    return this.#held(this.#decode(bytes));
  }

  #decode(bytes: Uint8Array): string {
    const plain = this.#isWithin ? undefined : shortAscii(bytes, 0, bytes.length);
    if (plain !== undefined) return plain;
    const last = bytes.at(-1);
    if (last !== undefined) this.#isWithin = last >= 0x80;
    return this.#utf8.decode(bytes, { stream: true });
  }

  end(): string {
    return this.#held(this.#utf8.decode());
  }

  /** Keeps a last space back until something follows. */
  #held(text: string): string {
    if (this.#wishes.dropsLastSpace !== true || text === '') return text;
    const all = this.#space + text;
    this.#space = all.endsWith(' ') ? ' ' : '';
    return this.#space === '' ? all : all.slice(0, -1);
  }
}
