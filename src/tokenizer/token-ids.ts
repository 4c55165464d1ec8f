/** Ids of tokens by their texts. Real files repeat tokens; the last one counts, as in llama.cpp. */
import { StringIndex, StringList } from '../base/string-list.ts';
import type { Vocabulary } from './vocabulary.ts';

export type TokenIds = Pick<ReadonlyMap<string, number>, 'get'> & Iterable<readonly [text: string, id: number]>;

/** Of the tokens that text can become. */
export function spellingIds(vocabulary: Vocabulary): TokenIds {
  const { kinds } = vocabulary;
  return idsOf(
    vocabulary,
    (id, isKnown) => kinds.at(id) === 'normal' || (kinds.at(id) === 'userDefined' && !isKnown()),
  );
}

/** Of the tokens that are nothing but text. */
export function normalIds(vocabulary: Vocabulary): TokenIds {
  return idsOf(vocabulary, (id) => vocabulary.kinds.at(id) === 'normal');
}

/** @param takes which ids; `isKnown` says whether one of the same text was taken. */
function idsOf({ texts }: Vocabulary, takes: (id: number, isKnown: () => boolean) => boolean): TokenIds {
  if (texts instanceof StringList) return new StringIndex(texts, takes);
  const ids = new Map<string, number>();
  let [id, text] = [0, ''];
  const isKnown = () => ids.has(text);
  for (text of texts) {
    if (takes(id, isKnown)) ids.set(text, id);
    id++;
  }
  return ids;
}
