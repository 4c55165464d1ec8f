/**
 * Merges of vocabularies that have scores instead of a list of merges (SentencePiece's BPE: Llama 1 and 2, Mistral): two neighbours
 * merge if the vocabulary has their concatenation, best score first. Follows `bpe_model.cc` of google/sentencepiece.
 */
import { IngotError } from '../base/errors.ts';
import { BpeModel, type CharacterSymbols } from './bpe.ts';
import { byteOf } from './decoders.ts';
import { PairTable } from './merge.ts';
import { normalIds, type TokenIds } from './token-ids.ts';
import type { Vocabulary } from './vocabulary.ts';

/** Longer tokens are refused: real ones end at a few hundred, and every one is split in all ways. */
export const MAX_TOKEN_LENGTH = 1024;

/** A model of the vocabulary's scores. */
export function scoredModel(vocabulary: Vocabulary, scores: ArrayLike<number>): BpeModel {
  const { ids, ...symbols } = symbolTables(vocabulary);
  return new BpeModel({
    ids,
    symbols,
    pairs: scoredPairs(ids, symbols.characters, scores),
    vocabularySize: vocabulary.texts.length,
    fuseUnknown: true,
    byteIds: byteTokens(vocabulary),
    ...(vocabulary.unknown === undefined ? {} : { unknown: vocabulary.unknown }),
  });
}

/** Every way to cut a token into two symbols; a better score is a lower rank. */
function scoredPairs(ids: TokenIds, characters: ReadonlyMap<number, number>, scores: ArrayLike<number>): PairTable {
  const ranks = new Map<number, number>();
  for (const score of [...new Set(Array.from(scores))].sort((a, b) => b - a)) ranks.set(score, ranks.size);
  const pairs = new PairTable();
  for (const [text, id] of ids) {
    for (let cut = 1; cut < text.length; cut++) {
      const [left, right] = [symbolOf(text.slice(0, cut)), symbolOf(text.slice(cut))];
      if (left >= 0 && right >= 0) pairs.add(left, right, ranks.get(scores[id] ?? 0) ?? 0, id);
    }
  }
  return pairs;

  function symbolOf(text: string): number {
    const code = text.codePointAt(0) ?? 0;
    const single = text.length === (code > 0xffff ? 2 : 1);
    return ids.get(text) ?? (single ? (characters.get(code) ?? -1) : -1);
  }
}

/**
 * Ids of the tokens that text can become, symbols of the characters in them, and which characters are neighbours.
 * @throws IngotError 'InvalidFile' for tokens past `MAX_TOKEN_LENGTH`.
 */
export function symbolTables(vocabulary: Vocabulary): CharacterSymbols & { readonly ids: TokenIds } {
  const ids = normalIds(vocabulary);
  for (const [text, id] of ids) {
    if (text.length > MAX_TOKEN_LENGTH) {
      throw new IngotError(
        'InvalidFile',
        `token ${id} is ${text.length} characters long, more than ${MAX_TOKEN_LENGTH}`,
      );
    }
  }
  const characters = new Map<number, number>();
  let nextSymbol = vocabulary.texts.length;
  const inside = new PairTable();
  for (const [text] of ids) {
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

/** Ids of the tokens of all bytes, -1 where there is none. */
export function byteTokens({ texts, kinds }: Vocabulary): Int32Array {
  const ids = new Int32Array(256).fill(-1);
  for (let id = 0; id < kinds.length; id++) {
    if (kinds.at(id) === 'byte') ids[byteOf(texts.at(id) ?? '')] = id;
  }
  return ids;
}
