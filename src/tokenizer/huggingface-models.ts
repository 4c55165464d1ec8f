/** The models of `tokenizer.json`, one row each; huggingface/tokenizers (`models/`) defines what they do. */
import { BpeModel } from './bpe.ts';
import { spellBytes } from './byte-alphabet.ts';
import type { JsonView } from './json-view.ts';
import { PairTable } from './merge.ts';
import { isPair, type Merge, mergesByName } from './merges.ts';
import type { WordModel } from './pipeline.ts';
import { byteTokens } from './sentencepiece.ts';
import { UnigramModel } from './unigram.ts';
import type { Vocabulary } from './vocabulary.ts';
import { WordLevelModel } from './word-level.ts';
import { WordPieceModel } from './wordpiece.ts';

export type ModelType = 'BPE' | 'Unigram' | 'WordPiece' | 'WordLevel';

/** Older files do not say their type. @throws IngotError 'UnsupportedFile' for types that are not known. */
export function modelType(model: JsonView): ModelType {
  const type = model.get('type').string();
  switch (type) {
    case 'BPE':
    case 'Unigram':
    case 'WordPiece':
    case 'WordLevel':
      return type;
    case undefined:
      if (Array.isArray(model.get('vocab').value)) return 'Unigram';
      if (!model.get('merges').missing) return 'BPE';
      return model.get('continuing_subword_prefix').missing ? 'WordLevel' : 'WordPiece';
    default:
      throw model.unknownType(type, ['BPE', 'Unigram', 'WordPiece', 'WordLevel']);
  }
}

/** Tokens and ids: Unigram has a list of token and score, the others an object. */
export function readTokens(model: JsonView): Iterable<readonly [string, unknown]> {
  const vocab = model.get('vocab');
  if (modelType(model) !== 'Unigram') return Object.entries(vocab.object());
  return vocab.array().map((entry, id) => [entry.array()[0]?.string() ?? '', id] as const);
}

/** The id of the token for what has none. */
export function unknownToken(model: JsonView, ids: ReadonlyMap<string, number>): number | undefined {
  if (modelType(model) === 'Unigram') return model.get('unk_id').integer();
  const text = model.get('unk_token').string();
  return text === undefined ? undefined : ids.get(text);
}

/**
 * @param ids of tokens that text may become.
 * @param inBytes words come as text, and their bytes are the symbols.
 */
export function readModel(
  model: JsonView,
  vocabulary: Vocabulary,
  ids: ReadonlyMap<string, number>,
  inBytes: boolean,
): WordModel {
  const { unknown } = vocabulary;
  const type = modelType(model);
  switch (type) {
    case 'BPE':
      return readBpe(model, vocabulary, ids, inBytes);
    case 'Unigram':
      return readUnigram(model, vocabulary, ids);
    case 'WordPiece':
      if (unknown === undefined) throw model.get('unk_token').wrong('names no token of the vocabulary');
      return new WordPieceModel({
        ids,
        unknown,
        continuingPrefix: model.get('continuing_subword_prefix').string() ?? '##',
        longestWord: model.get('max_input_chars_per_word').integer() ?? 100,
      });
    case 'WordLevel':
      return new WordLevelModel(ids, unknown);
    default:
      return type satisfies never;
  }
}

function readBpe(
  model: JsonView,
  vocabulary: Vocabulary,
  ids: ReadonlyMap<string, number>,
  inBytes: boolean,
): BpeModel {
  const { unknown } = vocabulary;
  const prefix = model.get('continuing_subword_prefix').string() ?? '';
  return new BpeModel({
    ids,
    pairs: mergesByName(readMerges(model), ids, prefix.length),
    symbols: inBytes ? 'bytes' : charactersOf(ids),
    vocabularySize: vocabulary.texts.length,
    prefix,
    suffix: model.get('end_of_word_suffix').string() ?? '',
    wholeTokens: model.get('ignore_merges').boolean() ?? false,
    fuseUnknown: model.get('fuse_unk').boolean() ?? false,
    ...((model.get('byte_fallback').boolean() ?? false) ? { byteIds: byteTokens(vocabulary) } : {}),
    ...(unknown === undefined ? {} : { unknown }),
  });
}

/** Whether words may come as text: the model has all bytes as their spelling, and nothing that spelling would change. */
export function takesBytes(model: JsonView, ids: ReadonlyMap<string, number>): boolean {
  if (modelType(model) !== 'BPE' || !isPlainBpe(model)) return false;
  return Array.from({ length: 256 }, (_, byte) => spellBytes(Uint8Array.of(byte))).every((text) => ids.has(text));
}

/** Tokens are not marked by where they stand in a word. */
export function isPlainBpe(model: JsonView): boolean {
  return ['continuing_subword_prefix', 'end_of_word_suffix'].every((key) => !model.get(key).string());
}

/** Characters that are tokens, and which stand side by side inside of one. */
function charactersOf(ids: ReadonlyMap<string, number>) {
  const characters = new Map<number, number>();
  for (const [text, id] of ids) {
    const code = text.codePointAt(0) ?? 0;
    if (text.length === (code > 0xffff ? 2 : 1)) characters.set(code, id);
  }
  const inside = new PairTable();
  for (const text of ids.keys()) {
    let before: number | undefined;
    for (const letter of text) {
      const symbol = characters.get(letter.codePointAt(0) ?? 0) ?? -1;
      if (before !== undefined && before >= 0 && symbol >= 0) inside.add(before, symbol, 0, 0);
      before = symbol;
    }
  }
  return { characters, inside };
}

export function readMerges(model: JsonView): readonly Merge[] {
  const merges = model.get('merges');
  if (!Array.isArray(merges.value)) throw merges.wrong('is not an array');
  return merges.value.map((merge: unknown, rank) => {
    if (typeof merge === 'string') return merge;
    if (!isPair(merge)) throw merges.wrong(`[${rank}] is not a pair of tokens`);
    return merge;
  });
}

function readUnigram(model: JsonView, vocabulary: Vocabulary, ids: ReadonlyMap<string, number>): UnigramModel {
  const entries = model.get('vocab').array();
  const scores = Float64Array.from(entries, (entry) => {
    const score = entry.array()[1]?.value;
    if (typeof score !== 'number') throw entry.wrong('has no score');
    return score;
  });
  const { unknown } = vocabulary;
  return new UnigramModel({
    ids,
    scores,
    worstScore: scores.reduce((worst, score) => Math.min(worst, score), Number.POSITIVE_INFINITY),
    ...((model.get('byte_fallback').boolean() ?? false) ? { byteIds: byteTokens(vocabulary) } : {}),
    ...(unknown === undefined ? {} : { unknown }),
  });
}
