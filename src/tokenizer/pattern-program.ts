/**
 * Patterns as programs for `linear-pattern.ts`: instructions that each match, look or choose, as in Thompson's construction. Repetitions
 * of a counted length are written out, so a program is bounded.
 */
import { IngotError } from '../base/errors.ts';
import type { CharacterSet } from './character-set.ts';
import type { Assertion, PatternNode } from './oniguruma.ts';

const MAX_INSTRUCTIONS = 4096;

/** `next` and what else an instruction leads to are indices of instructions. */
export type Instruction =
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

export interface PatternProgram {
  readonly instructions: readonly Instruction[];
  readonly start: number;
  readonly choices: number;
}

/** @throws IngotError 'UnsupportedFile' for programs that are too big, and for looking behind too far. */
export function compilePattern(node: PatternNode): PatternProgram {
  const compiler = new Compiler();
  const start = compiler.add(node, compiler.emit({ kind: 'match' }));
  return { instructions: compiler.program, start, choices: compiler.choices };
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
