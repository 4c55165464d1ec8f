/**
 * SentencePiece's `.model` files: a protocol buffer, of which only the fields are read that say how to encode
 * (`sentencepiece_model.proto` of google/sentencepiece).
 */
import { IngotError } from '../base/errors.ts';
import { AddedTokens } from './added-tokens.ts';
import { Charsmap } from './charsmap.ts';
import { spaceDecoder } from './decoders.ts';
import { type Normalize, Pipeline } from './pipeline.ts';
import { byteTokens, scoredModel } from './sentencepiece.ts';
import { prefixAll, SPACE, type SpacePrefix } from './spaces.ts';
import { normalIds } from './token-ids.ts';
import { UnigramModel } from './unigram.ts';
import { type Encoding, makeVocabulary, onlyIf, type TokenKind, tokenKinds, type Vocabulary } from './vocabulary.ts';

const modelTypes = ['unigram', 'bpe'] as const;

/** A vocabulary that lies in such a file. */
export interface SentencePieceSource {
  readonly kind: 'sentencepiece';
  readonly bytes: Uint8Array;
}

export interface SentencePieceFile {
  readonly model: (typeof modelTypes)[number];
  readonly vocabulary: Vocabulary;
  readonly scores: readonly number[];
  readonly charsmap: Uint8Array;
  readonly spacePrefix: SpacePrefix;
  readonly removeExtraSpaces: boolean;
}

export function sentencePieceEncoding(bytes: Uint8Array): Encoding {
  const file = readSentencePieceFile(bytes);
  const { vocabulary, scores, spacePrefix } = file;
  const rewrite = sentencePieceNormalizer(file);
  // The space before the first word is there before user-defined tokens are found, and no other one beside them.
  const prefix = spacePrefix.at === 'nowhere' ? '' : SPACE;
  const pipeline = new Pipeline({
    normalize(text) {
      const rewritten = rewrite(text).replaceAll(' ', SPACE);
      return rewritten === '' ? '' : prefix + rewritten;
    },
    added: addedOf(vocabulary, ['userDefined']),
    cut: (piece, atStart, emit) => emit(piece, atStart),
    model:
      file.model === 'bpe'
        ? scoredModel(vocabulary, scores)
        : unigramOf(vocabulary, Float32Array.from(scores), Math.fround),
    decoder: spaceDecoder(vocabulary, spacePrefix.at !== 'nowhere'),
  });
  return { vocabulary, added: addedOf(vocabulary, ['control', 'unknown']), model: pipeline };
}

/** Tokens of some kinds, as normalized text spells them. */
function addedOf({ texts, kinds }: Vocabulary, wanted: readonly TokenKind[]): AddedTokens {
  return new AddedTokens(
    Array.from(kinds).flatMap((kind, id) => {
      const text = (texts.at(id) ?? '').replaceAll(' ', SPACE);
      return wanted.includes(kind) ? [{ id, text, special: kind !== 'userDefined' }] : [];
    }),
  );
}

export interface NormalizerOptions {
  /** Empty for none. */
  readonly charsmap: Uint8Array;
  readonly removeExtraSpaces: boolean;
  /** As Hugging Face's Precompiled and WhitespaceSplit do, where sentencepiece is otherwise. */
  readonly graphemes?: boolean;
  readonly anyWhiteSpace?: boolean;
}

/** Characters rewritten, then spaces at either end gone and runs of them made one. */
export function sentencePieceNormalizer(options: NormalizerOptions): Normalize {
  const { charsmap, removeExtraSpaces, graphemes = false, anyWhiteSpace = false } = options;
  const map = charsmap.length === 0 ? undefined : new Charsmap(charsmap);
  const space = anyWhiteSpace ? /\p{White_Space}/u : ' ';
  const trailingSpaces = new RegExp(`[ ${SPACE}]+$`);
  return (text) => {
    const rewritten = (graphemes ? map?.normalizeGraphemes(text) : map?.normalize(text)) ?? text;
    if (!removeExtraSpaces) return rewritten;
    const words = rewritten.split(space).filter(Boolean);
    // A space that is written out already is not put before a word again there.
    return anyWhiteSpace
      ? words.map((word, i) => (i === 0 || word.startsWith(SPACE) ? word : ` ${word}`)).join('')
      : // A space that is written out is one like any other at the end, and nowhere else.
        words.join(' ').replace(trailingSpaces, '');
  };
}

/** A Unigram model of the normal tokens: user-defined ones are found before. */
export function unigramOf(
  vocabulary: Vocabulary,
  scores: ArrayLike<number>,
  round?: (sum: number) => number,
): UnigramModel {
  const { kinds, unknown } = vocabulary;
  const normal = Array.from(scores).filter((_, id) => kinds.at(id) === 'normal');
  return new UnigramModel({
    ids: normalIds(vocabulary),
    scores,
    worstScore: normal.reduce((worst, score) => Math.min(worst, score), Number.POSITIVE_INFINITY),
    byteIds: byteTokens(vocabulary),
    ...(unknown === undefined ? {} : { unknown }),
    ...(round === undefined ? {} : { round }),
  });
}

/** @throws IngotError 'InvalidFile' for malformed files, 'UnsupportedFile' for models of words or characters. */
export function readSentencePieceFile(bytes: Uint8Array): SentencePieceFile {
  const texts: string[] = [];
  const kinds: TokenKind[] = [];
  const scores: number[] = [];
  let modelType = 1;
  const ids = { unknown: 0, bos: 1, eos: 2 };
  let charsmap = new Uint8Array(0);
  const normalizer = { spacePrefix: true, removeExtraSpaces: true, escapeSpaces: true, spaceAsSuffix: false };
  for (const field of fields(bytes)) {
    if (field.number === 1) {
      let [text, score, type] = ['', 0, 1];
      for (const part of fields(message(field))) {
        if (part.number === 1) text = utf8(message(part));
        if (part.number === 2) score = float(part);
        if (part.number === 3) type = integer(part);
      }
      const kind = tokenKinds[type - 1];
      if (kind === undefined) throw invalid(`piece ${texts.length} is of type ${type}; the types are 1 to 6`);
      texts.push(kind === 'userDefined' ? text.replaceAll('\u2581', ' ') : text);
      kinds.push(kind);
      scores.push(score);
    } else if (field.number === 2) {
      for (const part of fields(message(field))) {
        if (part.number === 3) modelType = integer(part);
        if (part.number === 24) normalizer.spaceAsSuffix = integer(part) !== 0;
        if (part.number === 40) ids.unknown = integer(part);
        if (part.number === 41) ids.bos = integer(part);
        if (part.number === 42) ids.eos = integer(part);
      }
    } else if (field.number === 3) {
      for (const part of fields(message(field))) {
        if (part.number === 2) charsmap = message(part).slice();
        if (part.number === 3) normalizer.spacePrefix = integer(part) !== 0;
        if (part.number === 4) normalizer.removeExtraSpaces = integer(part) !== 0;
        if (part.number === 5) normalizer.escapeSpaces = integer(part) !== 0;
      }
    }
  }
  const model = modelTypes[modelType - 1];
  if (model === undefined) {
    throw new IngotError(
      'UnsupportedFile',
      `SentencePiece model of type ${modelType}; known are Unigram (1) and BPE (2)`,
    );
  }
  if (!normalizer.escapeSpaces || normalizer.spaceAsSuffix) {
    throw new IngotError(
      'UnsupportedFile',
      'SentencePiece models whose spaces are not written before words are not known',
    );
  }
  const vocabulary = makeVocabulary({
    texts,
    kinds,
    unknown: ids.unknown < 0 ? undefined : ids.unknown,
    bos: ids.bos < 0 ? undefined : ids.bos,
    eos: ids.eos < 0 ? undefined : ids.eos,
    before: onlyIf(ids.bos >= 0, ids.bos),
  });
  return {
    model,
    vocabulary,
    scores,
    charsmap,
    removeExtraSpaces: normalizer.removeExtraSpaces,
    spacePrefix: normalizer.spacePrefix ? prefixAll : { at: 'nowhere' },
  };
}

type Field =
  | { readonly number: number; readonly wire: 'integer'; readonly value: number }
  | { readonly number: number; readonly wire: 'bytes' | 'fixed'; readonly bytes: Uint8Array };

/** Fields of one protocol buffer message. @throws IngotError 'InvalidFile' for lengths and tags that lie. */
function* fields(bytes: Uint8Array): Generator<Field> {
  let at = 0;
  while (at < bytes.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        yield { number, wire: 'integer', value: varint() };
        break;
      case 1:
        yield { number, wire: 'fixed', bytes: take(8) };
        break;
      case 2:
        yield { number, wire: 'bytes', bytes: take(varint()) };
        break;
      case 5:
        yield { number, wire: 'fixed', bytes: take(4) };
        break;
      default:
        throw invalid(`wire type ${tag % 8} of field ${number} is not known`);
    }
  }

  function take(length: number): Uint8Array {
    if (length < 0 || length > bytes.length - at) throw invalid(`a field of ${length} bytes passes the end`);
    at += length;
    return bytes.subarray(at - length, at);
  }

  /** As a signed 64-bit integer; what a double cannot hold exactly is in no valid file. */
  function varint(): number {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw invalid('the file ends inside a number');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return Number(BigInt.asIntN(64, value));
    }
    throw invalid('a number is longer than 64 bits');
  }
}

function message(field: Field): Uint8Array {
  if (field.wire === 'bytes') return field.bytes;
  throw invalid(`field ${field.number} is not a string or message`);
}

function integer(field: Field): number {
  if (field.wire === 'integer') return field.value;
  throw invalid(`field ${field.number} is not an integer`);
}

function float(field: Field): number {
  if (field.wire !== 'fixed' || field.bytes.length !== 4) throw invalid(`field ${field.number} is not a float`);
  const value = new DataView(field.bytes.buffer, field.bytes.byteOffset).getFloat32(0, true);
  if (!Number.isFinite(value)) throw invalid(`a score is ${value}`);
  return value;
}

function utf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new IngotError('InvalidFile', 'SentencePiece model: a piece is not UTF-8', { cause });
  }
}

function invalid(what: string): IngotError {
  return new IngotError('InvalidFile', `SentencePiece model: ${what}`, {
    hint: 'the file is damaged or no SentencePiece model; download it again',
  });
}
