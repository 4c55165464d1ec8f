/**
 * Patterns of `tokenizer.json` files: Oniguruma's syntax for Ruby (doc/RE of kkos/oniguruma), of which everything is read that
 * a text decides alone. Back-references, calls and conditions are refused: with them a match cannot be found in linear time.
 */
import { IngotError } from '../base/errors.ts';
import { CharacterSet, propertySet } from './character-set.ts';

export type Assertion = 'lineStart' | 'lineEnd' | 'textStart' | 'textEnd' | 'lastLineEnd' | 'border' | 'noBorder';

export type PatternNode =
  | { readonly kind: 'set'; readonly set: CharacterSet }
  | { readonly kind: 'sequence'; readonly parts: readonly PatternNode[] }
  | { readonly kind: 'choice'; readonly choices: readonly PatternNode[] }
  | {
      readonly kind: 'repeat';
      readonly body: PatternNode;
      readonly least: number;
      readonly most: number;
      readonly greedy: boolean;
    }
  /** The first way in which the body matches, and no other. */
  | { readonly kind: 'atomic'; readonly body: PatternNode }
  | { readonly kind: 'look'; readonly body: PatternNode; readonly ahead: boolean; readonly negative: boolean }
  | { readonly kind: 'assertion'; readonly assertion: Assertion };

const MAX_LENGTH = 1 << 16;
const MAX_DEPTH = 100;
const NEWLINE = 0x0a;

interface Flags {
  readonly ignoreCase: boolean;
  readonly dotAll: boolean;
  readonly extended: boolean;
}

const controls: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, a: 7, e: 27 };
const shorthands: Readonly<Record<string, string>> = { w: 'word', d: 'digit', s: 'space', h: 'xdigit' };
const assertions: Readonly<Record<string, Assertion>> = {
  A: 'textStart',
  z: 'textEnd',
  Z: 'lastLineEnd',
  b: 'border',
  B: 'noBorder',
};

/** @throws IngotError 'InvalidFile' for what is no pattern, 'UnsupportedFile' for what is not known here. */
export function parsePattern(source: string): PatternNode {
  return new Parser(source).parse();
}

class Parser {
  readonly #source: string;
  readonly #letters: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(source: string) {
    if (source.length > MAX_LENGTH) {
      throw new IngotError(
        'UnsupportedFile',
        `a pattern of ${source.length} characters; at most ${MAX_LENGTH} are read`,
      );
    }
    this.#source = source;
    this.#letters = Array.from(source);
  }

  parse(): PatternNode {
    const node = this.#choice({ ignoreCase: false, dotAll: false, extended: false });
    if (this.#at < this.#letters.length) throw this.#invalid('a parenthesis closes that was not opened');
    return node;
  }

  #choice(flags: Flags): PatternNode {
    if (++this.#depth > MAX_DEPTH) throw this.#unsupported(`groups nested deeper than ${MAX_DEPTH}`);
    const choices: PatternNode[] = [];
    do choices.push(this.#sequence(flags));
    while (this.#take('|'));
    this.#depth--;
    return choices.length === 1 && choices[0] !== undefined ? choices[0] : { kind: 'choice', choices };
  }

  #sequence(flags: Flags): PatternNode {
    const parts: PatternNode[] = [];
    for (let letter = this.#peek(); letter !== undefined && letter !== '|' && letter !== ')'; letter = this.#peek()) {
      if (flags.extended && (/\s/.test(letter) || letter === '#')) {
        this.#skipBlank();
        continue;
      }
      const group = letter === '(' ? /^\(\?([imx]*)(?:-([imx]*))?\)/.exec(this.#rest(16)) : null;
      if (group !== null) {
        // Flags without a group hold for all that follows, alternatives included.
        this.#at += group[0].length;
        parts.push(this.#choice(withFlags(flags, group[1], group[2])));
        break;
      }
      parts.push(this.#repeated(this.#atom(flags)));
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : { kind: 'sequence', parts };
  }

  #skipBlank(): void {
    if (this.#take('#')) while (this.#peek() !== undefined && this.#peek() !== '\n') this.#at++;
    else this.#at++;
  }

  #repeated(atom: PatternNode): PatternNode {
    let node = atom;
    for (;;) {
      const counts = this.#counts();
      if (counts === undefined) return node;
      const [least, most, interval] = counts;
      if (least > most) throw this.#invalid('a repetition of more than at most');
      const repeat = { kind: 'repeat', body: node, least, most } as const;
      if (this.#peek() === '?') {
        this.#at++;
        const greedy = { ...repeat, greedy: true };
        // Ruby reads 'a{2}?' as (?:a{2})?
        node =
          interval && least === most
            ? { kind: 'repeat', body: greedy, least: 0, most: 1, greedy: true }
            : { ...repeat, greedy: false };
      } else if (!interval && this.#peek() === '+') {
        this.#at++;
        node = { kind: 'atomic', body: { ...repeat, greedy: true } };
      } else {
        node = { ...repeat, greedy: true };
      }
    }
  }

  #counts(): readonly [least: number, most: number, interval: boolean] | undefined {
    if (this.#take('*')) return [0, Number.POSITIVE_INFINITY, false];
    if (this.#take('+')) return [1, Number.POSITIVE_INFINITY, false];
    if (this.#take('?')) return [0, 1, false];
    const match = /^\{(\d{0,6})(,?)(\d{0,6})\}/.exec(this.#rest(16));
    if (match === null || (match[1] === '' && match[3] === '')) return undefined;
    this.#at += match[0].length;
    const least = Number(match[1]);
    const most = match[2] === '' ? least : match[3] === '' ? Number.POSITIVE_INFINITY : Number(match[3]);
    return [least, most, true];
  }

  #atom(flags: Flags): PatternNode {
    const letter = this.#next();
    switch (letter) {
      case '(':
        return this.#group(flags);
      case '[':
        return { kind: 'set', set: folded(this.#class(), flags) };
      case '.':
        return { kind: 'set', set: flags.dotAll ? propertySet('any') : notNewline };
      case '^':
        return { kind: 'assertion', assertion: 'lineStart' };
      case '$':
        return { kind: 'assertion', assertion: 'lineEnd' };
      case '\\':
        return this.#escape(flags);
      case '*':
      case '+':
      case '?':
        throw this.#invalid(`'${letter}' repeats nothing`);
      default:
        return { kind: 'set', set: folded(CharacterSet.of(letter.codePointAt(0) ?? 0), flags) };
    }
  }

  #group(flags: Flags): PatternNode {
    if (!this.#take('?')) return this.#closed(this.#choice(flags));
    const opening = /^(?:[:=!>]|<[=!]|<[A-Za-z_]\w*>|#|[imx]*(?:-[imx]*)?:)/.exec(this.#rest(64))?.[0];
    if (opening === undefined) throw this.#unsupported('a group of an unknown kind');
    this.#at += opening.length;
    switch (opening) {
      case '#':
        while (this.#next() !== ')');
        return { kind: 'sequence', parts: [] };
      case '=':
      case '!':
        return this.#closed({ kind: 'look', body: this.#choice(flags), ahead: true, negative: opening === '!' });
      case '<=':
      case '<!':
        return this.#closed({ kind: 'look', body: this.#choice(flags), ahead: false, negative: opening === '<!' });
      case '>':
        return this.#closed({ kind: 'atomic', body: this.#choice(flags) });
      default: {
        const changed = /^([imx]*)(?:-([imx]*))?:$/.exec(opening);
        return this.#closed(this.#choice(changed === null ? flags : withFlags(flags, changed[1], changed[2])));
      }
    }
  }

  #closed(node: PatternNode): PatternNode {
    if (!this.#take(')')) throw this.#invalid('a group has no end');
    return node;
  }

  #escape(flags: Flags): PatternNode {
    const letter = this.#peek() ?? '';
    const assertion = assertions[letter];
    if (assertion !== undefined) {
      this.#at++;
      return { kind: 'assertion', assertion };
    }
    if (letter === 'R') {
      this.#at++;
      return lineBreak;
    }
    if (/[1-9kgGKXyYNO]/.test(letter)) throw this.#unsupported(`'\\${letter}'`);
    return { kind: 'set', set: folded(this.#escapedSet(), flags) };
  }

  /** What an escape stands for, inside and outside of classes. */
  #escapedSet(): CharacterSet {
    const code = this.#escapedCode();
    if (code !== undefined) return CharacterSet.of(code);
    const letter = this.#next();
    const name = shorthands[letter.toLowerCase()];
    if (name !== undefined) {
      const set = propertySet(name);
      return letter === letter.toLowerCase() ? set : CharacterSet.complement(set);
    }
    const property = /^\{(\^?)([^}]{1,64})\}/.exec(this.#rest(68));
    if ((letter !== 'p' && letter !== 'P') || property === null) throw this.#unsupported(`'\\${letter}'`);
    this.#at += property[0].length;
    const set = propertySet(property[2] ?? '');
    return (property[1] === '^') === (letter === 'P') ? set : CharacterSet.complement(set);
  }

  /** The code point of an escape that stands for one. */
  #escapedCode(): number | undefined {
    const match = /^(?:x\{([0-9A-Fa-f]{1,8})\}|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|(0[0-7]{0,2}))/.exec(
      this.#rest(12),
    );
    if (match !== null) {
      this.#at += match[0].length;
      const code =
        match[4] === undefined
          ? Number.parseInt(match[1] ?? match[2] ?? match[3] ?? '', 16)
          : Number.parseInt(match[4], 8);
      if (code > 0x10ffff) throw this.#invalid(`0x${code.toString(16)} is no code point`);
      return code;
    }
    const letter = this.#peek();
    if (letter === undefined) throw this.#invalid('it ends in a backslash');
    if (letter in controls) {
      this.#at++;
      return controls[letter];
    }
    if (/[A-Za-z0-9]/.test(letter)) return undefined;
    this.#at++;
    return letter.codePointAt(0);
  }

  /** After the bracket that opens it. */
  #class(): CharacterSet {
    if (++this.#depth > MAX_DEPTH) throw this.#unsupported(`classes nested deeper than ${MAX_DEPTH}`);
    const negative = this.#take('^');
    const parts: CharacterSet[][] = [[]];
    for (let first = true; ; first = false) {
      if (!first && this.#take(']')) break;
      if (this.#rest(2) === '&&') {
        this.#at += 2;
        parts.push([]);
        continue;
      }
      parts.at(-1)?.push(this.#classItem());
    }
    this.#depth--;
    const set = CharacterSet.intersection(parts.map((sets) => CharacterSet.union(sets)));
    return negative ? CharacterSet.complement(set) : set;
  }

  #classItem(): CharacterSet {
    const posix = /^\[:(\^?)([a-z]{1,12}):\]/.exec(this.#rest(20));
    if (posix !== null) {
      this.#at += posix[0].length;
      const set = propertySet(posix[2] ?? '');
      return posix[1] === '^' ? CharacterSet.complement(set) : set;
    }
    const letter = this.#next();
    if (letter === '[') return this.#class();
    let low = letter.codePointAt(0);
    if (letter === '\\') {
      const before = this.#at;
      low = this.#take('b') ? 8 : this.#escapedCode();
      if (low === undefined) {
        this.#at = before;
        return this.#escapedSet();
      }
    }
    const start = low ?? 0;
    if (this.#peek() !== '-' || this.#letters[this.#at + 1] === ']' || this.#letters[this.#at + 1] === undefined) {
      return CharacterSet.of(start);
    }
    const dash = this.#at++;
    let high = this.#peek() === '[' ? undefined : this.#next().codePointAt(0);
    if (high === 0x5c) high = this.#escapedCode();
    if (high === undefined) {
      // Before a class, the dash is a dash.
      this.#at = dash;
      return CharacterSet.of(start);
    }
    if (high < start) throw this.#invalid('a range runs backwards');
    return CharacterSet.range(start, high);
  }

  #peek(): string | undefined {
    return this.#letters[this.#at];
  }

  #next(): string {
    const letter = this.#letters[this.#at++];
    if (letter === undefined) throw this.#invalid('it ends inside a group or class');
    return letter;
  }

  #take(letter: string): boolean {
    if (this.#peek() !== letter) return false;
    this.#at++;
    return true;
  }

  #rest(length: number): string {
    return this.#letters.slice(this.#at, this.#at + length).join('');
  }

  #invalid(what: string): IngotError {
    return new IngotError('InvalidFile', `the pattern ${shorten(this.#source)} is malformed: ${what}`);
  }

  #unsupported(what: string): IngotError {
    return new IngotError(
      'UnsupportedFile',
      `the pattern ${shorten(this.#source)} uses ${what}, which is not known here`,
    );
  }
}

const notNewline = CharacterSet.complement(CharacterSet.of(NEWLINE));
const vertical = CharacterSet.ofClass('[\\n\\v\\f\\r\\x85\\u2028\\u2029]');
const character = (code: number): PatternNode => ({ kind: 'set', set: CharacterSet.of(code) });
const lineBreak: PatternNode = {
  kind: 'atomic',
  body: {
    kind: 'choice',
    choices: [
      { kind: 'sequence', parts: [character(0x0d), character(NEWLINE)] },
      { kind: 'set', set: vertical },
    ],
  },
};

function folded(set: CharacterSet, flags: Flags): CharacterSet {
  return flags.ignoreCase ? CharacterSet.ignoringCase(set) : set;
}

/** In Ruby, `m` is what others call `s`. */
function withFlags(flags: Flags, on = '', off = ''): Flags {
  const value = (letter: string, before: boolean) => on.includes(letter) || (before && !off.includes(letter));
  return {
    ignoreCase: value('i', flags.ignoreCase),
    dotAll: value('m', flags.dotAll),
    extended: value('x', flags.extended),
  };
}

function shorten(source: string): string {
  return JSON.stringify(source.length > 60 ? `${source.slice(0, 60)}...` : source);
}
