/**
 * Vocabularies in GGUF's `tokenizer.ggml.*` keys (llama.cpp's `gguf-py` and `llama-vocab.cpp` define them). What those
 * cannot say of a Hugging Face tokenizer is in keys of our own, `tokenizer.ingot.*`, which other readers pass over.
 */
import { IngotError } from '../base/errors.ts';
import type { Metadata } from '../formats/checkpoint.ts';
import { AddedTokens } from './added-tokens.ts';
import { BpeModel } from './bpe.ts';
import { inTurn } from './cut.ts';
import { byteLevelDecoder, spaceDecoder, textDecoder, wordDecoder } from './decoders.ts';
import { GgufKeys } from './gguf-keys.ts';
import { bertNormalizer, lowercase } from './huggingface-normalizers.ts';
import { bertCut, cutAtSpaces } from './huggingface-pre-tokenizers.ts';
import { mergesByName } from './merges.ts';
import { type Normalize, Pipeline } from './pipeline.ts';
import { cutByPatterns, type PreTokenizer, preTokenizer } from './pre-tokenizers.ts';
import { byteTokens, scoredModel, symbolTables } from './sentencepiece.ts';
import { sentencePieceNormalizer, unigramOf } from './sentencepiece-file.ts';
import { prefixAll, SPACE, type SpacePrefix, writeSpaces } from './spaces.ts';
import { normalIds, spellingIds } from './token-ids.ts';
import {
  type Encoding,
  makeVocabulary,
  onlyIf,
  TokenKindList,
  type TokenKinds,
  tokenKinds,
  type Vocabulary,
  type VocabularyParts,
} from './vocabulary.ts';
import { WordPieceModel } from './wordpiece.ts';

const LONGEST_WORD = 100;

type Read = (keys: GgufKeys, common: VocabularyParts) => { vocabulary: Vocabulary; model: Pipeline };

/** By `tokenizer.ggml.model`. */
const models: Readonly<Record<string, Read>> = {
  gpt2: (keys, common) => bytePairs(keys, common, preTokenizer(keys.string('pre') ?? 'default')),
  gemma4: (keys, common) => bytePairs(keys, common, preTokenizer('gemma4')),
  whitespace: (keys, common) => bytePairs(keys, common, preTokenizer('whitespace')),
  llama: sentencePieceBpe,
  bert: wordPiece,
  t5: unigram,
};

/** @throws IngotError 'InvalidFile' for missing or malformed keys, 'UnsupportedFile' for kinds of vocabulary not known. */
export function ggufEncoding(metadata: Metadata): Encoding {
  const keys = new GgufKeys(metadata);
  const name = keys.string('model');
  if (name === undefined || name === 'none' || name === 'no_vocab') {
    throw new IngotError('InvalidFile', 'the file holds no vocabulary (no tokenizer.ggml.model)', {
      hint: 'give a tokenizer file of its own',
    });
  }
  const read = Object.hasOwn(models, name) ? models[name] : undefined;
  if (read === undefined) {
    throw new IngotError('UnsupportedFile', `unknown kind of vocabulary '${name}'`, {
      hint: `known are ${Object.keys(models).join(', ')}`,
    });
  }
  const texts = keys.strings('tokens') ?? [];
  const { vocabulary, model } = read(keys, {
    texts,
    kinds: readKinds(keys, texts.length),
    bos: keys.id('bos_token_id'),
    eos: keys.id('eos_token_id'),
    unknown: keys.id('unknown_token_id'),
    ends: [keys.id('eot_token_id'), keys.id('eom_token_id')],
  });
  const wishes = {
    lstrip: keys.ids('lstrip', 'ingot'),
    rstrip: keys.ids('rstrip', 'ingot'),
    single_word: keys.ids('single_word', 'ingot'),
  };
  return { vocabulary, added: AddedTokens.of(vocabulary, wishes), model };
}

/** What a text begins and ends with, by the file or else by its kind. */
function frame(keys: GgufKeys, { bos, eos }: VocabularyParts, addBos: boolean, addEos = false) {
  return {
    before: onlyIf(keys.boolean('add_bos_token') ?? addBos, bos),
    after: onlyIf(keys.boolean('add_eos_token') ?? addEos, eos),
  };
}

function bytePairs(keys: GgufKeys, common: VocabularyParts, row: PreTokenizer) {
  const vocabulary = makeVocabulary({ ...common, ...frame(keys, common, row.addBos) });
  const cut = cutByPatterns(row.patterns);
  const merges = keys.strings('merges') ?? [];
  const shared = { vocabularySize: common.texts.length, wholeTokens: row.wholeTokens, ...unknownOf(vocabulary) };
  const normalize = readNormalization(keys);
  if (row.symbols === 'bytes') {
    const ids = spellingIds(vocabulary);
    const model = new BpeModel({ ids, pairs: mergesByName(merges, ids), symbols: row.symbols, ...shared });
    const decoder = byteLevelDecoder(vocabulary);
    return { vocabulary, model: new Pipeline({ cut, model, decoder, ...normalize }) };
  }
  const { ids, ...symbols } = symbolTables(vocabulary);
  const byteIds = byteTokens(vocabulary);
  const characters = { ids, symbols, pairs: mergesByName(merges, ids), byteIds, ...shared };
  switch (row.symbols) {
    case 'characters': {
      const model = new BpeModel({ ...characters, fuseUnknown: true });
      const decoder = spaceDecoder(vocabulary, false);
      const spaces = writeSpaces({ at: 'nowhere' });
      return { vocabulary, model: new Pipeline({ cut: inTurn([spaces, cut]), model, decoder, ...normalize }) };
    }
    case 'wordCharacters': {
      const lower = (keys.boolean('normalizer.lowercase') ?? false) ? { normalize: lowercase } : {};
      const decoder = textDecoder(vocabulary);
      const model = new BpeModel(characters);
      return { vocabulary, model: new Pipeline({ cut: inTurn([cutAtSpaces, cut]), model, decoder, ...lower }) };
    }
    default:
      return row.symbols satisfies never;
  }
}

function unknownOf({ unknown }: Vocabulary) {
  return unknown === undefined ? {} : { unknown };
}

function readNormalization(keys: GgufKeys): { readonly normalize?: Normalize } {
  const form = keys.string('normalization', 'ingot');
  if (form === undefined) return {};
  if (form !== 'NFC') throw keys.wrong('normalization', `is '${form}'; known is NFC`, 'ingot');
  return { normalize: (text) => text.normalize(form) };
}

function sentencePieceBpe(keys: GgufKeys, common: VocabularyParts) {
  const parts = { ...common, bos: common.bos ?? 1, eos: common.eos ?? 2, unknown: common.unknown ?? 0 };
  const vocabulary = makeVocabulary({ ...parts, ...frame(keys, parts, true) });
  const prefix = readSpacePrefix(keys);
  const pipeline = new Pipeline({
    cut: writeSpaces(prefix),
    model: scoredModel(vocabulary, keys.floats('scores', common.texts.length)),
    decoder: spaceDecoder(vocabulary, prefix.at !== 'nowhere'),
  });
  return { vocabulary, model: pipeline };
}

/** Words begin with U+2581 in the vocabulary, where BERT's own writes '##' before everything else. */
function wordPiece(keys: GgufKeys, common: VocabularyParts) {
  const bos = common.bos ?? keys.id('cls_token_id') ?? 101;
  const separator = keys.id('seperator_token_id') ?? 102; // as GGUF spells it
  const unknown = common.unknown ?? 100;
  const parts = { ...common, bos, unknown };
  const vocabulary = makeVocabulary({
    ...parts,
    ...frame(keys, parts, true),
    after: onlyIf(keys.boolean('add_sep_token') ?? true, separator),
  });
  const lowercase = keys.boolean('normalizer.lowercase') ?? true;
  const pipeline = new Pipeline({
    normalize: bertNormalizer({
      clean: true,
      spaceHan: true,
      lowercase,
      stripAccents: keys.boolean('normalizer.strip_accents') ?? lowercase,
    }),
    cut: bertCut,
    model: new WordPieceModel({
      ids: normalIds(vocabulary),
      unknown,
      firstPrefix: SPACE,
      continuingPrefix: '',
      longestWord: LONGEST_WORD,
    }),
    decoder: wordDecoder(vocabulary),
  });
  return { vocabulary, model: pipeline };
}

function unigram(keys: GgufKeys, common: VocabularyParts) {
  const parts = { ...common, eos: common.eos ?? 1, unknown: common.unknown ?? 2 };
  const vocabulary = makeVocabulary({ ...parts, ...frame(keys, parts, false, true) });
  const prefix = readSpacePrefix(keys);
  const single = keys.string('sums', 'ingot') === 'f32';
  const pipeline = new Pipeline({
    normalize: sentencePieceNormalizer({
      charsmap: keys.bytes('precompiled_charsmap') ?? new Uint8Array(0),
      removeExtraSpaces: keys.boolean('remove_extra_whitespaces') ?? false,
      graphemes: keys.boolean('graphemes', 'ingot') ?? false,
      anyWhiteSpace: keys.boolean('white_space', 'ingot') ?? false,
    }),
    cut: writeSpaces(prefix),
    model: unigramOf(vocabulary, keys.floats('scores', common.texts.length), single ? Math.fround : undefined),
    decoder: spaceDecoder(vocabulary, prefix.at !== 'nowhere'),
  });
  return { vocabulary, model: pipeline };
}

function readSpacePrefix(keys: GgufKeys): SpacePrefix {
  if (!(keys.boolean('add_space_prefix') ?? true)) return { at: 'nowhere' };
  // Hugging Face's Metaspace: no space where one is already.
  const at = keys.string('space_prefix', 'ingot');
  if (at === undefined) return prefixAll;
  if (at === 'start' || at === 'stretches') return { at, besideSpace: false };
  throw keys.wrong('space_prefix', `is '${at}'; known are start and stretches`, 'ingot');
}

function readKinds(keys: GgufKeys, size: number): TokenKinds {
  const types = keys.numbers('token_type', size);
  const kinds = new Uint8Array(size);
  for (let id = 0; types !== undefined && id < size; id++) {
    const type = types[id] ?? 0;
    if (tokenKinds[type - 1] === undefined) {
      throw keys.wrong('token_type', `is ${type} for token ${id}; the types are 1 to 6`);
    }
    kinds[id] = type - 1;
  }
  return new TokenKindList(kinds);
}
