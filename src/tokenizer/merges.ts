/** Tables of byte-pair encoders, made from vocabularies that name their merges (GGUF, `tokenizer.json`, GPT-2). */
import { IngotError } from '../base/errors.ts';
import { PairTable } from './merge.ts';
import type { Vocabulary } from './vocabulary.ts';

/** Ids of the tokens that text can become. Real files repeat tokens; the last one counts, as in llama.cpp. */
export function spellingIds(vocabulary: Vocabulary): Map<string, number> {
  const ids = new Map<string, number>();
  vocabulary.texts.forEach((text, id) => {
    const kind = vocabulary.kinds[id];
    if (kind === 'normal' || (kind === 'userDefined' && !ids.has(text))) ids.set(text, id);
  });
  return ids;
}

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
export function mergesByName(merges: readonly Merge[], ids: ReadonlyMap<string, number>, prefix = 0): PairTable {
  const pairs = new PairTable(merges.length);
  merges.forEach((merge, rank) => {
    const [left, right] = mergeParts(merge);
    const whole = left + right.slice(prefix);
    const [leftId, rightId, merged] = [ids.get(left), ids.get(right), ids.get(whole)];
    if (leftId === undefined || rightId === undefined || merged === undefined) {
      const missing = leftId === undefined ? left : rightId === undefined ? right : whole;
      throw new IngotError('InvalidFile', `merge ${rank} names '${missing}', which is not in the vocabulary`);
    }
    pairs.add(leftId, rightId, rank, merged);
  });
  return pairs;
}
