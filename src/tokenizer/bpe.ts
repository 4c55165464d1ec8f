/**
 * Byte-pair encoding of words: their bytes (GPT-2, Llama 3, Qwen) or characters (SentencePiece: Llama 2, Gemma) are the first
 * symbols, and ranked pairs merge. Follows `models/bpe/model.rs` of huggingface/tokenizers.
 *
 * SentencePiece merges a text as a whole. No merge crosses two characters that stand side by side inside no token, so
 * the text may be cut there ("seams": mostly before U+2581) without changing the result, and frequent pieces remembered.
 */
import { IngotError } from '../base/errors.ts';
import { spellBytes } from './byte-alphabet.ts';
import { MergeList, type PairTable } from './merge.ts';
import { PieceCache } from './piece-cache.ts';
import type { WordModel } from './pipeline.ts';
import type { TokenIds } from './token-ids.ts';

/** How characters become symbols: ids of tokens, and numbers past the vocabulary for those that only occur in tokens. */
export interface CharacterSymbols {
  /** By code point. */
  readonly characters: ReadonlyMap<number, number>;
  /** Characters (as symbols) that stand side by side inside some token. */
  readonly inside: PairTable;
}

export interface BpeOptions {
  /** Ids of tokens by their spelling. */
  readonly ids: TokenIds;
  readonly pairs: PairTable;
  readonly symbols: 'bytes' | CharacterSymbols;
  readonly vocabularySize: number;
  readonly unknown?: number;
  /** A run of unknown characters is one unknown token. */
  readonly fuseUnknown?: boolean;
  /** The tokens of bytes, for characters that have none. */
  readonly byteIds?: Int32Array;
  /** A word that is a token as it stands is not merged; or only if it is a run of newlines. */
  readonly wholeTokens?: boolean | 'newlines';
  /** Written before the symbols of a word but the first, and after the last, in the vocabulary. */
  readonly prefix?: string;
  readonly suffix?: string;
}

const utf8 = new TextEncoder();

export class BpeModel implements WordModel {
  readonly #options: BpeOptions;
  readonly #byteIds: Int32Array;
  readonly #pieces: PieceCache;
  readonly #list = new MergeList();
  /** Code points of the symbols past the vocabulary. */
  readonly #codes = new Map<number, number>();
  readonly #decorated: boolean;

  constructor(options: BpeOptions) {
    this.#options = options;
    this.#decorated = (options.prefix ?? '') !== '' || (options.suffix ?? '') !== '';
    if (options.symbols === 'bytes') {
      this.#byteIds = Int32Array.from(
        { length: 256 },
        (_, byte) => options.ids.get(spellBytes(Uint8Array.of(byte))) ?? options.unknown ?? -1,
      );
      this.#pieces = new PieceCache((piece) => this.#encodeBytes(piece));
    } else {
      this.#byteIds = options.byteIds ?? new Int32Array(256).fill(-1);
      this.#pieces = new PieceCache((piece) => this.#encodeCharacters(piece));
      for (const [code, symbol] of options.symbols.characters) {
        if (symbol >= options.vocabularySize) this.#codes.set(symbol, code);
      }
    }
  }

  encodeWord(word: string, ids: number[]): void {
    const { symbols, wholeTokens = false } = this.#options;
    if (symbols === 'bytes') {
      for (const id of this.#pieces.get(word)) ids.push(id);
    } else {
      const whole = wholeTokens === true || (wholeTokens === 'newlines' && /^\n*$/.test(word));
      const id = whole ? this.#options.ids.get(word) : undefined;
      if (id !== undefined) ids.push(id);
      else if (this.#decorated) this.#append(word, ids, ids.length);
      else this.#cutAtSeams(word, symbols, ids);
    }
    this.#list.trim();
  }

  #cutAtSeams(word: string, { characters, inside }: CharacterSymbols, ids: number[]): void {
    const begin = ids.length;
    let start = 0;
    let before = -1;
    for (let at = 0; at < word.length; ) {
      const code = word.codePointAt(at) ?? 0;
      const symbol = characters.get(code) ?? -1;
      if (at > start && inside.find(before, symbol) < 0) {
        this.#append(word.slice(start, at), ids, begin);
        start = at;
      }
      before = symbol;
      at += code > 0xffff ? 2 : 1;
    }
    if (start < word.length) this.#append(word.slice(start), ids, begin);
  }

  /** @param begin where the ids of the word begin. */
  #append(piece: string, ids: number[], begin: number): void {
    const { unknown, fuseUnknown = false } = this.#options;
    for (const id of this.#pieces.get(piece)) {
      if (fuseUnknown && id === unknown && ids.length > begin && ids.at(-1) === unknown) continue;
      ids.push(id);
    }
  }

  /** @throws IngotError 'TokenizerMismatch' if the vocabulary lacks a byte and an unknown token. */
  #encodeBytes(piece: string): number[] {
    const { ids, pairs, wholeTokens = false } = this.#options;
    const bytes = utf8.encode(piece);
    if (wholeTokens === true) {
      const whole = ids.get(spellBytes(bytes));
      if (whole !== undefined) return [whole];
    }
    const symbols = this.#list.reserve(bytes.length);
    for (let i = 0; i < bytes.length; i++) {
      const id = this.#byteIds[bytes[i] ?? 0] ?? -1;
      if (id < 0) throw unspeakable(`byte 0x${bytes[i]?.toString(16)}`);
      symbols[i] = id;
    }
    this.#list.merge(bytes.length, pairs);
    const out: number[] = [];
    for (let at = 0; at < bytes.length; at = this.#list.after(at)) out.push(symbols[at] ?? 0);
    return out;
  }

  #encodeCharacters(piece: string): number[] {
    const symbols: number[] = [];
    const letters = Array.from(piece);
    letters.forEach((letter, i) => {
      const symbol = this.#symbolOf(letter, i === 0, i === letters.length - 1);
      if (symbol >= 0) symbols.push(symbol);
      else symbols.push(...this.#fallBack(this.#decorate(letter, i === 0, i === letters.length - 1)));
    });
    const list = this.#list.reserve(symbols.length);
    list.set(symbols);
    this.#list.merge(symbols.length, this.#options.pairs);
    const out: number[] = [];
    for (let at = 0; at < symbols.length; at = this.#list.after(at)) {
      const symbol = list[at] ?? 0;
      const code = this.#codes.get(symbol);
      if (code === undefined) out.push(symbol);
      else out.push(...this.#fallBack(String.fromCodePoint(code)));
    }
    return out;
  }

  #symbolOf(letter: string, first: boolean, last: boolean): number {
    const { symbols, ids } = this.#options;
    if (symbols === 'bytes') return -1;
    if (this.#decorated) return ids.get(this.#decorate(letter, first, last)) ?? -1;
    return symbols.characters.get(letter.codePointAt(0) ?? 0) ?? -1;
  }

  #decorate(letter: string, first: boolean, last: boolean): string {
    const { prefix = '', suffix = '' } = this.#options;
    return (first ? '' : prefix) + letter + (last ? suffix : '');
  }

  /** @throws IngotError 'TokenizerMismatch' if there is neither a byte's token nor an unknown one. */
  #fallBack(letter: string): number[] {
    const { unknown } = this.#options;
    const ids = Array.from(utf8.encode(letter), (byte) => this.#byteIds[byte] ?? -1);
    if (ids.every((id) => id >= 0)) return ids;
    if (unknown !== undefined) return [unknown];
    throw unspeakable(`'${letter}'`);
  }
}

function unspeakable(what: string): IngotError {
  return new IngotError('TokenizerMismatch', `the vocabulary has no token for ${what} and no unknown token`, {
    hint: 'the vocabulary file is incomplete; take the one that belongs to the model',
  });
}
