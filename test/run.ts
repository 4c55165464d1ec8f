/**
 * Runs every compiled test file below dist/test (or those whose path contains an argument) and ends with one line that
 * counts tests, not files: `N passed, N failed, N skipped`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
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

const count = { passed: 0, failed: 0, skipped: 0 };
const stream = run({ files, concurrency: Math.max(2, availableParallelism()) });
stream.on('test:pass', (event) => {
  if (event.details.type === 'suite') return;
  if (event.skip !== undefined && event.skip !== false) count.skipped++;
  else count.passed++;
});
stream.on('test:fail', (event) => {
  if (event.details.type !== 'suite') count.failed++;
});
stream.on('end', () => {
  setImmediate(() => {
    console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
    process.exitCode = count.failed > 0 || count.passed === 0 ? 1 : 0;
  });
});
stream.compose(new spec()).pipe(process.stdout);
