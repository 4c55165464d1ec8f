/**
 * Tokenizer files of llama2.c (`tokenizer.py` and `run.c` of karpathy/llama2.c): the longest token's length, then a score,
 * a length and UTF-8 bytes for each token; little endian. A SentencePiece vocabulary with its spaces written as spaces.
 */
import { IngotError } from '../base/errors.ts';
import { AddedTokens } from './added-tokens.ts';
import { spaceDecoder } from './decoders.ts';
import { Pipeline } from './pipeline.ts';
import { scoredModel } from './sentencepiece.ts';
import { prefixAll, writeSpaces } from './spaces.ts';
import { type Encoding, makeVocabulary, type TokenKind, type VocabularyParts } from './vocabulary.ts';

const FIRST_NORMAL = 3 + 256;

export interface Llama2cVocabulary extends VocabularyParts {
  readonly scores: Float32Array;
}

/** @throws IngotError 'InvalidFile' for malformed files, 'TokenizerMismatch' if it does not hold `size` tokens. */
export function readLlama2cVocabulary(bytes: Uint8Array, size: number): Llama2cVocabulary {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  const texts: string[] = [];
  const scores: number[] = [];
  let at = 4;
  while (at < bytes.length) {
    if (at + 8 > bytes.length) throw invalid('the file ends inside a token', at);
    const score = view.getFloat32(at, true);
    const length = view.getInt32(at + 4, true);
    if (!Number.isFinite(score)) throw invalid(`token ${texts.length} has the score ${score}`, at);
    if (length < 0 || length > bytes.length - at - 8) throw invalid(`token ${texts.length} passes the end`, at + 4);
    const text = utf8.decode(bytes.subarray(at + 8, at + 8 + length));
    const id = texts.length;
    // The file decorates the two control tokens for printing: '\n<s>\n'.
    texts.push(id < 3 ? text.trim() : id < FIRST_NORMAL ? text : text.replaceAll(' ', '\u2581'));
    scores.push(score);
    at += 8 + length;
  }
  if (texts.length !== size) {
    throw new IngotError('TokenizerMismatch', `the file holds ${texts.length} tokens, the model ${size}`, {
      hint: 'take the tokenizer that the model was trained with',
    });
  }
  const kinds = texts.map((_, id): TokenKind => {
    if (id < 3) return id === 0 ? 'unknown' : 'control';
    return id < FIRST_NORMAL ? 'byte' : 'normal';
  });
  // Stories follow each other with `bos` between them, so it ends one as well.
  return { texts, kinds, scores: Float32Array.from(scores), unknown: 0, bos: 1, eos: 2, ends: [1], before: [1] };
}

export function llama2cEncoding(bytes: Uint8Array, size: number): Encoding {
  const parts = readLlama2cVocabulary(bytes, size);
  const vocabulary = makeVocabulary(parts);
  const pipeline = new Pipeline({
    cut: writeSpaces(prefixAll),
    model: scoredModel(vocabulary, parts.scores),
    decoder: spaceDecoder(vocabulary, true),
  });
  return { vocabulary, added: AddedTokens.of(vocabulary), model: pipeline };
}

function invalid(what: string, offset: number): IngotError {
  return new IngotError('InvalidFile', `llama2.c tokenizer: ${what}`, {
    offset,
    hint: 'the file is damaged or no llama2.c tokenizer',
  });
}
