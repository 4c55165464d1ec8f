/**
 * A backtracking matcher whose time is linear in the text: it remembers where each choice of the pattern has failed (as RE2's
 * `bitstate.cc` does) and never tries that again, not from another start either. For patterns of files, which may be
 * written to make an ordinary matcher take forever, and as slow as it is thorough.
 */
import { IngotError } from '../base/errors.ts';
import { type CharacterSet, propertySet } from './character-set.ts';
import { type Assertion, type PatternNode, parsePattern } from './oniguruma.ts';

const MAX_INSTRUCTIONS = 4096;
/** Positions of the text whose failures lie in one piece of memory. */
const PAGE = 1024;
const MAX_PAGE_WORDS = 1 << 26;
const MAX_ENDS = 1 << 22;

/** `next` and what else an instruction leads to are indices of instructions. */
type Instruction =
  | { readonly kind: 'character'; readonly code: number; readonly next: number }
  | { readonly kind: 'set'; readonly set: CharacterSet; readonly next: number }
  | { readonly kind: 'assertion'; readonly assertion: Assertion; readonly next: number }
  /** Tries `next`, and `otherwise` if that fails; `number` counts the choices. */
  | { readonly kind: 'choice'; readonly number: number; readonly next: number; readonly otherwise: number }
  | {
      readonly kind: 'look';
      readonly body: number;
      readonly negative: boolean;
      readonly back: number;
      readonly next: number;
    }
  | { readonly kind: 'atomic'; readonly body: number; readonly next: number }
  /** As many of the set as there are: the common atomic group, which needs no choices. */
  | { readonly kind: 'all'; readonly set: CharacterSet; readonly least: number; readonly next: number }
  | { readonly kind: 'match' };

export class LinearPattern {
  readonly #program: readonly Instruction[];
  readonly #start: number;
  readonly #choices: number;

  /** @throws IngotError 'InvalidFile', 'UnsupportedFile' for patterns that are malformed, not known, or too big. */
  constructor(source: string) {
    const compiler = new Compiler();
    this.#start = compiler.add(parsePattern(source), compiler.emit({ kind: 'match' }));
    this.#program = compiler.program;
    this.#choices = compiler.choices;
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

/** Builds programs from their ends: what comes next is known when a node is added. */
class Compiler {
  readonly program: Instruction[] = [];
  choices = 0;

  emit(instruction: Instruction): number {
    if (this.program.length >= MAX_INSTRUCTIONS) {
      throw new IngotError('UnsupportedFile', `a pattern that takes more than ${MAX_INSTRUCTIONS} steps`);
    }
    return this.program.push(instruction) - 1;
  }

  /** @returns where a node begins that goes on to `next`. */
  add(node: PatternNode, next: number): number {
    switch (node.kind) {
      case 'set':
        return node.set.only === undefined
          ? this.emit({ kind: 'set', set: node.set, next })
          : this.emit({ kind: 'character', code: node.set.only, next });
      case 'sequence':
        return node.parts.reduceRight((after, part) => this.add(part, after), next);
      case 'choice':
        return node.choices
          .map((choice) => this.add(choice, next))
          .reduceRight((otherwise, first) => this.#choice(first, otherwise));
      case 'repeat':
        return this.#repeat(node, next);
      case 'atomic': {
        const { body } = node;
        if (
          body.kind === 'repeat' &&
          body.body.kind === 'set' &&
          body.most === Number.POSITIVE_INFINITY &&
          body.greedy
        ) {
          return this.emit({ kind: 'all', set: body.body.set, least: body.least, next });
        }
        return this.emit({ kind: 'atomic', body: this.add(body, this.emit({ kind: 'match' })), next });
      }
      case 'look':
        return this.#look(node, next);
      case 'assertion':
        return this.emit({ kind: 'assertion', assertion: node.assertion, next });
      default:
        return node satisfies never;
    }
  }

  #choice(next: number, otherwise: number): number {
    return this.emit({ kind: 'choice', number: this.choices++, next, otherwise });
  }

  #optional(body: number, next: number, greedy: boolean): number {
    return greedy ? this.#choice(body, next) : this.#choice(next, body);
  }

  #repeat({ body, least, most, greedy }: PatternNode & { kind: 'repeat' }, after: number): number {
    let next = after;
    if (most === Number.POSITIVE_INFINITY) {
      const loop = { kind: 'choice', number: this.choices++, next: after, otherwise: after } as const;
      const at = this.emit(loop);
      const begin = this.add(body, at);
      this.program[at] = greedy ? { ...loop, next: begin } : { ...loop, otherwise: begin };
      next = at;
    } else {
      for (let count = least; count < most; count++) next = this.#optional(this.add(body, next), after, greedy);
    }
    for (let count = 0; count < least; count++) next = this.add(body, next);
    return next;
  }

  #look({ body, ahead, negative }: PatternNode & { kind: 'look' }, next: number): number {
    if (ahead) {
      const begin = this.add(body, this.emit({ kind: 'match' }));
      return this.emit({ kind: 'look', body: begin, negative, back: 0, next });
    }
    // What lies behind has a known length in each alternative; one of them must hold, or none.
    const looks = (body.kind === 'choice' ? body.choices : [body]).map((choice) => {
      const begin = this.add(choice, this.emit({ kind: 'match' }));
      return { kind: 'look', body: begin, negative, back: lengthOf(choice), next } as const;
    });
    if (negative) return looks.reduce((after, look) => this.emit({ ...look, next: after }), next);
    return looks.map((look) => this.emit(look)).reduceRight((otherwise, first) => this.#choice(first, otherwise));
  }
}

/** Code points that a node matches, if that is one number. */
function lengthOf(node: PatternNode): number {
  switch (node.kind) {
    case 'set':
      return 1;
    case 'sequence':
      return node.parts.reduce((sum, part) => sum + lengthOf(part), 0);
    case 'choice': {
      const [first, ...others] = node.choices.map(lengthOf);
      if (first !== undefined && others.every((length) => length === first)) return first;
      break;
    }
    case 'repeat':
      if (node.least === node.most) return node.least * lengthOf(node.body);
      break;
    case 'atomic':
      return lengthOf(node.body);
    case 'look':
    case 'assertion':
      return 0;
    default:
      node satisfies never;
  }
  throw new IngotError(
    'UnsupportedFile',
    'a pattern looks behind for a text of no fixed length, which is not known here',
  );
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
