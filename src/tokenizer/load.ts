/** Chooses the encoder for a vocabulary, whatever file it came in, and checks that it fits the model. */
import { IngotError } from '../base/errors.ts';
import type { Checkpoint, Metadata } from '../formats/checkpoint.ts';
import { ggufEncoding } from './gguf-vocabulary.ts';
import { huggingFaceEncoding } from './huggingface.ts';
import { llama2cEncoding } from './llama2c-vocabulary.ts';
import { type SentencePieceSource, sentencePieceEncoding } from './sentencepiece-file.ts';
import { type TiktokenSource, tiktokenEncoding } from './tiktoken.ts';
import type { Tokenizer } from './tokenizer.ts';
import type { Encoding } from './vocabulary.ts';
import { VocabularyTokenizer } from './vocabulary-tokenizer.ts';

/** Where a vocabulary comes from. */
export type TokenizerSource =
  | { readonly kind: 'gguf'; readonly metadata: Metadata }
  /** Files of a Hugging Face folder: `tokenizer.json`, or what older folders have in its place (huggingface.ts). */
  | { readonly kind: 'huggingface'; readonly companions: Checkpoint['companions'] }
  /** The file does not say how many tokens it holds, so the model does. */
  | { readonly kind: 'llama2c'; readonly bytes: Uint8Array; readonly vocabularySize: number }
  | TiktokenSource
  | SentencePieceSource;

/** Models pad their embeddings to round sizes; real ones leave up to some 900 rows unused. */
const SPARE_ROWS = 1024;

/**
 * @param expected the model's vocabulary: a larger tokenizer would make ids that the model lacks.
 * @throws IngotError 'InvalidFile', 'UnsupportedFile' for vocabularies that are malformed or not known,
 * 'TokenizerMismatch' if the vocabulary and the model do not belong together.
 */
export async function loadTokenizer(
  source: TokenizerSource,
  expected: { readonly vocabularySize?: number } = {},
): Promise<Tokenizer> {
  const encoding = await readEncoding(source);
  const tokens = encoding.vocabulary.texts.length;
  const rows = expected.vocabularySize ?? tokens;
  checkVocabularySize(tokens, rows);
  return new VocabularyTokenizer(encoding, rows);
}

/** @throws IngotError 'TokenizerMismatch' if a model of so many rows was not trained with so many tokens. */
export function checkVocabularySize(tokens: number, rows: number): void {
  if (tokens <= rows && tokens + SPARE_ROWS >= rows) return;
  throw new IngotError('TokenizerMismatch', `the tokenizer has ${tokens} tokens, the model ${rows}`, {
    hint: 'take the tokenizer that the model was trained with',
  });
}

async function readEncoding(source: TokenizerSource): Promise<Encoding> {
  switch (source.kind) {
    case 'gguf':
      return ggufEncoding(source.metadata);
    case 'huggingface':
      return huggingFaceEncoding(source.companions);
    case 'llama2c':
      return llama2cEncoding(source.bytes, source.vocabularySize);
    case 'tiktoken':
      return tiktokenEncoding(source.bytes, source.model);
    case 'sentencepiece':
      return sentencePieceEncoding(source.bytes);
    default:
      return source satisfies never;
  }
}
