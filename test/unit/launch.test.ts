/** What `ingot launch` starts ranks by: hosts as people write them, and a launcher of MPI that is not waited for in vain. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { hostOfEachRank, parseHosts } from '../../src/cli/hosts.ts';
import { factsOf } from '../../src/cli/ranks.ts';
import { LaunchedRanks } from '../../src/parallel/launched-ranks.ts';
import { findLibrary } from '../../src/parallel/mpi.ts';
import { readyLine, startJob } from '../../src/parallel/mpi-job.ts';

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

/** With a launcher that does what the script says. */
async function withLauncher(script: (folder: string) => string, work: (folder: string) => Promise<void>) {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-launch-'));
  writeFileSync(
    join(folder, 'mpirun'),
    `#!/bin/sh\n[ "$1" = --version ] && echo Open MPI && exit\n${script(folder)}\n`,
  );
  chmodSync(join(folder, 'mpirun'), 0o755);
  const before = process.env.PATH;
  process.env.PATH = `${folder}${delimiter}${before}`;
  try {
    await work(folder);
  } finally {
    process.env.PATH = before;
    rmSync(folder, { recursive: true });
  }
}

const skip = process.platform === 'win32' && 'skipped, because the launcher is a shell script';

test('a job that is given up before it begins starts nothing', { skip }, async () => {
  await withLauncher(
    (folder) => `touch ${join(folder, 'started')}\nexec sleep 60`,
    async (folder) => {
      const job = startJob({ ranks: 2, hosts: [], command: ['true'], signal: AbortSignal.abort() });
      await assert.rejects(job, (error) => isIngotError(error, 'Aborted'));
      assert.ok(!existsSync(join(folder, 'started')));
    },
  );
});

test('ranks of another version are refused', { skip }, async () => {
  await withLauncher(
    (folder) => `touch ${join(folder, 'started')}\necho '${readyLine({ version: '0', ranks: [] }).trim()}'`,
    async (folder) => {
      await using ranks = new LaunchedRanks({ ranks: 2, hosts: [], version: '1', command: () => ['true'] });
      await assert.rejects(
        ranks.open(1),
        (error) => isIngotError(error, 'InvalidArgument') && /run version 0 of Ingot, the front 1/.test(error.message),
      );
      assert.ok(existsSync(join(folder, 'started')));
    },
  );
});

test('the library of the launcher is loaded, and where there is none it is said how to install it', () => {
  const tried: string[] = [];
  const none = (file: string): never => {
    tried.push(file);
    throw new Error(`${file} is not here`);
  };
  const says = (message: RegExp, hint: string) => (error: unknown) =>
    isIngotError(error, 'FileNotFound') && message.test(error.message) && error.hint === hint;
  const [open, mpich] = ['apt-get install openmpi-bin', 'apt-get install mpich'];
  assert.throws(() => findLibrary({}, none), says(/no Open MPI or MPICH here/, `Install it: ${open}, or ${mpich}`));
  assert.throws(() => findLibrary({ PMI_SIZE: '2' }, none), says(/no MPICH here/, `Install it: ${mpich}`));
  assert.deepEqual(tried, ['libmpi.so.40', 'libmpi.so.12', 'libmpich.so.12', 'libmpi.so.12', 'libmpich.so.12']);
  const { library, abi } = findLibrary({}, (file) => (file === 'libmpich.so.12' ? file : none(file)));
  assert.deepEqual([library, abi.name], ['libmpich.so.12', 'MPICH']);
});

test('ranks compare what makes them compute the same', async () => {
  assert.deepEqual(Object.keys(await factsOf('tensor=2')), ['version', 'mesh', 'instruction set']);
});
