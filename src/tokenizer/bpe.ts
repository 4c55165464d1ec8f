/**
 * Byte-level BPE (GPT-2, Llama 3, Qwen): text is cut into pieces, a piece's UTF-8 bytes are the first symbols, and
 * ranked pairs merge. Frequent pieces are remembered.
 */
import { IngotError } from '../base/errors.ts';
import { readSpelling, spellBytes } from './byte-alphabet.ts';
import { MergeList, type PairTable } from './merge.ts';
import { type PreTokenizer, preTokenize } from './pre-tokenizers.ts';
import type { Position, TextModel, Vocabulary } from './vocabulary.ts';

/** Pieces remembered, and the longest that is: a bound of some 10 MB. */
const CACHED_PIECES = 2 ** 16;
const CACHED_LENGTH = 48;

export interface ByteLevelOptions {
  readonly vocabulary: Vocabulary;
  /** Ids of tokens by their spelling in the byte alphabet. */
  readonly ids: ReadonlyMap<string, number>;
  readonly pairs: PairTable;
  readonly preTokenizer: PreTokenizer;
  /** Applied to the text first; Hugging Face's Qwen2 asks for NFC. */
  readonly normalization?: 'NFC';
}

export class ByteLevelModel implements TextModel {
  readonly dropsSpace = false;
  readonly #options: ByteLevelOptions;
  readonly #byteIds: Int32Array;
  readonly #longest: number;
  readonly #cache = new Map<string, readonly number[]>();
  readonly #list = new MergeList();
  readonly #utf8 = new TextEncoder();

  constructor(options: ByteLevelOptions) {
    this.#options = options;
    this.#longest = [...options.ids.keys()].reduce((longest, text) => Math.max(longest, text.length), 0);
    const unknown = options.vocabulary.unknown ?? -1;
    this.#byteIds = Int32Array.from(
      { length: 256 },
      (_, byte) => options.ids.get(spellBytes(Uint8Array.of(byte))) ?? unknown,
    );
  }

  encode(text: string, _position: Position, ids: number[]): void {
    const { preTokenizer, normalization } = this.#options;
    const normal = normalization === undefined ? text : text.normalize(normalization);
    for (const piece of preTokenize(normal, preTokenizer.patterns)) {
      let found = this.#cache.get(piece);
      if (found === undefined) {
        found = this.#encodePiece(piece);
        if (piece.length <= CACHED_LENGTH) {
          if (this.#cache.size >= CACHED_PIECES) this.#cache.clear();
          this.#cache.set(piece, found);
        }
      }
      for (const id of found) ids.push(id);
    }
    this.#list.trim();
  }

  tokenBytes(id: number): Uint8Array {
    const text = this.#options.vocabulary.texts[id] ?? '';
    return readSpelling(text) ?? this.#utf8.encode(text);
  }

  /** @throws IngotError 'TokenizerMismatch' if the vocabulary lacks a byte and an unknown token. */
  #encodePiece(piece: string): number[] {
    const { ids, pairs, preTokenizer } = this.#options;
    const bytes = this.#utf8.encode(piece);
    if (preTokenizer.wholeTokens && bytes.length <= this.#longest) {
      const whole = ids.get(spellBytes(bytes));
      if (whole !== undefined) return [whole];
    }
    const symbols = this.#list.reserve(bytes.length);
    for (let i = 0; i < bytes.length; i++) {
      const id = this.#byteIds[bytes[i] ?? 0] ?? -1;
      if (id < 0) {
        throw new IngotError('TokenizerMismatch', `the vocabulary has no token for byte 0x${bytes[i]?.toString(16)}`, {
          hint: 'the vocabulary file is incomplete; take the one that belongs to the model',
        });
      }
      symbols[i] = id;
    }
    this.#list.merge(bytes.length, pairs);
    const out: number[] = [];
    for (let at = 0; at < bytes.length; at = this.#list.after(at)) out.push(symbols[at] ?? 0);
    return out;
  }
}
