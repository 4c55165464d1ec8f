/** The committed lines of captured kernels, and what differs from them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { repositoryPath } from '../fixtures.ts';

const path = repositoryPath('test', 'replay', 'kernels.txt');

export function readLines(): readonly string[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
}

export function writeLines(lines: readonly string[]): void {
  writeFileSync(path, lines.map((line) => `${line}\n`).join(''));
}

/** A sentence for each kernel and set whose code is another, new or gone. */
export function differences(before: readonly string[], after: readonly string[]): readonly string[] {
  const [old, now] = [codesOf(before), codesOf(after)];
  return [...new Set([...old.keys(), ...now.keys()])].sort().flatMap((kernel) => {
    const [was, is] = [old.get(kernel), now.get(kernel)];
    if (was === is) return [];
    const bytes = (code: string) => `${code.split(' ')[0]} bytes`;
    if (was === undefined) return [`${kernel}: new, ${bytes(is ?? '')}`];
    if (is === undefined) return [`${kernel}: gone, ${bytes(was)}`];
    return [`${kernel}: ${bytes(was)}, now ${bytes(is)}`];
  });
}

/** 'name, set' and 'bytes digest'. */
function codesOf(lines: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    lines.flatMap((line) => {
      const end = line.lastIndexOf(': ');
      return line
        .slice(end + 2)
        .split(', ')
        .map((cell): [string, string] => {
          const [set, ...code] = cell.split(' ');
          return [`${line.slice(0, end)}, ${set}`, code.join(' ')];
        });
    }),
  );
}
