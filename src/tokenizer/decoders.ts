/**
 * How tokens become bytes again, for vocabularies of every kind: byte-level spelling, SentencePiece's spaces, WordPiece's
 * words. A token's bytes depend on nothing but whether it begins the text, so that text can be streamed.
 */
import { IngotError } from '../base/errors.ts';
import { readSpelling } from './byte-alphabet.ts';
import { SPACE } from './spaces.ts';
import type { TokenDecoder, Vocabulary } from './vocabulary.ts';

const utf8 = new TextEncoder();

/** Bytes spelled as characters. What is no such spelling, and tokens that users define, stand for themselves. */
export function byteLevelDecoder({ texts, kinds }: Vocabulary): TokenDecoder {
  return {
    bytes(id) {
      const text = texts.at(id) ?? '';
      return (kinds.at(id) === 'userDefined' ? undefined : readSpelling(text)) ?? utf8.encode(text);
    },
  };
}

/** As `spaceDecoder`, but tokens of users are words too. */
export function wordDecoder(vocabulary: Vocabulary): TokenDecoder {
  const { bytes } = spaceDecoder(vocabulary, true);
  const isUsers = (id: number) => vocabulary.kinds.at(id) === 'userDefined';
  return {
    bytes: (id, first) => (isUsers(id) && !first ? utf8.encode(` ${vocabulary.texts.at(id)}`) : bytes(id, first)),
  };
}

/** U+2581 is a space, '<0x0A>' a byte if the vocabulary says so. @param dropsSpace a text begins with a space of ours. */
export function spaceDecoder({ texts, kinds }: Vocabulary, dropsSpace: boolean): TokenDecoder {
  return {
    bytes(id, first) {
      const text = texts.at(id) ?? '';
      if (kinds.at(id) === 'userDefined') return utf8.encode(text);
      const bytes = kinds.at(id) === 'byte' ? Uint8Array.of(byteOf(text)) : utf8.encode(text.replaceAll(SPACE, ' '));
      return first && dropsSpace && bytes[0] === 0x20 ? bytes.subarray(1) : bytes;
    },
  };
}

/** Tokens stand for their text, '<0x0A>' for a byte if the vocabulary says so. */
export function textDecoder({ texts, kinds }: Vocabulary): TokenDecoder {
  return {
    bytes(id) {
      const text = texts.at(id) ?? '';
      return kinds.at(id) === 'byte' ? Uint8Array.of(byteOf(text)) : utf8.encode(text);
    },
  };
}

/** @throws IngotError 'InvalidFile' if a byte token is not spelled <0x00> to <0xFF>. */
export function byteOf(text: string): number {
  const byte = fallbackByte(text);
  if (byte === undefined) throw new IngotError('InvalidFile', `byte token '${text}' is not of the form <0x00>`);
  return byte;
}

/** The byte that '<0x0A>' stands for. */
export function fallbackByte(text: string): number | undefined {
  const digits = /^<0x([0-9A-Fa-f]{2})>$/.exec(text)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}
