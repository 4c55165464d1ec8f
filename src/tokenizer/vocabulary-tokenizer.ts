/** A vocabulary and a text model as a `Tokenizer`: special tokens, begin and end of text, decoding. */
import { IngotError } from '../base/errors.ts';
import { type AddedTokens, unshield } from './added-tokens.ts';
import { Utf8Stream } from './stream.ts';
import type { EncodeOptions, Tokenizer, TokenStream } from './tokenizer.ts';
import { type Encoding, onlyIf, type TextModel, type Vocabulary } from './vocabulary.ts';

const NONE = new Uint8Array(0);

export class VocabularyTokenizer implements Tokenizer {
  readonly vocabularySize: number;
  readonly bos?: number;
  readonly eos?: number;
  readonly endOfGeneration: ReadonlySet<number>;
  readonly #vocabulary: Vocabulary;
  readonly #model: TextModel;
  readonly #added: AddedTokens;
  readonly #utf8 = new TextEncoder();

  /** @param vocabularySize rows of the model's embedding: it may have spare ones, which stand for nothing. */
  constructor({ vocabulary, added, model }: Encoding, vocabularySize = vocabulary.texts.length) {
    this.#vocabulary = vocabulary;
    this.#model = model;
    this.#added = added;
    this.vocabularySize = vocabularySize;
    this.endOfGeneration = vocabulary.endOfGeneration;
    if (vocabulary.bos !== undefined) this.bos = vocabulary.bos;
    if (vocabulary.eos !== undefined) this.eos = vocabulary.eos;
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    const { before, after } = this.#vocabulary;
    const { parseSpecial = false, addSpecial, shielded = false } = options;
    const ids: number[] = [];
    if (addSpecial !== false) ids.push(...(before.length > 0 ? before : onlyIf(addSpecial ?? false, this.bos)));
    this.#added.split(text, parseSpecial).forEach((part, i) => {
      if (typeof part === 'number') {
        ids.push(part);
        return;
      }
      // Half of a character becomes U+FFFD, as it would in UTF-8. What is found in normalized text may have been shielded.
      const plain = (shielded ? unshield(part) : part).replace(/\p{Cs}/gu, '\ufffd');
      this.#model.encode(plain, { atStart: i === 0, parseSpecial: parseSpecial && !shielded }, ids);
    });
    if (addSpecial !== false) ids.push(...after);
    return ids;
  }

  shield(text: string): string {
    return this.#added.shield(text);
  }

  decode(ids: readonly number[], options: { readonly special?: boolean } = {}): string {
    const stream = this.#streamOf(options.special ?? false, true);
    let text = '';
    for (const id of ids) text += stream.push(id);
    return text + stream.end();
  }

  tokenBytes(id: number): Uint8Array {
    return this.#bytes(id, false) ?? NONE;
  }

  tokenText(id: number): string {
    if (Number.isInteger(id) && id >= 0 && id < this.vocabularySize) return this.#vocabulary.texts.at(id) ?? '';
    throw new IngotError('InvalidArgument', `token ${id} is outside the vocabulary of ${this.vocabularySize} tokens`, {
      hint: 'it is of another tokenizer than this one',
    });
  }

  stream(options: { readonly continuation?: boolean } = {}): TokenStream {
    return this.#streamOf(false, !(options.continuation ?? false));
  }

  #streamOf(special: boolean, fromStart: boolean): TokenStream {
    const bytesOf = (id: number, first: boolean) =>
      special && this.#isSpecial(id) ? this.#textBytes(id) : this.#bytes(id, first);
    return new Utf8Stream(bytesOf, this.#model.decoder, fromStart);
  }

  #bytes(id: number, first: boolean): Uint8Array | undefined {
    return this.tokenText(id) === '' || this.#isSpecial(id) ? undefined : this.#model.decoder.bytes(id, first);
  }

  #isSpecial(id: number): boolean {
    const kind = this.#vocabulary.kinds.at(id);
    return kind === 'control' || kind === 'unknown';
  }

  #textBytes(id: number): Uint8Array {
    return this.#utf8.encode(this.tokenText(id));
  }
}
