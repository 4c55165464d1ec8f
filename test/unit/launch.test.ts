/** What `ingot launch` starts ranks by: hosts as people write them, and a launcher of MPI that is not waited for in vain. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { hostOfEachRank, parseHosts } from '../../src/cli/hosts.ts';
import { startJob } from '../../src/parallel/mpi-job.ts';

test('hosts have as many ranks as slots, or as they are fewer than ranks', () => {
  const on = (text: string, ranks: number) => hostOfEachRank(parseHosts(text), ranks).join();
  assert.equal(on('a:2,b:2', 4), 'a,a,b,b');
  assert.equal(on('a,b', 4), 'a,a,b,b');
  assert.equal(on('a,b', 3), 'a,a,b');
  assert.equal(on('a:3,b', 2), 'a,a');
  // As many slots as a file likes.
  assert.equal(on('a:99999999999,b', 2), 'a,a');
  for (const wrong of ['', 'a b', 'a:0', 'a:x', 'a,']) {
    assert.throws(
      () => parseHosts(wrong),
      (error) => isIngotError(error, 'Usage'),
      wrong,
    );
  }
});

test('a job that is given up before it begins starts nothing', { skip: process.platform === 'win32' }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-launch-'));
  const started = join(folder, 'started');
  const script = `#!/bin/sh\n[ "$1" = --version ] && echo Open MPI && exit\ntouch ${started}\nexec sleep 60\n`;
  writeFileSync(join(folder, 'mpirun'), script);
  chmodSync(join(folder, 'mpirun'), 0o755);
  const before = process.env.PATH;
  process.env.PATH = `${folder}${delimiter}${before}`;
  try {
    const job = startJob({ ranks: 2, hosts: [], command: ['true'], signal: AbortSignal.abort() });
    await assert.rejects(job, (error) => isIngotError(error, 'Aborted'));
    assert.ok(!existsSync(started));
  } finally {
    process.env.PATH = before;
    rmSync(folder, { recursive: true });
  }
});
