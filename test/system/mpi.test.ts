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
import { joinMpi, launchedByMpi } from '../../src/parallel/mpi.ts';
import { localGroup, noCpu, openCpu } from '../conformance/devices.ts';
import { digests, everyCollective, inputOf, runRank } from '../unit/collective-program.ts';

interface Launcher {
  readonly name: string;
  readonly library: RegExp;
  readonly command: string;
  readonly options: readonly string[];
  /** Lets ranks go on when one of them is killed; unless it cannot. */
  readonly recover?: readonly string[];
}

const launchers: readonly Launcher[] = [
  {
    name: 'Open MPI',
    library: /^Open MPI v/,
    command: 'mpirun.openmpi',
    options: ['--oversubscribe', '--quiet'],
    recover: ['--enable-recovery'],
  },
  { name: 'MPICH', library: /^MPICH Version/, command: 'mpiexec.mpich', options: [] },
];

const program = fileURLToPath(new URL('mpi-rank.js', import.meta.url));
const found = findSystem();

function missing({ command }: Launcher): string | false {
  if (noCpu !== undefined) return noCpu;
  return spawnSync(command, ['--version']).error === undefined ? false : `there is no ${command}`;
}

interface Line {
  readonly rank: number;
  readonly size: number;
  readonly library: string;
  readonly digests?: Readonly<Record<string, string>>;
  readonly code?: string;
  readonly message?: string;
  readonly after?: number;
  readonly twice?: readonly number[];
  readonly expected?: readonly number[];
}

/** The lines of all ranks; launchers that do not end within 30 s are killed. */
function launch({ command, options }: Launcher, ranks: number, args: readonly string[], more: readonly string[] = []) {
  // Root may start ranks where tests run, in containers.
  const env = { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };
  const all = [...options, ...more, '-n', String(ranks), process.execPath, program, ...args];
  return new Promise<{ lines: readonly Line[]; text: string }>((resolve, reject) => {
    const child = spawn(command, all, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
    }
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
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
  for (const size of [2, 3, 4]) {
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
        for (const { rank, library, digests: theirs } of lines) {
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
    test(`${launcher.name}: a rank that is ${what} is a typed error within two seconds`, { skip }, async () => {
      const { lines, text } = await launch(launcher, 2, [how], more);
      const lost = lines.find(({ code }) => code !== undefined);
      assert.equal(lost?.code, 'RankLost', text);
      assert.match(lost?.message ?? '', /rank 0 has lost rank 1/);
      assert.ok((lost?.after ?? Number.POSITIVE_INFINITY) < 2000, `${lost?.after} ms`);
      const alive = lines.find(({ twice }) => twice !== undefined);
      assert.ok(alive?.twice !== undefined, text);
      assert.deepEqual(alive.twice, alive.expected);
    });
  }
}

test('what no launcher of MPI has started is not taken for a rank', () => {
  assert.equal(launchedByMpi({}), false);
  assert.equal(launchedByMpi({ OMPI_COMM_WORLD_SIZE: '2' }), true);
  assert.equal(launchedByMpi({ PMI_SIZE: '2' }), true);
});

test('MPI is refused where it is not called', { skip: !found.usable && found.reason }, () => {
  if (!found.usable) return;
  const system = { ...found.system, name: 'darwin' as const };
  assert.throws(
    () => joinMpi(system, {}),
    (error) => isIngotError(error, 'InvalidArgument') && /Linux/.test(error.message),
  );
});
