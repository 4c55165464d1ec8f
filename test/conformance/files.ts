/** What the conformance suite keeps in the repository, and where. */
import { readFileSync, writeFileSync } from 'node:fs';

/** From the place of the compiled file. */
const repository = new URL('../../../', import.meta.url);
const paths = {
  report: 'docs/op-support.md',
  passing: 'test/conformance/passing.json',
  knownFailures: 'test/conformance/known-failures.json',
} as const;

function read(path: string): string {
  return readFileSync(new URL(path, repository), 'utf8');
}

export const readReport = () => read(paths.report);
/** Passing files by device: this may only rise. */
export const readPassing = (): Record<string, number> => JSON.parse(read(paths.passing));
/** Device -> file -> why it fails. */
export const readKnownFailures = (): Record<string, Record<string, string>> => JSON.parse(read(paths.knownFailures));

export function writeFindings(report: string, passing: Readonly<Record<string, number>>): void {
  writeFileSync(new URL(paths.report, repository), report);
  writeFileSync(new URL(paths.passing, repository), `${JSON.stringify(passing, undefined, 2)}\n`);
}
