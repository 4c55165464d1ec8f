/** Tables of byte-pair encoders, made from vocabularies that name their merges (GGUF, `tokenizer.json`, GPT-2). */
import { IngotError } from '../base/errors.ts';
import { StringIndex, StringList, type Strings } from '../base/string-list.ts';
import { PairTable } from './merge.ts';
import type { TokenIds } from './token-ids.ts';

/** 'left right', or the two. */
export type Merge = string | readonly string[];

export function mergeParts(merge: Merge): readonly [left: string, right: string] {
  if (typeof merge !== 'string') return [merge[0] ?? '', merge[1] ?? ''];
  // A space may itself be the left symbol, so the separator is looked for after the first character.
  const space = merge.indexOf(' ', 1);
  return [merge.slice(0, space), merge.slice(space + 1)];
}

export function isPair(value: unknown): value is readonly [string, string] {
  return Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === 'string');
}

/**
 * The order of merges is their rank.
 * @param prefix length of what the right half begins with and the merged token does not.
 * @throws IngotError 'InvalidFile' for a merge of or into a token that the vocabulary lacks.
 */
export function mergesByName(merges: Strings | readonly Merge[], ids: TokenIds, prefix = 0): PairTable {
  if (merges instanceof StringList && ids instanceof StringIndex) {
    const found = mergesOfList(merges, ids);
    if (found !== undefined) return found;
  }
  const pairs = new PairTable(merges.length);
  let rank = 0;
  for (const merge of merges) {
    const [left, right] = mergeParts(merge);
    const whole = left + right.slice(prefix);
    const [leftId, rightId, merged] = [ids.get(left), ids.get(right), ids.get(whole)];
    if (leftId === undefined || rightId === undefined || merged === undefined) {
      const missing = leftId === undefined ? left : rightId === undefined ? right : whole;
      throw new IngotError('InvalidFile', `merge ${rank} names '${missing}', which is not in the vocabulary`);
    }
    pairs.add(leftId, rightId, rank, merged);
    rank++;
  }
  return pairs;
}

/** The same without a string for each; nothing where `mergesByName` has something to say. */
function mergesOfList(merges: StringList, ids: StringIndex): PairTable | undefined {
  const pairs = new PairTable(merges.length);
  const { bytes, ends } = merges;
  let whole = new Uint8Array(64);
  for (let rank = 0; rank < merges.length; rank++) {
    const [start, end] = [merges.start(rank), ends[rank] ?? 0];
    const space = bytes.subarray(0, end).indexOf(0x20, start + 1);
    if (space < 0) return undefined;
    if (whole.length < end - start) whole = new Uint8Array(2 * (end - start));
    whole.set(bytes.subarray(start, space));
    whole.set(bytes.subarray(space + 1, end), space - start);
    const left = ids.find(bytes, start, space);
    const right = ids.find(bytes, space + 1, end);
    const merged = ids.find(whole, 0, end - start - 1);
    if (left < 0 || right < 0 || merged < 0) return undefined;
    pairs.add(left, right, rank, merged);
  }
  return pairs;
}
