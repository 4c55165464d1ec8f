import type { Program } from '../ir/program.ts';
export function compile(program: Program, _o: { dump?: ((p: string, q: Program) => void) | undefined } = {}): Program {
  return program;
}
