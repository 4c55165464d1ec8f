/**
 * WordPiece (BERT): a word becomes the longest token that it begins with, then the longest that goes on, until its end; a word
 * that cannot is unknown as a whole. Follows `models/wordpiece/mod.rs` of huggingface/tokenizers.
 */
import { PieceCache } from './piece-cache.ts';
import type { WordModel } from './pipeline.ts';
import type { TokenIds } from './token-ids.ts';
import { Trie } from './trie.ts';

export interface WordPieceOptions {
  readonly ids: TokenIds;
  readonly unknown: number;
  /** What tokens at the start of a word, and those inside of one, begin with in the vocabulary. */
  readonly firstPrefix?: string;
  readonly continuingPrefix: string;
  /** Longer words, in characters, are unknown. */
  readonly longestWord: number;
}

export class WordPieceModel implements WordModel {
  readonly #options: WordPieceOptions;
  readonly #first: Trie;
  readonly #continuing: Trie;
  readonly #pieces = new PieceCache((word) => this.#encode(word));

  constructor(options: WordPieceOptions) {
    this.#options = options;
    const { ids, firstPrefix = '', continuingPrefix } = options;
    this.#first = new Trie(behind(firstPrefix, ids));
    this.#continuing = new Trie(behind(continuingPrefix, ids));
  }

  encodeWord(word: string, ids: number[]): void {
    for (const id of this.#pieces.get(word)) ids.push(id);
  }

  #encode(word: string): number[] {
    const { unknown, longestWord } = this.#options;
    if (word.length > longestWord && Array.from(word).length > longestWord) return [unknown];
    const ids: number[] = [];
    for (let start = 0; start < word.length; ) {
      const trie = start === 0 ? this.#first : this.#continuing;
      let [id, end] = [-1, start];
      for (let node = 0, at = start; at < word.length; ) {
        node = trie.step(node, word.charCodeAt(at++));
        if (node < 0) break;
        const value = trie.value(node);
        if (value >= 0) [id, end] = [value, at];
      }
      if (id < 0) return [unknown];
      ids.push(id);
      start = end;
    }
    return ids;
  }
}

/** What follows a prefix in the tokens that begin with it. */
function* behind(prefix: string, ids: TokenIds): Generator<readonly [string, number]> {
  for (const [text, id] of ids) {
    if (text.length > prefix.length && text.startsWith(prefix)) yield [text.slice(prefix.length), id];
  }
}
