/** The program as MLIR text, one file before the first pass and one after each. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder } from '../base/make-folder-node.ts';
import { systemError } from '../formats/file-node.ts';
import { printProgram } from '../ir/mlir/print.ts';
import type { Program } from '../ir/program.ts';

/**
 * Numbers the files in the order of the passes: `00-built.mlir`, `01-simplify.mlir` ...
 * @throws IngotError 'FileNotFound', 'FileExists', 'FileAccess', and so does what it returns.
 */
export function dumpTo(folder: string): (pass: string, program: Program) => void {
  const attempt = (path: string, work: () => void) => {
    try {
      work();
    } catch (error) {
      throw systemError(error, path);
    }
  };
  attempt(folder, () => makeFolder(folder));
  let count = 0;
  return (pass, program) => {
    const path = join(folder, `${String(count++).padStart(2, '0')}-${pass}.mlir`);
    attempt(path, () => writeFileSync(path, printProgram(program, { elide: true })));
  };
}
