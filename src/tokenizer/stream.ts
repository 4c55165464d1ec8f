/**
 * Token bytes to text, a token at a time. A token may end inside a character (an emoji is four bytes), so bytes wait
 * until their character is whole; what can no longer become one is U+FFFD at once, as in WHATWG's decoder.
 */
import type { TokenStream } from './tokenizer.ts';

export class Utf8Stream implements TokenStream {
  readonly #bytesOf: (id: number) => Uint8Array;
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  #dropSpace: boolean;

  /** @param dropSpace take one space off the front: the encoder put it there. */
  constructor(bytesOf: (id: number) => Uint8Array, dropSpace: boolean) {
    this.#bytesOf = bytesOf;
    this.#dropSpace = dropSpace;
  }

  push(id: number): string {
    let bytes = this.#bytesOf(id);
    if (bytes.length === 0) return '';
    if (this.#dropSpace && bytes[0] === 0x20) bytes = bytes.subarray(1);
    this.#dropSpace = false;
    return this.#utf8.decode(bytes, { stream: true });
  }

  end(): string {
    return this.#utf8.decode();
  }
}
