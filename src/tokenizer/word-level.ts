/** Vocabularies of whole words. */
import { IngotError } from '../base/errors.ts';
import type { WordModel } from './pipeline.ts';

export class WordLevelModel implements WordModel {
  readonly #ids: ReadonlyMap<string, number>;
  readonly #unknown: number | undefined;

  constructor(ids: ReadonlyMap<string, number>, unknown: number | undefined) {
    this.#ids = ids;
    this.#unknown = unknown;
  }

  /** @throws IngotError 'TokenizerMismatch' for a word that is not there if there is no unknown token. */
  encodeWord(word: string, ids: number[]): void {
    const id = this.#ids.get(word) ?? this.#unknown;
    if (id === undefined) {
      throw new IngotError(
        'TokenizerMismatch',
        `the vocabulary lacks the word '${word.slice(0, 40)}' and has no unknown token`,
      );
    }
    ids.push(id);
  }
}
