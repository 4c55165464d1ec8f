/**
 * Unigram language models (Kudo, 2018; T5, XLM-R, ALBERT): of all ways to cut a word into tokens, the one with the best sum of
 * scores, found from left to right (Viterbi). Follows `EncodeOptimized` of google/sentencepiece and `models/unigram/model.rs`
 * of huggingface/tokenizers; time is linear in the text and in the longest token.
 */
import { IngotError } from '../base/errors.ts';
import { PieceCache } from './piece-cache.ts';
import type { WordModel } from './pipeline.ts';
import type { TokenIds } from './token-ids.ts';
import { Trie } from './trie.ts';

/** What an unknown character costs, below the worst token. */
const UNKNOWN_PENALTY = 10;

export interface UnigramOptions {
  /** Of tokens that text may become. */
  readonly ids: TokenIds;
  readonly scores: ArrayLike<number>;
  readonly unknown?: number;
  readonly byteIds?: Int32Array;
  /** The score from which the one of unknown characters is taken. */
  readonly worstScore: number;
  /** sentencepiece sums in f32, the others in f64: it decides between ways that are nearly as good. */
  readonly round?: (sum: number) => number;
}

const utf8 = new TextEncoder();
const exactly = (sum: number) => sum;

export class UnigramModel implements WordModel {
  readonly #options: UnigramOptions;
  readonly #trie: Trie;
  readonly #pieces = new PieceCache((word) => this.#encode(word));

  constructor(options: UnigramOptions) {
    this.#options = options;
    this.#trie = new Trie([...options.ids].filter(([text]) => text !== ''));
  }

  encodeWord(word: string, ids: number[]): void {
    for (const id of this.#pieces.get(word)) ids.push(id);
  }

  #encode(word: string): number[] {
    const { unknown = -1 } = this.#options;
    const { starts, tokens } = this.#bestPath(word);
    const ids: number[] = [];
    for (let end = word.length; end > 0; ) {
      let start = starts[end] ?? 0;
      const id = tokens[end] ?? unknown;
      if (id === unknown) {
        // A run of unknown characters is one.
        while (start > 0 && tokens[start] === unknown) start = starts[start] ?? 0;
        ids.push(...this.#spell(word.slice(start, end)).reverse());
      } else ids.push(id);
      end = start;
    }
    return ids.reverse();
  }

  /** For each end of a token on the way: where the best token that ends there begins, and which it is. */
  #bestPath(word: string): { readonly starts: Int32Array; readonly tokens: Int32Array } {
    const { scores, unknown = -1, worstScore, round = exactly } = this.#options;
    const trie = this.#trie;
    const starts = new Int32Array(word.length + 1).fill(-1);
    const tokens = new Int32Array(word.length + 1).fill(-2);
    const sums = new Float64Array(word.length + 1);
    const unknownScore = round(worstScore - UNKNOWN_PENALTY);
    const consider = (start: number, end: number, id: number, score: number) => {
      const sum = round(score + (sums[start] ?? 0));
      if ((starts[end] ?? -1) >= 0 && sum <= (sums[end] ?? 0)) return;
      sums[end] = sum;
      starts[end] = start;
      tokens[end] = id;
    };
    for (let at = 0; at < word.length; ) {
      const next = at + ((word.codePointAt(at) ?? 0) > 0xffff ? 2 : 1);
      let single = false;
      let node = 0;
      for (let end = at + 1; end <= word.length; end++) {
        node = trie.step(node, word.charCodeAt(end - 1));
        if (node < 0) break;
        const id = trie.value(node);
        if (id < 0) continue;
        consider(at, end, id, scores[id] ?? 0);
        if (end === next) single = true;
      }
      if (!single) consider(at, next, unknown, unknownScore);
      at = next;
    }
    return { starts, tokens };
  }

  /** @throws IngotError 'TokenizerMismatch' if there are neither tokens for the bytes nor an unknown one. */
  #spell(text: string): number[] {
    const { ids: known, byteIds, unknown } = this.#options;
    const whole = known.get(text);
    if (whole !== undefined) return [whole];
    if (byteIds !== undefined) {
      const ids = Array.from(utf8.encode(text), (byte) => byteIds[byte] ?? -1);
      if (ids.every((id) => id >= 0)) return ids;
    }
    if (unknown !== undefined) return [unknown];
    throw new IngotError('TokenizerMismatch', 'the vocabulary cannot spell this text and has no unknown token');
  }
}
