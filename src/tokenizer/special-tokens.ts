/**
 * Finds tokens that are written out in a text. User-defined tokens are always found (they are words of the vocabulary
 * that merges cannot make); control tokens only where the caller says that the text may hold them: a user who types
 * '<|im_end|>' does not end a turn.
 */
import type { Vocabulary } from './vocabulary.ts';

export class SpecialTokens {
  readonly #userDefined: Finder;
  readonly #all: Finder;

  constructor(vocabulary: Vocabulary) {
    const userDefined = new Map<string, number>();
    const all = new Map<string, number>();
    vocabulary.texts.forEach((text, id) => {
      const kind = vocabulary.kinds[id];
      if (text === '') return;
      if (kind === 'userDefined') userDefined.set(text, id);
      if (kind === 'userDefined' || kind === 'control' || kind === 'unknown') all.set(text, id);
    });
    this.#userDefined = new Finder(userDefined);
    this.#all = new Finder(all);
  }

  /** Ids of tokens found and the non-empty stretches of text between them, in order. The leftmost, then longest wins. */
  split(text: string, parseSpecial: boolean): (string | number)[] {
    return (parseSpecial ? this.#all : this.#userDefined).split(text);
  }
}

class Finder {
  readonly #ids: ReadonlyMap<string, number>;
  readonly #pattern: RegExp | undefined;

  constructor(ids: ReadonlyMap<string, number>) {
    this.#ids = ids;
    if (ids.size === 0) return;
    const longestFirst = [...ids.keys()].sort((a, b) => b.length - a.length);
    this.#pattern = new RegExp(longestFirst.map(escapePattern).join('|'), 'g');
  }

  split(text: string): (string | number)[] {
    const parts: (string | number)[] = [];
    let end = 0;
    if (this.#pattern !== undefined) {
      for (const match of text.matchAll(this.#pattern)) {
        if (match.index > end) parts.push(text.slice(end, match.index));
        parts.push(this.#ids.get(match[0]) ?? 0);
        end = match.index + match[0].length;
      }
    }
    if (end < text.length) parts.push(text.slice(end));
    return parts;
  }
}

function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
