/**
 * A backtracking matcher whose time is linear in the text: it remembers where each choice of the pattern has failed (as RE2's
 * `bitstate.cc` does) and never tries that again, not from another start either. For patterns of files, which may be
 * written to make an ordinary matcher take forever, and as slow as it is thorough.
 */
import { IngotError } from '../base/errors.ts';
import { type CharacterSet, propertySet } from './character-set.ts';
import { type Assertion, parsePattern } from './oniguruma.ts';
import { compilePattern, type Instruction } from './pattern-program.ts';

/** Positions of the text whose failures lie in one piece of memory. */
const PAGE = 1024;
const MAX_PAGE_WORDS = 1 << 26;
const MAX_ENDS = 1 << 22;

export class LinearPattern {
  readonly #program: readonly Instruction[];
  readonly #start: number;
  readonly #choices: number;

  /** @throws IngotError 'InvalidFile', 'UnsupportedFile' for patterns that are malformed, not known, or too big. */
  constructor(source: string) {
    const { instructions, start, choices } = compilePattern(parsePattern(source));
    this.#program = instructions;
    this.#start = start;
    this.#choices = choices;
  }

  /** Starts and ends of all matches in turn, as Oniguruma finds them. */
  find(text: string): number[] {
    const run = new Run(text, this.#program, this.#choices);
    const found: number[] = [];
    let lastEnd = -1;
    for (let at = 0; at <= text.length; ) {
      const end = run.match(this.#start, at);
      if (end < 0 || (end === at && lastEnd === at)) {
        // An empty match where the one before ended is none.
        at += widthAt(text, at);
        continue;
      }
      found.push(at, end);
      lastEnd = end;
      at = end;
    }
    return found;
  }
}

const word = propertySet('word');

/** What one text has shown so far. */
class Run {
  readonly #text: string;
  readonly #program: readonly Instruction[];
  readonly #choices: number;
  readonly #words: number;
  /** Bits for each position and choice: tried, and failed unless it is on the path of a match that was found. */
  readonly #tried: (Int32Array | undefined)[] = [];
  #triedWords = 0;
  /** For choices inside of groups: where the match that goes on from here ends. */
  readonly #ends = new Map<number, number>();
  /** For each 'all': the stretch that it found last. */
  readonly #lastAll = new Map<number, { readonly from: number; readonly end: number }>();
  /** Choices on the path, innermost last: instruction, position, and whether the second way is being tried. */
  #path = new Int32Array(3 * 256);
  #depth = 0;

  constructor(text: string, program: readonly Instruction[], choices: number) {
    this.#text = text;
    this.#program = program;
    this.#choices = choices;
    this.#words = (choices + 31) >> 5;
  }

  /** The end of the match that begins here, or -1. */
  match(start: number, at: number): number {
    // Matches begin further and further on: what failed behind is of no use.
    const page = Math.floor(at / PAGE);
    for (let old = page - 2; old >= 0 && this.#tried[old] !== undefined; old--) {
      this.#tried[old] = undefined;
      this.#triedWords -= PAGE * this.#words;
    }
    const end = this.#run(start, at, false);
    if (end >= 0) {
      for (let frame = 0; frame < this.#depth; frame++) {
        const choice = this.#program[this.#path[3 * frame] ?? 0];
        if (choice?.kind === 'choice') this.#forget(choice.number, this.#path[3 * frame + 1] ?? 0);
      }
    }
    this.#depth = 0;
    return end;
  }

  /** @param inner a group's body: it may be asked for again from elsewhere, so what succeeds is remembered too. */
  #run(start: number, from: number, inner: boolean): number {
    const base = this.#depth;
    let at = from;
    let index = start;
    for (;;) {
      const instruction = this.#program[index];
      let failed = false;
      switch (instruction?.kind) {
        case undefined:
          throw new Error('a program leads nowhere');
        case 'match':
          if (inner) this.#keep(base, at);
          return at;
        case 'character':
        case 'set': {
          const code = this.#text.codePointAt(at);
          const fits =
            code !== undefined && (instruction.kind === 'set' ? instruction.set.has(code) : instruction.code === code);
          if (!fits) failed = true;
          else {
            at += code > 0xffff ? 2 : 1;
            index = instruction.next;
          }
          break;
        }
        case 'assertion':
          if (!this.#holds(instruction.assertion, at)) failed = true;
          else index = instruction.next;
          break;
        case 'look':
          if (this.#looks(instruction, at) === instruction.negative) failed = true;
          else index = instruction.next;
          break;
        case 'atomic': {
          const end = this.#run(instruction.body, at, true);
          if (end < 0) failed = true;
          else {
            at = end;
            index = instruction.next;
          }
          break;
        }
        case 'all': {
          const end = this.#endOfAll(index, instruction.set, at);
          if (instruction.least > 0 && end === at) failed = true;
          else {
            at = end;
            index = instruction.next;
          }
          break;
        }
        case 'choice': {
          const known = inner ? this.#ends.get(at * this.#choices + instruction.number) : undefined;
          if (known !== undefined) {
            this.#keep(base, known);
            return known;
          }
          if (this.#try(instruction.number, at)) {
            this.#push(index, at);
            index = instruction.next;
          } else failed = true;
          break;
        }
        default:
          instruction satisfies never;
      }
      if (!failed) continue;
      // The innermost choice that has a second way left.
      while (this.#depth > base && this.#path[3 * this.#depth - 1] === 1) this.#depth--;
      if (this.#depth === base) return -1;
      this.#path[3 * this.#depth - 1] = 1;
      at = this.#path[3 * this.#depth - 2] ?? 0;
      const choice = this.#program[this.#path[3 * this.#depth - 3] ?? 0];
      index = choice?.kind === 'choice' ? choice.otherwise : -1;
    }
  }

  #endOfAll(index: number, set: CharacterSet, from: number): number {
    const last = this.#lastAll.get(index);
    // From inside of the last stretch, the end is the same.
    if (last !== undefined && last.from <= from && from <= last.end) return last.end;
    let end = from;
    for (let code = this.#text.codePointAt(end); code !== undefined && set.has(code); ) {
      end += code > 0xffff ? 2 : 1;
      code = this.#text.codePointAt(end);
    }
    this.#lastAll.set(index, { from, end });
    return end;
  }

  /** A group has matched: the choices on its path lead to its end, from wherever they are reached. */
  #keep(base: number, end: number): void {
    for (let frame = base; frame < this.#depth; frame++) {
      const choice = this.#program[this.#path[3 * frame] ?? 0];
      if (choice?.kind !== 'choice') continue;
      if (this.#ends.size >= MAX_ENDS) throw tooLong();
      this.#ends.set((this.#path[3 * frame + 1] ?? 0) * this.#choices + choice.number, end);
    }
    this.#depth = base;
  }

  #push(index: number, at: number): void {
    if (3 * this.#depth === this.#path.length) {
      const wider = new Int32Array(2 * this.#path.length);
      wider.set(this.#path);
      this.#path = wider;
    }
    this.#path[3 * this.#depth] = index;
    this.#path[3 * this.#depth + 1] = at;
    this.#path[3 * this.#depth + 2] = 0;
    this.#depth++;
  }

  /** Whether this is the first time. @throws IngotError 'InvalidArgument' if there is too much to remember. */
  #try(number: number, at: number): boolean {
    const index = Math.floor(at / PAGE);
    let page = this.#tried[index];
    if (page === undefined) {
      page = new Int32Array(PAGE * this.#words);
      this.#triedWords += page.length;
      if (this.#triedWords > MAX_PAGE_WORDS) throw tooLong();
      this.#tried[index] = page;
    }
    const place = (at % PAGE) * this.#words + (number >> 5);
    const bit = 1 << (number & 31);
    const before = page[place] ?? 0;
    page[place] = before | bit;
    return (before & bit) === 0;
  }

  #forget(number: number, at: number): void {
    const page = this.#tried[Math.floor(at / PAGE)];
    const place = (at % PAGE) * this.#words + (number >> 5);
    if (page !== undefined) page[place] = (page[place] ?? 0) & ~(1 << (number & 31));
  }

  #looks({ body, back }: Instruction & { kind: 'look' }, from: number): boolean {
    let at = from;
    for (let left = back; left > 0; left--) {
      if (at === 0) return false;
      at -= widthBefore(this.#text, at);
    }
    return this.#run(body, at, true) >= 0;
  }

  #holds(assertion: Assertion, at: number): boolean {
    const text = this.#text;
    switch (assertion) {
      case 'textStart':
        return at === 0;
      case 'textEnd':
        return at === text.length;
      case 'lastLineEnd':
        return at === text.length || (at === text.length - 1 && text[at] === '\n');
      case 'lineStart':
        return at === 0 || (text[at - 1] === '\n' && at < text.length);
      case 'lineEnd':
        return at === text.length || text[at] === '\n';
      case 'border':
        return this.#border(at);
      case 'noBorder':
        return !this.#border(at);
      default:
        return assertion satisfies never;
    }
  }

  #border(at: number): boolean {
    const text = this.#text;
    const before = at > 0 && word.has(text.codePointAt(at - widthBefore(text, at)) ?? 0);
    const after = at < text.length && word.has(text.codePointAt(at) ?? 0);
    return before !== after;
  }
}

function tooLong(): IngotError {
  return new IngotError(
    'InvalidArgument',
    "the text is too long for the pattern by which the model's tokenizer cuts it",
    {
      hint: 'split it',
    },
  );
}

function widthAt(text: string, at: number): number {
  return (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
}

function widthBefore(text: string, at: number): number {
  return at > 1 && (text.codePointAt(at - 2) ?? 0) > 0xffff ? 2 : 1;
}
