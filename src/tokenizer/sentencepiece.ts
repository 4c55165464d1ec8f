/**
 * SentencePiece's BPE (Llama 1 and 2, Mistral): characters are the first symbols, a space is written U+2581, two
 * neighbours merge if the vocabulary has their concatenation, best score first, and characters that it lacks become
 * bytes. Follows `bpe_model.cc` of google/sentencepiece and, for the prefixed space, `llama-vocab.cpp` of llama.cpp.
 *
 * SentencePiece merges a text as a whole. No merge crosses two characters that stand side by side inside no token, so
 * the text may be cut there ("seams": mostly before U+2581) without changing the result, and frequent pieces remembered.
 */
import { IngotError } from '../base/errors.ts';
import { MergeList, PairTable } from './merge.ts';
import type { Position, TextModel, Vocabulary } from './vocabulary.ts';

const SPACE = '\u2581';
/** Longer tokens are refused: real ones end at a few hundred, and every one is split in all ways. */
export const MAX_TOKEN_LENGTH = 1024;
const utf8 = new TextEncoder();
const CACHED_PIECES = 2 ** 16;
const CACHED_LENGTH = 48;

/** Merges over symbols: ids, and numbers past the vocabulary for characters that only occur inside tokens. */
export interface SymbolPairs {
  readonly characters: ReadonlyMap<number, number>;
  readonly pairs: PairTable;
  /** Characters (as symbols) that stand side by side inside some token. */
  readonly inside: PairTable;
}

/**
 * Where text gets a space that nobody wrote, so that its first word is the word it is elsewhere: at the start, or after
 * special tokens as well. `besideSpace`: even where it starts with a space already.
 */
export type SpacePrefix =
  | { readonly at: 'nowhere' }
  | { readonly at: 'start' | 'stretches'; readonly besideSpace: boolean };

/** As llama.cpp does, and sentencepiece where nothing special stands in a text. */
export const prefixAll: SpacePrefix = { at: 'stretches', besideSpace: true };

export interface SentencePieceOptions extends SymbolPairs {
  readonly vocabulary: Vocabulary;
  readonly spacePrefix: SpacePrefix;
  /** Spaces at either end go, runs of them become one. */
  readonly removeExtraSpaces?: boolean;
}

export class SentencePieceModel implements TextModel {
  readonly dropsSpace: boolean;
  readonly #options: SentencePieceOptions;
  readonly #byteIds: Int32Array;
  readonly #cache = new Map<string, readonly number[]>();
  readonly #list = new MergeList();

  constructor(options: SentencePieceOptions) {
    this.#options = options;
    this.dropsSpace = options.spacePrefix.at !== 'nowhere';
    this.#byteIds = new Int32Array(256).fill(-1);
    options.vocabulary.texts.forEach((text, id) => {
      if (options.vocabulary.kinds[id] === 'byte') this.#byteIds[byteOf(text)] = id;
    });
  }

  encode(text: string, position: Position, ids: number[]): void {
    const { characters, inside, removeExtraSpaces = false } = this.#options;
    let input = removeExtraSpaces ? text.split(' ').filter(Boolean).join(' ') : text;
    if (this.#wantsSpace(input, position)) input = ` ${input}`;
    input = input.replaceAll(' ', SPACE);
    let start = 0;
    let before = -1;
    for (let at = 0; at < input.length; ) {
      const code = input.codePointAt(at) ?? 0;
      const symbol = characters.get(code) ?? -1;
      if (at > start && inside.find(before, symbol) < 0) {
        this.#encodePiece(input.slice(start, at), ids);
        start = at;
      }
      before = symbol;
      at += code > 0xffff ? 2 : 1;
    }
    if (start < input.length) this.#encodePiece(input.slice(start), ids);
    this.#list.trim();
  }

  tokenBytes(id: number): Uint8Array {
    const { texts, kinds } = this.#options.vocabulary;
    return spaceOrByte(texts[id] ?? '', kinds[id] === 'byte');
  }

  #wantsSpace(text: string, position: Position): boolean {
    const { spacePrefix } = this.#options;
    if (spacePrefix.at === 'nowhere' || text === '') return false;
    if (spacePrefix.at === 'start' && position !== 'start') return false;
    return spacePrefix.besideSpace || !(text.startsWith(' ') || text.startsWith(SPACE));
  }

  #encodePiece(piece: string, ids: number[]): void {
    let found = this.#cache.get(piece);
    if (found === undefined) {
      found = this.#merge(piece);
      if (piece.length <= CACHED_LENGTH) {
        if (this.#cache.size >= CACHED_PIECES) this.#cache.clear();
        this.#cache.set(piece, found);
      }
    }
    const { unknown } = this.#options.vocabulary;
    for (const id of found) {
      // A run of unknown characters is one unknown token.
      if (id !== unknown || ids.at(-1) !== unknown) ids.push(id);
    }
  }

  #merge(piece: string): number[] {
    const { characters, pairs, vocabulary } = this.#options;
    const symbols = this.#list.reserve(piece.length);
    const letters = Array.from(piece);
    letters.forEach((letter, i) => {
      symbols[i] = characters.get(letter.codePointAt(0) ?? 0) ?? -1;
    });
    this.#list.merge(letters.length, pairs);
    const ids: number[] = [];
    for (let at = 0; at < letters.length; at = this.#list.after(at)) {
      const symbol = symbols[at] ?? -1;
      if (symbol >= 0 && symbol < vocabulary.texts.length) ids.push(symbol);
      else ids.push(...this.#fallBack(letters[at] ?? ''));
    }
    return ids;
  }

  /** @throws IngotError 'TokenizerMismatch' if there is neither a byte's token nor an unknown one. */
  #fallBack(letter: string): number[] {
    const { unknown } = this.#options.vocabulary;
    const ids = Array.from(utf8.encode(letter), (byte) => this.#byteIds[byte] ?? -1);
    if (ids.every((id) => id >= 0)) return ids;
    if (unknown !== undefined) return [unknown];
    throw new IngotError('TokenizerMismatch', `the vocabulary cannot spell '${letter}' and has no unknown token`, {
      hint: 'the vocabulary file is incomplete; take the one that belongs to the model',
    });
  }
}

/**
 * Pairs of a vocabulary that has scores: every way to cut a token into two symbols. A better score is a lower rank.
 * @throws IngotError 'InvalidFile' for tokens past `MAX_TOKEN_LENGTH`.
 */
export function scoredPairs(vocabulary: Vocabulary, scores: ArrayLike<number>): SymbolPairs {
  const ranks = new Map<number, number>();
  for (const score of [...new Set(Array.from(scores))].sort((a, b) => b - a)) ranks.set(score, ranks.size);
  const { ids, characters, inside } = symbolTables(vocabulary);
  const found: [left: number, right: number, rank: number, merged: number][] = [];
  for (const [text, id] of ids) {
    for (let cut = 1; cut < text.length; cut++) {
      const [left, right] = [symbolOf(text.slice(0, cut)), symbolOf(text.slice(cut))];
      if (left >= 0 && right >= 0) found.push([left, right, ranks.get(scores[id] ?? 0) ?? 0, id]);
    }
  }
  const pairs = new PairTable(found.length);
  for (const pair of found) pairs.add(...pair);
  return { characters, pairs, inside };

  function symbolOf(text: string): number {
    const code = text.codePointAt(0) ?? 0;
    const single = text.length === (code > 0xffff ? 2 : 1);
    return ids.get(text) ?? (single ? (characters.get(code) ?? -1) : -1);
  }
}

/** Ids of the tokens that text can become, symbols of the characters in them, and which characters are neighbours. */
export function symbolTables(vocabulary: Vocabulary) {
  const ids = new Map<string, number>();
  let length = 0;
  vocabulary.texts.forEach((text, id) => {
    if (vocabulary.kinds[id] !== 'normal') return;
    if (text.length > MAX_TOKEN_LENGTH) {
      throw new IngotError(
        'InvalidFile',
        `token ${id} is ${text.length} characters long, more than ${MAX_TOKEN_LENGTH}`,
      );
    }
    ids.set(text, id);
    length += text.length;
  });
  const characters = new Map<number, number>();
  let nextSymbol = vocabulary.texts.length;
  const inside = new PairTable(length);
  for (const text of ids.keys()) {
    let before: number | undefined;
    for (const letter of text) {
      const code = letter.codePointAt(0) ?? 0;
      let symbol = characters.get(code);
      if (symbol === undefined) {
        symbol = ids.get(letter) ?? nextSymbol++;
        characters.set(code, symbol);
      }
      if (before !== undefined) inside.add(before, symbol, 0, 0);
      before = symbol;
    }
  }
  return { ids, characters, inside };
}

/** The bytes of a token as SentencePiece spells them: U+2581 is a space, '<0x0A>' a byte if the vocabulary says so. */
export function spaceOrByte(text: string, isByte: boolean): Uint8Array {
  return isByte ? Uint8Array.of(byteOf(text)) : utf8.encode(text.replaceAll(SPACE, ' '));
}

/** @throws IngotError 'InvalidFile' if a byte token is not spelled <0x00> to <0xFF>. */
function byteOf(text: string): number {
  const digits = /^<0x([0-9A-Fa-f]{2})>$/.exec(text)?.[1];
  if (digits === undefined) throw new IngotError('InvalidFile', `byte token '${text}' is not of the form <0x00>`);
  return Number.parseInt(digits, 16);
}
