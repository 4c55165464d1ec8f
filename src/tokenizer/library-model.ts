/**
 * Plain text through `@huggingface/tokenizers`, for the pipelines that Ingot's encoders do not know (Unigram models,
 * unusual normalizers). Special tokens stay with `VocabularyTokenizer`: the library would find them in any text.
 */
import { Tokenizer as Library } from '@huggingface/tokenizers';
import { IngotError } from '../base/errors.ts';
import { readSpelling } from './byte-alphabet.ts';
import { decoding } from './huggingface-pipeline.ts';
import type { JsonView } from './json-view.ts';
import { spaceOrByte } from './sentencepiece.ts';
import type { Position, TextModel, Vocabulary } from './vocabulary.ts';

export class LibraryModel implements TextModel {
  readonly dropsSpace: boolean;
  readonly #vocabulary: Vocabulary;
  readonly #library: Library;
  readonly #byteLevel: boolean;

  /** @throws IngotError 'UnsupportedFile' for what neither the library nor token-wise decoding can do. */
  constructor(tokenizer: JsonView, config: JsonView, vocabulary: Vocabulary) {
    const decoder = decoding(tokenizer.get('decoder'));
    const type = tokenizer.get('model').get('type').string();
    if (decoder === undefined || (type !== 'BPE' && type !== 'Unigram')) {
      throw new IngotError('UnsupportedFile', `a tokenizer.json of model '${type}' with such a decoder is not known`, {
        hint: 'known are byte-level BPE, SentencePiece BPE and Unigram',
      });
    }
    this.dropsSpace = decoder === 'spacesAfterFirst';
    this.#byteLevel = decoder === 'byteLevel';
    this.#vocabulary = vocabulary;
    try {
      const settings = config.missing ? {} : config.object();
      this.#library = new Library({ ...tokenizer.object(), added_tokens: [], post_processor: null }, settings);
    } catch (cause) {
      throw new IngotError('UnsupportedFile', `the tokenizer.json cannot be used: ${String(cause)}`, { cause });
    }
  }

  encode(text: string, _position: Position, ids: number[]): void {
    for (const id of this.#library.encode(text, { add_special_tokens: false }).ids) {
      const known = id ?? this.#vocabulary.unknown;
      if (known === undefined) {
        throw new IngotError('TokenizerMismatch', 'the vocabulary cannot spell this text and has no unknown token');
      }
      ids.push(known);
    }
  }

  tokenBytes(id: number): Uint8Array {
    const text = this.#vocabulary.texts[id] ?? '';
    const spelled = this.#byteLevel ? readSpelling(text) : undefined;
    return spelled ?? spaceOrByte(text, this.#vocabulary.kinds[id] === 'byte');
  }
}
