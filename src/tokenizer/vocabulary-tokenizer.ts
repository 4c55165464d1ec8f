/** A vocabulary and a text model as a `Tokenizer`: special tokens, begin and end of text, decoding. */
import { IngotError } from '../base/errors.ts';
import { SpecialTokens, unshield } from './special-tokens.ts';
import { Utf8Stream } from './stream.ts';
import type { EncodeOptions, Tokenizer, TokenStream } from './tokenizer.ts';
import type { Encoding, Position, TextModel, Vocabulary } from './vocabulary.ts';

const NONE = new Uint8Array(0);

export class VocabularyTokenizer implements Tokenizer {
  readonly vocabularySize: number;
  readonly bos?: number;
  readonly eos?: number;
  readonly endOfGeneration: ReadonlySet<number>;
  readonly #vocabulary: Vocabulary;
  readonly #model: TextModel;
  readonly #special: SpecialTokens;
  readonly #utf8 = new TextEncoder();

  /** @param vocabularySize rows of the model's embedding: it may have spare ones, which stand for nothing. */
  constructor({ vocabulary, model }: Encoding, vocabularySize = vocabulary.texts.length) {
    this.#vocabulary = vocabulary;
    this.#model = model;
    this.#special = new SpecialTokens(vocabulary);
    this.vocabularySize = vocabularySize;
    this.endOfGeneration = vocabulary.endOfGeneration;
    if (vocabulary.bos !== undefined) this.bos = vocabulary.bos;
    if (vocabulary.eos !== undefined) this.eos = vocabulary.eos;
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    const { addBos, addEos } = this.#vocabulary;
    const { parseSpecial = false, addSpecial, shielded = false } = options;
    const ids: number[] = [];
    if (this.bos !== undefined && (addSpecial ?? addBos)) ids.push(this.bos);
    let position: Position = 'start';
    for (const part of this.#special.split(text, parseSpecial)) {
      if (typeof part === 'number') ids.push(part);
      else this.#model.encode(shielded ? unshield(part) : part, position, ids);
      position = 'afterSpecial';
    }
    if (this.eos !== undefined && addEos && addSpecial !== false) ids.push(this.eos);
    return ids;
  }

  shield(text: string): string {
    return this.#special.shield(text);
  }

  decode(ids: readonly number[], options: { readonly special?: boolean } = {}): string {
    const { special = false } = options;
    const bytesOf = (id: number) => (special && this.#isSpecial(id) ? this.#textBytes(id) : this.tokenBytes(id));
    const stream = new Utf8Stream(bytesOf, this.#model.dropsSpace);
    let text = '';
    for (const id of ids) text += stream.push(id);
    return text + stream.end();
  }

  tokenBytes(id: number): Uint8Array {
    if (this.#isSpecial(id) || this.tokenText(id) === '') return NONE;
    return this.#vocabulary.kinds[id] === 'userDefined' ? this.#textBytes(id) : this.#model.tokenBytes(id);
  }

  tokenText(id: number): string {
    const text = this.#vocabulary.texts[id];
    if (text !== undefined) return text;
    if (Number.isInteger(id) && id >= 0 && id < this.vocabularySize) return '';
    throw new IngotError('InvalidArgument', `token ${id} is outside the vocabulary of ${this.vocabularySize} tokens`, {
      hint: 'the model and its tokenizer do not belong together',
    });
  }

  stream(options: { readonly continuation?: boolean } = {}): TokenStream {
    return new Utf8Stream((id) => this.tokenBytes(id), this.#model.dropsSpace && !(options.continuation ?? false));
  }

  #isSpecial(id: number): boolean {
    const kind = this.#vocabulary.kinds[id];
    return kind === 'control' || kind === 'unknown';
  }

  #textBytes(id: number): Uint8Array {
    return this.#utf8.encode(this.tokenText(id));
  }
}
