/** docs/op-support.md and passing.json: what the conformance suite found, in a form that changes only when it does. */
import type { OpName } from '../../src/ir/attributes.ts';
import { type ElementType, elementTypes } from '../../src/numerics/element-types.ts';
import type { FileResult, SuiteResults, Verdict } from './suite.ts';

function withStatus(results: readonly FileResult[], status: Verdict['status']): readonly FileResult[] {
  return results.filter(({ verdict }) => verdict.status === status);
}

/** Files that pass, by device. */
export function passingCounts(suite: SuiteResults): Record<string, number> {
  return Object.fromEntries([...suite].map(([device, results]) => [device, withStatus(results, 'pass').length]));
}

/** `knownFailures`: device -> file -> why it fails. */
export function renderReport(
  suite: SuiteResults,
  knownFailures: Readonly<Record<string, Readonly<Record<string, string>>>>,
): string {
  const lines = [
    '# Op support',
    '',
    "Written by `npm run op-support`: the programs of StableHLO's own test suite, run whole on each device. A file counts",
    'as passing only if every function in it does.',
    '',
    '| device | pass | fail | not yet |',
    '| --- | --: | --: | --: |',
    ...[...suite].map(([device, results]) => {
      const count = (status: Verdict['status']) => withStatus(results, status).length;
      return `| ${device} | ${count('pass')} | ${count('fail')} | ${count('not yet')} |`;
    }),
  ];
  for (const [device, results] of suite) {
    lines.push('', `## ${device}`, '', ...opTable(results));
    lines.push('', '### Not yet', '', 'Ops and types that a file needs first, and how many files do:', '');
    lines.push(...notYet(results).map(([what, count]) => `- \`${what}\` ${count}`));
    const failures = withStatus(results, 'fail').map(({ file }) => file);
    if (failures.length > 0) lines.push('', '### Failures', '');
    for (const file of failures) lines.push(`- ${file}: ${knownFailures[device]?.[file] ?? 'no reason is known'}`);
  }
  return `${lines.join('\n')}\n`;
}

const order = Object.keys(elementTypes) as ElementType[];

/** A row an op, a column an element type (of the op's first operand, or of its result where it takes none). */
function opTable(results: readonly FileResult[]): string[] {
  const cells = new Map<OpName, Map<ElementType, { pass: number; fail: number }>>();
  for (const { verdict, uses } of results) {
    if (verdict.status === 'not yet') continue;
    for (const [op, elements] of uses) {
      const row = cells.get(op) ?? new Map<ElementType, { pass: number; fail: number }>();
      cells.set(op, row);
      for (const element of elements) {
        const cell = row.get(element) ?? { pass: 0, fail: 0 };
        row.set(element, cell);
        cell[verdict.status]++;
      }
    }
  }
  const used = order.filter((element) => [...cells.values()].some((row) => row.has(element)));
  const mark = (cell: { pass: number; fail: number } | undefined) =>
    cell === undefined ? '' : cell.pass > 0 ? `${cell.pass}` : '**fail**';
  return [
    'Passing files that use an op with an element type; **fail** where none passes, empty where none uses the pair.',
    '',
    `| op | ${used.join(' | ')} |`,
    `| --- |${' --: |'.repeat(used.length)}`,
    ...[...cells]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([op, row]) => `| ${op} | ${used.map((element) => mark(row.get(element))).join(' | ')} |`),
  ];
}

function notYet(results: readonly FileResult[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const { verdict } of results) {
    if (verdict.status === 'not yet') counts.set(verdict.what, (counts.get(verdict.what) ?? 0) + 1);
  }
  return [...counts].toSorted(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
}
