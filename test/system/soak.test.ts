/** A short soak: bench/soak.ts says what comes, and what must not be left behind. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { repositoryPath } from '../fixtures.ts';

test('a server under whatever may come answers or refuses all of it, and nothing is left', () => {
  const soak = repositoryPath('dist', 'bench', 'soak.js');
  const words = [soak, '--seconds', '20', '--clients', '12', '--seed', '7'];
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
  const report = JSON.parse(stdout) as { requests: number; outcomes: Record<string, number>; faults: string[] };
  assert.deepEqual(report.faults, []);
  assert.ok(report.requests > 20, stdout);
});
