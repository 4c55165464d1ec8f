/**
 * Strings as bytes of UTF-8 side by side, and their places by text. A vocabulary of 128,000 tokens is 1.5 MB so; as JavaScript's
 * strings in an array and a map it is 20, and as much again of garbage on the way there.
 */

/** What arrays of strings and lists of them have in common. */
export interface Strings extends Iterable<string> {
  readonly length: number;
  at(index: number): string | undefined;
}

// The byte order mark is a real token of some vocabularies: it must not be swallowed.
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
const encoder = new TextEncoder();

/** Bytes of UTF-8 as text, U+FFFD for what is none. */
export function decodeUtf8(bytes: Uint8Array, start: number, end: number): string {
  return shortAscii(bytes, start, end) ?? utf8.decode(bytes.subarray(start, end));
}

/** The text of most tokens: a few ASCII characters, for which a decoder costs more than the text. Undefined for any other. */
export function shortAscii(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (end - start > 24) return undefined;
  let text = '';
  for (let i = start; i < end; i++) {
    const byte = bytes[i] ?? 0x80;
    if (byte >= 0x80) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}

/** Immutable. What is no UTF-8 stays as it is in `bytes`, and reads as U+FFFD. */
export class StringList implements Strings {
  readonly length: number;
  /** The strings one after another: string i from `ends[i - 1]` (0 for the first) up to `ends[i]`. */
  readonly bytes: Uint8Array;
  readonly ends: Uint32Array;

  constructor(bytes: Uint8Array, ends: Uint32Array) {
    this.bytes = bytes;
    this.ends = ends;
    this.length = ends.length;
  }

  at(index: number): string | undefined {
    const end = this.ends[index];
    return end === undefined ? undefined : decodeUtf8(this.bytes, this.start(index), end);
  }

  start(index: number): number {
    return index === 0 ? 0 : (this.ends[index - 1] ?? 0);
  }

  *[Symbol.iterator](): Generator<string, void, undefined> {
    for (let i = 0; i < this.length; i++) yield this.at(i) ?? '';
  }
}

/** Which of some texts, all of two bytes at least, are in a list, and where: in the order of the list. */
export function findTexts(
  strings: Strings,
  wanted: ReadonlySet<string>,
): readonly (readonly [place: number, text: string])[] {
  const found: [number, string][] = [];
  const look = (place: number, text: string | undefined) => {
    if (text !== undefined && wanted.has(text)) found.push([place, text]);
  };
  if (!(strings instanceof StringList)) {
    for (let i = 0; i < strings.length; i++) look(i, strings.at(i));
    return found;
  }
  // Few begin as those that are wanted do: of the others no text is made.
  const { bytes, ends } = strings;
  const beginning = (bytes: Uint8Array, at: number) => 256 * (bytes[at] ?? 0) + (bytes[at + 1] ?? 0);
  const begins = new Uint8Array(2 ** 16);
  for (const text of wanted) begins[beginning(encoder.encode(text), 0)] = 1;
  for (let i = 0, start = 0; i < ends.length; i++) {
    if (begins[beginning(bytes, start)] === 1) look(i, strings.at(i));
    start = ends[i] ?? 0;
  }
  return found;
}

/** Places of strings of a list by their text: an open-addressing hash table. Of equal strings the last one counts. */
export class StringIndex {
  readonly #list: StringList;
  readonly #slots: Int32Array;
  #key = new Uint8Array(64);

  /** @param takes which of them; `isKnown` says whether an equal one before was taken. */
  constructor(list: StringList, takes: (index: number, isKnown: () => boolean) => boolean) {
    const { bytes, ends } = list;
    this.#list = list;
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(1.5 * list.length + 2))).fill(-1);
    let slot = 0;
    const isKnown = () => this.#slots[slot] !== -1;
    for (let i = 0; i < list.length; i++) {
      slot = this.#slot(bytes, list.start(i), ends[i] ?? 0);
      if (takes(i, isKnown)) this.#slots[slot] = i;
    }
  }

  get(text: string): number | undefined {
    if (this.#key.length < 3 * text.length) this.#key = new Uint8Array(6 * text.length);
    const { written } = encoder.encodeInto(text, this.#key);
    const found = this.find(this.#key, 0, written);
    return found < 0 ? undefined : found;
  }

  /** Texts with their places, in the order of the list. */
  *[Symbol.iterator](): Generator<readonly [text: string, index: number], void, undefined> {
    const { bytes, ends } = this.#list;
    for (let i = 0; i < ends.length; i++) {
      if (this.find(bytes, this.#list.start(i), ends[i] ?? 0) === i) yield [this.#list.at(i) ?? '', i];
    }
  }

  /** The place of the string that these bytes are, or -1. */
  find(bytes: Uint8Array, start: number, end: number): number {
    return this.#slots[this.#slot(bytes, start, end)] ?? -1;
  }

  #slot(bytes: Uint8Array, start: number, end: number): number {
    // FNV-1a; the last steps are of MurmurHash3, since the table takes the low bits.
    let hash = 0x811c9dc5;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] ?? 0), 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    const mask = this.#slots.length - 1;
    let slot = (hash ^ (hash >>> 13)) & mask;
    for (;;) {
      const at = this.#slots[slot] ?? -1;
      if (at === -1 || this.#isAt(at, bytes, start, end)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #isAt(index: number, bytes: Uint8Array, start: number, end: number): boolean {
    const own = this.#list.start(index);
    if ((this.#list.ends[index] ?? 0) - own !== end - start) return false;
    for (let i = start; i < end; i++) if (this.#list.bytes[own + i - start] !== bytes[i]) return false;
    return true;
  }
}
