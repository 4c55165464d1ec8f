/**
 * Finds tokens that are written out in a text. User-defined tokens are always found (they are words of the vocabulary
 * that merges cannot make); control tokens only where the caller says that the text may hold them: a user who types
 * '<|im_end|>' does not end a turn.
 */
import type { Vocabulary } from './vocabulary.ts';

export class SpecialTokens {
  readonly #userDefined: Finder;
  readonly #all: Finder;
  /** Where a control token begins, and the mark itself; one character. */
  readonly #telling: RegExp;

  constructor(vocabulary: Vocabulary) {
    const userDefined = new Map<string, number>();
    const all = new Map<string, number>();
    const control = [mark];
    vocabulary.texts.forEach((text, id) => {
      const kind = vocabulary.kinds[id];
      if (text === '') return;
      if (kind === 'userDefined') userDefined.set(text, id);
      if (kind === 'userDefined' || kind === 'control' || kind === 'unknown') all.set(text, id);
      if (kind === 'control' || kind === 'unknown') control.push(text);
    });
    this.#userDefined = new Finder(userDefined);
    this.#all = new Finder(all);
    this.#telling = new RegExp(`(?=${control.map(escapePattern).join('|')})[\\s\\S]`, 'g');
  }

  /** Ids of tokens found and the non-empty stretches of text between them, in order. The leftmost, then longest wins. */
  split(text: string, parseSpecial: boolean): (string | number)[] {
    return (parseSpecial ? this.#all : this.#userDefined).split(text);
  }

  /** Writes the characters with which control tokens begin in another way, which `unshield` undoes. */
  shield(text: string): string {
    return text.replace(this.#telling, (unit) => mark + unit.charCodeAt(0).toString(16).padStart(4, '0'));
  }
}

/** A noncharacter of Unicode, which no text holds; four digits of a code unit follow. */
const mark = '\ufdd0';

export function unshield(text: string): string {
  return text.replace(/\ufdd0([0-9a-f]{4})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
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
