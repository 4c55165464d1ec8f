/** Programs by their text (mlir/print.ts): what is kept of programs is found by it, and one whose text is known need not be made to be found. */
import { isIngotError } from '../base/errors.ts';
import { printProgram } from './mlir/print.ts';
import type { Program } from './program.ts';

/** What a program takes and gives, as JSON can say it. */
export type Outline = Omit<Program, 'main' | 'functions'>;

export function outlineOf({ main: _, functions: __, ...outline }: Program): Outline {
  return outline;
}

const known = new WeakMap<Program, string>();

/** A program that `make` makes when somebody looks into it; `text` is that of what it makes. */
export function deferProgram(outline: Outline, text: string, make: () => Program): Program {
  let made: Program | undefined;
  const inside = () => {
    made ??= make();
    return made;
  };
  const program: Program = {
    ...outline,
    get main() {
      return inside().main;
    },
    get functions() {
      return inside().functions;
    },
  };
  known.set(program, text);
  return program;
}

/** Equal only for equal programs; undefined of one whose constants have not been read. */
export function programText(program: Program): string | undefined {
  const text = known.get(program);
  if (text !== undefined) return text;
  try {
    return printProgram(program);
  } catch (error) {
    if (isIngotError(error, 'InvalidArgument')) return undefined;
    throw error;
  }
}
