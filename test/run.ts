/**
 * Runs every compiled test file below dist/test (or those whose path contains an argument), those that fail once more by
 * themselves, and ends with one line that counts tests, not files: `N passed, N failed, N skipped`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('.', import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.test.js') && (wanted.length === 0 || wanted.some((part) => name.includes(part))))
  .sort()
  .map((name) => join(folder, name));

if (files.length === 0) {
  console.error(`no test file matches ${wanted.join(' ')}`);
  process.exit(2);
}

// Tests of the command line start what the package ships, which has to be what was just compiled.
const root = fileURLToPath(new URL('../../', import.meta.url));
execFileSync(process.execPath, [join(root, 'node_modules/rolldown/bin/cli.mjs'), '-c', '--logLevel', 'silent'], {
  cwd: root,
  stdio: ['ignore', 'ignore', 'inherit'],
});

// What scripts/setup-tests.sh made.
const python = join(root, '.venv/bin/python');
if (process.env.INGOT_PYTHON === undefined && existsSync(python)) process.env.INGOT_PYTHON = python;

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

/** Minutes after which a file hangs. */
const patience = 10;

/** Of each file by itself, which the counts at the end are for. */
const summary = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;

/** A run of its own, so that all that fails in it is its own, also what helpers define and what ends the process. */
async function runFile(path: string): Promise<Count> {
  const found: Count = { passed: 0, failed: 0, skipped: 0 };
  const began = performance.now();
  const stream = run({ files: [path], timeout: patience * 60_000 });
  stream.on('test:pass', ({ details, skip }) => {
    if (details.type !== 'suite') found[skip !== undefined && skip !== false ? 'skipped' : 'passed']++;
  });
  stream.on('test:fail', ({ details }) => {
    if (details.type !== 'suite') found.failed++;
  });
  let text = '';
  const shown = stream.filter(({ type, data }) => type !== 'test:diagnostic' || !summary.test(data.message));
  for await (const part of shown.compose(new spec())) text += part;
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  process.stdout.write(`${relative(folder, path)}: ${seconds} s\n${text}\n`);
  return found;
}

/** Counts the tests of each file. */
async function runFiles(paths: readonly string[], concurrency: number): Promise<ReadonlyMap<string, Count>> {
  const counts = new Map<string, Count>();
  const queue = [...paths];
  const work = async () => {
    for (let path = queue.shift(); path !== undefined; path = queue.shift()) counts.set(path, await runFile(path));
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return counts;
}

const counts = new Map(await runFiles(files, Math.max(2, availableParallelism())));
const failing = () => files.filter((path) => (counts.get(path)?.failed ?? 0) > 0);

// Some tests watch real processes and clocks: a file that fails beside another is run once more with nothing beside it, and named.
const disturbed = failing();
if (disturbed.length > 0) {
  console.log(`\nonce more, one after another: ${disturbed.map((path) => relative(folder, path)).join(', ')}`);
  for (const [path, count] of await runFiles(disturbed, 1)) counts.set(path, count);
  const still = failing();
  for (const path of disturbed.filter((path) => !still.includes(path))) {
    console.log(`${relative(folder, path)} failed beside other tests and passed by itself: see above`);
  }
}

const sum = (kind: keyof Count) => [...counts.values()].reduce((total, count) => total + count[kind], 0);
console.log(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`);
process.exitCode = sum('failed') > 0 || sum('passed') === 0 ? 1 : 0;
