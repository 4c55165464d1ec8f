/**
 * Sets of code points, as patterns name them: Unicode properties, ranges, their unions and complements. What a set holds is
 * asked of JavaScript's own tables once for each page of 256 code points and remembered.
 */
import { IngotError } from '../base/errors.ts';

type Predicate = (code: number) => boolean;

export class CharacterSet {
  /** The one code point in it, if it is so. */
  readonly only: number | undefined;
  readonly #holds: Predicate;
  readonly #pages: (Uint8Array | undefined)[] = [];

  constructor(holds: Predicate, only?: number) {
    this.#holds = holds;
    this.only = only;
  }

  has(code: number): boolean {
    const page = this.#pages[code >> 8] ?? this.#fill(code >> 8);
    return page[code & 0xff] === 1;
  }

  #fill(number: number): Uint8Array {
    const page = Uint8Array.from({ length: 256 }, (_, low) => (this.#holds(number * 256 + low) ? 1 : 0));
    this.#pages[number] = page;
    return page;
  }

  static of(code: number): CharacterSet {
    return new CharacterSet((other) => other === code, code);
  }

  static range(low: number, high: number): CharacterSet {
    return new CharacterSet((code) => code >= low && code <= high);
  }

  static union(sets: readonly CharacterSet[]): CharacterSet {
    return new CharacterSet((code) => sets.some((set) => set.has(code)));
  }

  static intersection(sets: readonly CharacterSet[]): CharacterSet {
    return new CharacterSet((code) => sets.every((set) => set.has(code)));
  }

  static complement(set: CharacterSet): CharacterSet {
    return new CharacterSet((code) => !set.has(code));
  }

  /** Everything that some case of a letter in the set spells. */
  static ignoringCase(set: CharacterSet): CharacterSet {
    return new CharacterSet((code) => caseVariants(code).some((variant) => set.has(variant)));
  }

  /** What a class of JavaScript's (`\p{L}`, `[\w]`) holds. @throws SyntaxError if it is none. */
  static ofClass(source: string): CharacterSet {
    const pattern = new RegExp(`^${source}$`, 'u');
    return new CharacterSet((code) => pattern.test(String.fromCodePoint(code)));
  }
}

function caseVariants(code: number): number[] {
  const text = String.fromCodePoint(code);
  const folded = [text, text.toLowerCase(), text.toUpperCase(), text.toUpperCase().toLowerCase()];
  if (text === 's' || text === 'S') folded.push('\u017f');
  if (text === 'k' || text === 'K') folded.push('\u212a');
  return folded.filter((variant) => [...variant].length === 1).map((variant) => variant.codePointAt(0) ?? code);
}

const properties = new Map<string, CharacterSet>();

/** @throws IngotError 'UnsupportedFile' for a property that JavaScript does not know. */
export function propertySet(name: string): CharacterSet {
  const key = name.toLowerCase().replaceAll(/[ _-]/g, '');
  const known = properties.get(key);
  if (known !== undefined) return known;
  const spelled = `${name[0]?.toUpperCase() ?? ''}${name.slice(1)}`;
  const candidates = [namedClasses[key], `\\p{${name}}`, `\\p{${spelled}}`, `\\p{Script=${spelled}}`];
  for (const source of candidates) {
    if (source === undefined) continue;
    try {
      const set = CharacterSet.ofClass(source);
      properties.set(key, set);
      return set;
    } catch {
      // The next spelling may be one.
    }
  }
  throw new IngotError('UnsupportedFile', `a pattern names the character property '${name}', which is not known`);
}

/** POSIX classes, as Oniguruma defines them for Unicode. */
const namedClasses: Readonly<Record<string, string>> = {
  alnum: '[\\p{Alphabetic}\\p{Nd}]',
  alpha: '\\p{Alphabetic}',
  ascii: '[\\0-\\x7f]',
  blank: '[\\p{Zs}\\t]',
  cntrl: '\\p{Cc}',
  digit: '\\p{Nd}',
  graph: '[^\\p{White_Space}\\p{Cc}\\p{Cn}\\p{Cs}]',
  lower: '\\p{Lowercase}',
  print: '[^\\p{Cc}\\p{Cn}\\p{Cs}\\u2028\\u2029]',
  punct: '[\\p{P}\\p{S}]',
  space: '\\p{White_Space}',
  upper: '\\p{Uppercase}',
  word: '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]',
  xdigit: '[0-9A-Fa-f]',
  any: '[^]',
};
