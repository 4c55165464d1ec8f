/**
 * SentencePiece's `.model` files: a protocol buffer, of which only the fields are read that say how to encode
 * (`sentencepiece_model.proto` of google/sentencepiece).
 */
import { IngotError } from '../base/errors.ts';
import { prefixAll, SentencePieceModel, type SpacePrefix, scoredPairs } from './sentencepiece.ts';
import { type Encoding, makeVocabulary, type TokenKind, tokenKinds, type Vocabulary } from './vocabulary.ts';

const BPE = 2;

export interface SentencePieceFile {
  readonly vocabulary: Vocabulary;
  readonly scores: readonly number[];
  readonly spacePrefix: SpacePrefix;
  readonly removeExtraSpaces: boolean;
}

export function sentencePieceEncoding(bytes: Uint8Array): Encoding {
  const { scores, ...file } = readSentencePieceFile(bytes);
  const model = new SentencePieceModel({ ...file, ...scoredPairs(file.vocabulary, scores) });
  return { vocabulary: file.vocabulary, model };
}

/** @throws IngotError 'InvalidFile' for malformed files, 'UnsupportedFile' for models that are no BPE or rewrite text. */
export function readSentencePieceFile(bytes: Uint8Array): SentencePieceFile {
  const texts: string[] = [];
  const kinds: TokenKind[] = [];
  const scores: number[] = [];
  let modelType = 1;
  const ids = { unknown: 0, bos: 1, eos: 2 };
  const normalizer = { characterMap: false, spacePrefix: true, removeExtraSpaces: true, escapeSpaces: true };
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
        if (part.number === 40) ids.unknown = integer(part);
        if (part.number === 41) ids.bos = integer(part);
        if (part.number === 42) ids.eos = integer(part);
      }
    } else if (field.number === 3) {
      for (const part of fields(message(field))) {
        if (part.number === 2) normalizer.characterMap = message(part).length > 0;
        if (part.number === 3) normalizer.spacePrefix = integer(part) !== 0;
        if (part.number === 4) normalizer.removeExtraSpaces = integer(part) !== 0;
        if (part.number === 5) normalizer.escapeSpaces = integer(part) !== 0;
      }
    }
  }
  if (modelType !== BPE) {
    throw new IngotError('UnsupportedFile', `SentencePiece model of type ${modelType}; only BPE (${BPE}) is known`);
  }
  if (normalizer.characterMap || !normalizer.escapeSpaces) {
    throw new IngotError('UnsupportedFile', 'SentencePiece models that rewrite characters (NFKC) are not known');
  }
  const vocabulary = makeVocabulary({
    texts,
    kinds,
    unknown: ids.unknown < 0 ? undefined : ids.unknown,
    bos: ids.bos < 0 ? undefined : ids.bos,
    eos: ids.eos < 0 ? undefined : ids.eos,
    addBos: ids.bos >= 0,
  });
  return {
    vocabulary,
    scores,
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
