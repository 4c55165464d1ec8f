/**
 * The way of plain text to ids, in the steps of huggingface/tokenizers, which every vocabulary is read into: normalize, find
 * the added tokens that are found in normalized text, cut into words, and let a model encode each.
 */
import type { AddedTokens } from './added-tokens.ts';
import type { Cut } from './cut.ts';
import type { Stretch, TextModel, TokenDecoder } from './vocabulary.ts';

export type Normalize = (text: string) => string;

export interface WordModel {
  /** Appends the ids of one word. */
  encodeWord(word: string, ids: number[]): void;
}

export interface PipelineOptions {
  readonly normalize?: Normalize;
  readonly added?: AddedTokens;
  readonly cut: Cut;
  readonly model: WordModel;
  readonly decoder: TokenDecoder;
}

export class Pipeline implements TextModel {
  readonly decoder: TokenDecoder;
  readonly #options: PipelineOptions;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.decoder = options.decoder;
  }

  encode(text: string, { atStart, parseSpecial }: Stretch, ids: number[]): void {
    const { normalize, added, cut, model } = this.#options;
    const normal = normalize === undefined ? text : normalize(text);
    const emit = (word: string) => model.encodeWord(word, ids);
    if (added === undefined) {
      if (normal !== '') cut(normal, atStart, emit);
      return;
    }
    added.split(normal, parseSpecial).forEach((part, i) => {
      if (typeof part === 'number') ids.push(part);
      else cut(part, atStart && i === 0, emit);
    });
  }
}
