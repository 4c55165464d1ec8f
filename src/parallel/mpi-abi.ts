/**
 * What MPI libraries do differently, a row each: the standard fixes functions and arguments, not what a handle is. In Open MPI
 * it is the address of a symbol (`mpi.h`, OMPI_PREDEFINED_GLOBAL), in MPICH and its kin a number.
 */
import type { Library } from '../devices/cpu/os/foreign.ts';

export interface MpiAbi {
  readonly name: string;
  /** Of the shared library: as its makers name it, and as distributions do beside others. */
  readonly files: readonly string[];
  /** Variables that its launcher gives each rank: how many there are, and which it is. */
  readonly launched: { readonly size: string; readonly rank: string };
  readonly world: (library: Library) => number;
  readonly byte: (library: Library) => number;
  readonly errorsReturn: (library: Library) => number;
  /** What its users install, and how its launcher is asked to leave a core to others. */
  readonly install: string;
}

const symbol = (name: string) => (library: Library) => library.address(name);

export const mpiLibraries: readonly MpiAbi[] = [
  {
    name: 'Open MPI',
    files: ['libmpi.so.40'],
    launched: { size: 'OMPI_COMM_WORLD_SIZE', rank: 'OMPI_COMM_WORLD_RANK' },
    world: symbol('ompi_mpi_comm_world'),
    byte: symbol('ompi_mpi_byte'),
    errorsReturn: symbol('ompi_mpi_errors_return'),
    install: 'apt-get install openmpi-bin',
  },
  {
    name: 'MPICH',
    files: ['libmpi.so.12', 'libmpich.so.12'],
    launched: { size: 'PMI_SIZE', rank: 'PMI_RANK' },
    world: () => 0x44000000,
    byte: () => 0x4c00010d,
    errorsReturn: () => 0x54000001,
    install: 'apt-get install mpich',
  },
];

/** Slurm's, where it starts the ranks of whatever library by itself. */
const slurm = { size: 'SLURM_STEP_NUM_TASKS', rank: 'PMIX_RANK' } as const;

/** Which of how many processes this is, as a launcher of MPI has told it; undefined if none has started it. */
export function launchedRank(
  environment: Readonly<Record<string, string | undefined>>,
): { readonly rank: number; readonly size: number } | undefined {
  for (const names of [...mpiLibraries.map(({ launched }) => launched), slurm]) {
    const [rank, size] = [environment[names.rank], environment[names.size]];
    if (rank !== undefined && size !== undefined) return { rank: Number(rank), size: Number(size) };
  }
  return undefined;
}

/** The level of threads that is asked for: any thread may call, one at a time. */
export const MPI_THREAD_SERIALIZED = 2;
