/** The program as MLIR text, one file before the first pass and one after each. */
import { writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { printProgram } from '../ir/mlir/print.ts';
import type { Program } from '../ir/program.ts';

/** Numbers the files in the order of the passes: `00-built.mlir`, `01-simplify.mlir` ... */
export async function dumpTo(folder: string): Promise<(pass: string, program: Program) => void> {
  await mkdir(folder, { recursive: true });
  let count = 0;
  return (pass, program) => {
    const name = `${String(count++).padStart(2, '0')}-${pass}.mlir`;
    writeFileSync(join(folder, name), printProgram(program, { elide: true }));
  };
}
