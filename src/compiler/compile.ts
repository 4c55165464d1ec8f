/** The passes in their order. What is left to a device is what only it can know: its kernels, its memory. */
import { IngotError } from '../base/errors.ts';
import type { Pass, Program } from '../ir/program.ts';
import { verify } from '../ir/verify.ts';
import { raise } from './raise.ts';
import { simplify } from './simplify.ts';
import { planState } from './state.ts';

/** What may be asked of the passes. */
export interface CompileOptions {
  /** Verifies the program that comes in and what each pass makes of it. */
  readonly verify?: boolean;
  /** Sees the program as it comes in ('built') and after each pass, by the pass's name. */
  readonly dump?: ((pass: string, program: Program) => void) | undefined;
}

const passes: readonly { readonly name: string; readonly run: Pass }[] = [
  { name: 'simplify', run: simplify },
  { name: 'raise', run: raise },
];

/** @throws IngotError 'InvalidProgram' (with `verify`), 'StateWouldCopy'. */
export function compile(program: Program, options: CompileOptions = {}): Program {
  const check = (pass: string, result: Program) => {
    options.dump?.(pass, result);
    if (!options.verify) return;
    try {
      verify(result);
    } catch (error) {
      if (error instanceof IngotError)
        throw new IngotError(error.code, `after ${pass}: ${error.message}`, { ...error.place, cause: error });
      throw error;
    }
  };
  check('built', program);
  let current = program;
  for (const { name, run } of passes) {
    current = run(current);
    check(name, current);
  }
  planState(current);
  return current;
}
