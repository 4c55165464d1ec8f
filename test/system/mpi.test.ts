/**
 * Ranks that real MPI launchers start: the bits of ranks in one process, one submission a step, and typed errors where a rank
 * is stopped or killed.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isIngotError } from '../../src/base/errors.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import { joinMpi } from '../../src/parallel/mpi.ts';
import { launchedRank } from '../../src/parallel/mpi-abi.ts';
import { localGroup, openCpu } from '../conformance/devices.ts';
import { digests, everyCollective, inputOf, runRank } from '../unit/collective-program.ts';
import { type Launcher, launcherEnvironment, launchers, missing } from './mpi-launchers.ts';

const program = fileURLToPath(new URL('mpi-rank.js', import.meta.url));
const found = findSystem();

interface Line {
  readonly rank: number;
  readonly size: number;
  readonly library: string;
  readonly digests?: Readonly<Record<string, string>>;
  readonly submissions?: number;
  readonly code?: string;
  readonly message?: string;
  readonly after?: number;
  readonly twice?: readonly number[];
  readonly expected?: readonly number[];
}

/** The lines of all ranks; launchers that do not end within two minutes are killed. */
function launch(
  { command, options, environment }: Launcher,
  ranks: number,
  args: readonly string[],
  more: readonly string[] = [],
) {
  const env = { ...process.env, ...launcherEnvironment, ...environment };
  const all = [...options, ...more, '-n', String(ranks), process.execPath, program, ...args];
  return new Promise<{ lines: readonly Line[]; text: string }>((resolve, reject) => {
    const child = spawn(command, all, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
    }
    const timer = setTimeout(() => child.kill('SIGKILL'), 120_000);
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(timer);
      const lines = text.split('\n').filter((line) => line.startsWith('{'));
      resolve({ lines: lines.map((line) => JSON.parse(line) as Line), text });
    });
  });
}

for (const launcher of launchers) {
  const skip = missing(launcher);
  for (const size of launcher.sizes) {
    test(`${launcher.name}: collectives of ${size} ranks have the bits of ranks in one process`, { skip }, async () => {
      // 4000 rows are more than what a library sends without asking.
      for (const tokens of [1, 4000]) {
        const { lines, text } = await launch(launcher, size, ['all', String(tokens)]);
        assert.equal(lines.length, size, text);
        const expected = await Promise.all(
          localGroup(size).map(async (end, rank) => {
            await using device = openCpu(1);
            return await runRank(device, end, everyCollective(size), inputOf(tokens)(rank), { T: tokens });
          }),
        );
        for (const { rank, library, digests: theirs, submissions } of lines) {
          assert.equal(submissions, 1);
          assert.match(library, launcher.library);
          assert.deepEqual(theirs, digests(expected[rank]));
        }
      }
    });
  }

  const failures = [
    { how: 'SIGSTOP', what: 'stopped', more: [] },
    ...(launcher.recover === undefined ? [] : [{ how: 'SIGKILL', what: 'killed', more: launcher.recover }]),
  ];
  for (const { how, what, more } of failures) {
    test(`${launcher.name}: a rank that is ${what} is a typed error`, { skip }, async () => {
      const { lines, text } = await launch(launcher, 2, [how], more);
      const lost = lines.find(({ code }) => code !== undefined);
      assert.equal(lost?.code, 'RankLost', text);
      assert.match(lost?.message ?? '', /rank 0 has lost rank 1/);
      // A busy machine may be late by itself: on a quiet one it is less than two seconds.
      assert.ok((lost?.after ?? Number.POSITIVE_INFINITY) < 60_000, `${lost?.after} ms`);
      const alive = lines.find(({ twice }) => twice !== undefined);
      assert.ok(alive?.twice !== undefined, text);
      assert.deepEqual(alive.twice, alive.expected);
    });
  }
}

test('what no launcher of MPI has started is not taken for a rank', () => {
  assert.equal(launchedRank({}), undefined);
  assert.equal(launchedRank({ SLURM_STEP_NUM_TASKS: '2' }), undefined);
  assert.deepEqual(launchedRank({ OMPI_COMM_WORLD_SIZE: '2', OMPI_COMM_WORLD_RANK: '1' }), { rank: 1, size: 2 });
  assert.deepEqual(launchedRank({ PMI_SIZE: '3', PMI_RANK: '0' }), { rank: 0, size: 3 });
  assert.deepEqual(launchedRank({ PMIX_RANK: '0', SLURM_STEP_NUM_TASKS: '4' }), { rank: 0, size: 4 });
});

test('a rank whose launcher is of another library is refused with the reason', { skip: missing(launchers[0]) }, () => {
  const env = { ...process.env, OMPI_COMM_WORLD_SIZE: '2', OMPI_COMM_WORLD_RANK: '0' };
  const { status, stderr } = spawnSync(process.execPath, [program], { env, encoding: 'utf8' });
  assert.notEqual(status, 0);
  assert.match(stderr, /2 ranks were started, and Open MPI knows of 1/);
});

test('MPI is refused where it is not called', { skip: !found.usable && found.reason }, () => {
  if (!found.usable) return;
  const system = { ...found.system, name: 'darwin' as const };
  assert.throws(
    () => joinMpi(system, {}),
    (error) => isIngotError(error, 'InvalidArgument') && /Linux/.test(error.message),
  );
});
