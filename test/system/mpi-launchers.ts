/** The launchers of MPI that are here, and how tests start them. */
import { spawnSync } from 'node:child_process';
import { noCpu } from '../conformance/devices.ts';

export interface Launcher {
  readonly name: string;
  readonly library: RegExp;
  readonly command: string;
  readonly options: readonly string[];
  /** Lets ranks go on when one of them is killed; unless it cannot. */
  readonly recover?: readonly string[];
}

export const launchers: readonly Launcher[] = [
  {
    name: 'Open MPI',
    library: /^Open MPI v/,
    command: 'mpirun.openmpi',
    options: ['--oversubscribe', '--quiet'],
    recover: ['--enable-recovery'],
  },
  { name: 'MPICH', library: /^MPICH Version/, command: 'mpiexec.mpich', options: [] },
];

/** Root may start ranks where tests run, in containers. */
export const launcherEnvironment = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };

/** Why it is skipped. */
export function missing({ command }: Launcher): string | false {
  if (noCpu !== undefined) return noCpu;
  return spawnSync(command, ['--version']).error === undefined ? false : `there is no ${command}`;
}
