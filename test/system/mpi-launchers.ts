/** The launchers of MPI that are here, and how tests start them. */
import { spawnSync } from 'node:child_process';
import { noCpu } from '../conformance/devices.ts';
import { repositoryPath } from '../fixtures.ts';

export interface Launcher {
  readonly name: string;
  readonly library: RegExp;
  readonly command: string;
  readonly options: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Numbers of ranks to start. */
  readonly sizes: readonly number[];
  /** Lets ranks go on when one of them is killed; unless it cannot. */
  readonly recover?: readonly string[];
}

/** A newer one that is not the system's: `scripts/setup-tests.sh`. */
const installed = (...path: readonly string[]) => repositoryPath('.mpi', ...path);

export const launchers: readonly Launcher[] = [
  {
    name: 'Open MPI',
    library: /^Open MPI v4/,
    command: 'mpirun.openmpi',
    options: ['--oversubscribe'],
    sizes: [2, 3, 4],
    recover: ['--enable-recovery'],
  },
  { name: 'MPICH', library: /^MPICH Version:\s*4/, command: 'mpiexec.mpich', options: [], sizes: [2] },
  {
    name: 'Open MPI 5',
    library: /^Open MPI v5/,
    command: installed('openmpi', 'bin', 'mpirun'),
    options: ['--oversubscribe'],
    sizes: [2],
  },
  {
    name: 'MPICH 5',
    library: /^MPICH Version:\s*5/,
    command: installed('mpich', 'bin', 'mpiexec.hydra'),
    options: [],
    environment: { LD_LIBRARY_PATH: installed('mpich', 'lib') },
    sizes: [2],
  },
];

/** Root may start ranks where tests run, in containers. */
export const launcherEnvironment = {
  OMPI_ALLOW_RUN_AS_ROOT: '1',
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
  OMPI_MCA_orte_execute_quiet: '1',
};

/** Why it is skipped. */
export function missing({ command }: Launcher): string | false {
  if (noCpu !== undefined) return noCpu;
  return spawnSync(command, ['--version']).error === undefined ? false : `there is no ${command}`;
}
