/**
 * Tokens that are found in a text before anything else happens to it. User-defined tokens always (runs of spaces, tool
 * markers: the model knows them and merging cannot make them); control tokens only where the caller says that the text may
 * hold them: a user who types '<|im_end|>' does not end a turn. The rules are those of huggingface/tokenizers
 * (`added_vocabulary.rs`).
 */
import { CharacterSet } from './character-set.ts';
import { Trie } from './trie.ts';
import type { Vocabulary } from './vocabulary.ts';

export interface AddedToken {
  readonly id: number;
  readonly text: string;
  /** A control token. */
  readonly special: boolean;
  /** Takes the white space before it, or after it, along. */
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  /** Is none inside of a word. */
  readonly singleWord?: boolean;
}

/** Ids of tokens that take white space along, or are none inside of words. */
export type Wishes = Readonly<Record<'lstrip' | 'rstrip' | 'single_word', ArrayLike<number> & Iterable<number>>>;

const space = CharacterSet.ofClass('\\p{White_Space}');
const word = CharacterSet.ofClass('[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]');

export class AddedTokens {
  readonly #tokens: readonly AddedToken[];
  readonly #trie: Trie;
  /** Code units that some token begins with: most text has few. */
  readonly #first = new Uint8Array(0x10000);

  constructor(tokens: readonly AddedToken[]) {
    this.#tokens = tokens.filter(({ text }) => text !== '');
    this.#trie = new Trie(this.#tokens.map(({ text }, index) => [text, index]));
    for (const { text } of this.#tokens) this.#first[text.charCodeAt(0)] = 1;
  }

  /** User-defined, control and unknown tokens of a vocabulary. @param wishes ids of those that have some. */
  static of({ texts, kinds }: Vocabulary, wishes: Partial<Wishes> = {}): AddedTokens {
    const [lstrip, rstrip, single] = [wishes.lstrip, wishes.rstrip, wishes.single_word].map(
      (ids) => new Set(ids ?? []),
    );
    const tokens: AddedToken[] = [];
    for (let id = 0; id < kinds.length; id++) {
      const kind = kinds.at(id);
      if (kind !== 'userDefined' && kind !== 'control' && kind !== 'unknown') continue;
      const wanted = { lstrip: lstrip?.has(id) ?? false, rstrip: rstrip?.has(id) ?? false };
      const text = texts.at(id) ?? '';
      tokens.push({ id, text, special: kind !== 'userDefined', ...wanted, singleWord: single?.has(id) ?? false });
    }
    return new AddedTokens(tokens);
  }

  /** What `of` takes back. */
  wishes(): Wishes {
    const ids = (wanted: (token: AddedToken) => boolean | undefined) =>
      this.#tokens.filter((token) => wanted(token) === true).map(({ id }) => id);
    return {
      lstrip: ids((token) => token.lstrip),
      rstrip: ids((token) => token.rstrip),
      single_word: ids((token) => token.singleWord),
    };
  }

  /** Ids of tokens found and the non-empty stretches of text between them, in order. The leftmost, then longest wins. */
  split(text: string, parseSpecial: boolean): (string | number)[] {
    if (this.#tokens.length === 0) return text === '' ? [] : [text];
    const parts: (string | number)[] = [];
    let done = 0;
    for (let at = 0; at < text.length; ) {
      const found = this.#first[text.charCodeAt(at)] === 1 ? this.#longestAt(text, at) : undefined;
      if (found === undefined) {
        at++;
        continue;
      }
      const end = at + found.text.length;
      const skipped = (found.special && !parseSpecial) || (found.singleWord === true && !isWord(text, at, end));
      if (!skipped) {
        const start = found.lstrip === true ? Math.max(done, spacesBefore(text, at)) : at;
        if (start > done) parts.push(text.slice(done, start));
        parts.push(found.id);
        done = found.rstrip === true ? spacesAfter(text, end) : end;
      }
      at = end;
    }
    if (done < text.length) parts.push(text.slice(done));
    return parts;
  }

  /** Writes the characters with which control tokens begin in another way, which `unshield` undoes. */
  shield(text: string): string {
    let shielded = '';
    let done = 0;
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      if (text[at] !== mark && !(this.#first[unit] === 1 && this.#isControlAt(text, at))) continue;
      shielded += text.slice(done, at) + mark + unit.toString(16).padStart(4, '0');
      done = at + 1;
    }
    return shielded + text.slice(done);
  }

  #isControlAt(text: string, start: number): boolean {
    for (let node = 0, at = start; node >= 0; at++) {
      const value = this.#trie.value(node);
      if (value >= 0 && this.#tokens[value]?.special) return true;
      node = at < text.length ? this.#trie.step(node, text.charCodeAt(at)) : -1;
    }
    return false;
  }

  #longestAt(text: string, start: number): AddedToken | undefined {
    let longest = -1;
    for (let node = 0, at = start; node >= 0; at++) {
      const value = this.#trie.value(node);
      if (value >= 0) longest = value;
      node = at < text.length ? this.#trie.step(node, text.charCodeAt(at)) : -1;
    }
    return this.#tokens[longest];
  }
}

/** A noncharacter of Unicode, which no text holds; four digits of a code unit follow. */
const mark = '\ufdd0';

/** Text that `AddedTokens.shield` has made as it was. */
export function unshield(text: string): string {
  return text.replace(/\ufdd0([0-9a-f]{4})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}

function isWord(text: string, start: number, end: number): boolean {
  return !word.has(codeBefore(text, start)) && !word.has(text.codePointAt(end) ?? 0);
}

/** 0 at the start of a text. */
function codeBefore(text: string, at: number): number {
  const code = at > 1 ? (text.codePointAt(at - 2) ?? 0) : 0;
  return code > 0xffff ? code : at > 0 ? text.charCodeAt(at - 1) : 0;
}

function spacesBefore(text: string, end: number): number {
  let at = end;
  while (at > 0 && space.has(text.charCodeAt(at - 1))) at--;
  return at;
}

function spacesAfter(text: string, start: number): number {
  let at = start;
  while (at < text.length && space.has(text.charCodeAt(at))) at++;
  return at;
}
