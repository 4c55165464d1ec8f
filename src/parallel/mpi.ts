/**
 * Ranks made by an MPI launcher (`mpirun`, `mpiexec`, Slurm's `srun`), joined by the MPI library of the system: Open MPI 4.1
 * and 5, MPICH 4. Nothing of it is linked: its functions are called by address. The library is initialized for calls from any
 * one thread at a time; JavaScript makes them before the first run, then thread 0 of the device's team alone.
 */
import { IngotError } from '../base/errors.ts';
import { lostPeer } from '../devices/cpu/exchange-code.ts';
import { type Library, openForeign } from '../devices/cpu/os/foreign.ts';
import type { Memory, OperatingSystem } from '../devices/cpu/os/os.ts';
import type { Communicator } from '../devices/device.ts';
import { defaultPatience, type GroupOptions } from './host-group.ts';
import { launchedRank, MPI_THREAD_SERIALIZED, type MpiAbi, mpiLibraries } from './mpi-abi.ts';
import { assembleMpiEnds, channels, end } from './mpi-code.ts';

/** This process among those that the launcher has started. */
export interface MpiWorld extends Disposable {
  readonly communicator: Communicator;
  /** Name and version of the library. */
  readonly library: string;
  /** This process among its neighbours, in groups of so many ranks; all of the world call it at the same time. */
  split(ranks: number): Communicator;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Tells the device of an end that a peer is lost: its runs end, and every later one fails. */
export function giveUp({ transport }: Communicator, peer: number): void {
  if (transport.kind === 'native') openForeign().store(transport.lost, lostPeer(peer));
}

/** Tells the device of an end whether nobody asks for this rank any more: its runs do not wait long then. */
export function setAlone({ transport }: Communicator, isAlone: boolean): void {
  if (transport.kind === 'native') openForeign().store(transport.alone, isAlone ? 1 : 0);
}

/** Whether a peer of an end is lost. */
export function isLost(system: OperatingSystem, { transport }: Communicator): boolean {
  return transport.kind === 'native' && system.load(transport.lost) !== 0;
}

/**
 * Joins. Once a process. Disposing it leaves MPI if no rank is lost: with one lost that would wait for it forever.
 * @throws IngotError 'FileNotFound' where there is no library, 'InvalidArgument' where it cannot be used.
 */
export function joinMpi(
  system: OperatingSystem,
  environment: Environment,
  { epoch = 0, patienceMilliseconds = defaultPatience }: GroupOptions = {},
): MpiWorld {
  if (system.name !== 'linux') {
    throw new IngotError('InvalidArgument', `MPI is called on Linux only, this is ${system.name}`);
  }
  const { library, abi } = openLibrary(environment);
  const call = (name: string, ...values: (number | Uint8Array)[]) => {
    const takes = values.map((value) => (typeof value === 'number' ? 'i64' : 'bytes'));
    const result = library.function(name, takes, 'i32')(...values);
    if (result !== 0) throw new IngotError('InvalidArgument', `${abi.name}: ${name} gives error ${result}`);
  };
  const word = (name: string, ...values: number[]) => {
    const out = new Int32Array(1);
    call(name, ...values, new Uint8Array(out.buffer));
    return out[0];
  };
  const provided = word('MPI_Init_thread', 0, 0, MPI_THREAD_SERIALIZED);
  if (provided < MPI_THREAD_SERIALIZED) {
    throw new IngotError('InvalidArgument', `${abi.name} lets one thread alone call it`, {
      hint: 'Use a build of it with support for threads.',
    });
  }
  const world = abi.world(library);
  call('MPI_Comm_set_errhandler', world, abi.errorsReturn(library));
  const [rank, size] = [word('MPI_Comm_rank', world), word('MPI_Comm_size', world)];
  const started = launchedRank(environment);
  if (started !== undefined && started.size !== size) {
    throw new IngotError('InvalidArgument', `${started.size} ranks were started, and ${abi.name} knows of ${size}`, {
      hint: 'The launcher has to be of the library that is found here; LD_LIBRARY_PATH may name the folder of another one.',
    });
  }

  const { bytes, ...offsets } = assembleMpiEnds(system.architecture);
  const code = system.mapCode(bytes);
  const memories: Memory[] = [];
  const ends: Communicator[] = [];
  const join = (handle: number, rank: number, size: number): Communicator => {
    const memory = system.mapMemory(end.bytes);
    memories.push(memory);
    const longs = new BigUint64Array(memory.bytes().buffer as ArrayBuffer);
    const set = (at: number, value: number) => {
      longs[at / 8] = BigInt.asUintN(64, BigInt(value));
    };
    set(end.comm, handle);
    set(end.byte, abi.byte(library));
    set(end.tag, (epoch % epochs) * channels);
    for (const [at, name] of functions) set(at, library.address(name));
    const joined: Communicator = {
      rank,
      size,
      epoch,
      transport: {
        kind: 'native',
        context: memory.address,
        isend: code.address + offsets.isend,
        irecv: code.address + offsets.irecv,
        test: code.address + offsets.test,
        cancel: code.address + offsets.cancel,
        lost: memory.address + end.lost,
        alone: memory.address + end.alone,
        patienceMilliseconds,
      },
    };
    ends.push(joined);
    return joined;
  };
  const text = new Uint8Array(maxVersionText);
  call('MPI_Get_library_version', text, new Uint8Array(4));
  return {
    communicator: join(world, rank, size),
    library: new TextDecoder().decode(text.subarray(0, text.indexOf(0))).split(/[,\n]/)[0],
    split(ranks) {
      if (size % ranks !== 0) throw new IngotError('InvalidArgument', `${size} ranks in groups of ${ranks}`);
      // A handle is an address or a number of 32 bits.
      const out = new BigUint64Array(1);
      call('MPI_Comm_split', world, Math.floor(rank / ranks), rank, new Uint8Array(out.buffer));
      const group = Number(out[0]);
      call('MPI_Comm_set_errhandler', group, abi.errorsReturn(library));
      return join(group, rank % ranks, ranks);
    },
    [Symbol.dispose]() {
      if (ends.some((each) => isLost(system, each))) return;
      call('MPI_Finalize');
      code[Symbol.dispose]();
      for (const memory of memories) memory[Symbol.dispose]();
    },
  };
}

/** Epochs whose tags differ. */
const epochs = 31;
/** MPI_MAX_LIBRARY_VERSION_STRING of MPICH; that of Open MPI is smaller. */
const maxVersionText = 8192;
const functions = [
  [end.isend, 'MPI_Isend'],
  [end.irecv, 'MPI_Irecv'],
  [end.test, 'MPI_Test'],
  [end.cancel, 'MPI_Cancel'],
  [end.free, 'MPI_Request_free'],
] as const;

function openLibrary(environment: Environment): { library: Library; abi: MpiAbi } {
  const foreign = openForeign();
  // UCX, below MPICH, would patch the C library's memory functions while other threads use them.
  const setVariable = foreign.load(null).function('setenv', ['bytes', 'bytes', 'i32'], 'i32');
  setVariable(Buffer.from('UCX_MEM_EVENTS\0'), Buffer.from('no\0'), 0);
  return findLibrary(environment, (file) => foreign.load(file));
}

/** The library whose launcher has started this process; any that `load` finds if none has. @throws IngotError 'FileNotFound'. */
export function findLibrary<L>(environment: Environment, load: (file: string) => L): { library: L; abi: MpiAbi } {
  const ours = mpiLibraries.filter(({ launched }) => environment[launched.size] !== undefined);
  const candidates = ours.length > 0 ? ours : mpiLibraries;
  let cause: unknown;
  for (const abi of candidates) {
    for (const file of abi.files) {
      try {
        return { library: load(file), abi };
      } catch (error) {
        // not there, or not to be loaded: the next one may be
        cause = error;
      }
    }
  }
  throw new IngotError('FileNotFound', `there is no ${candidates.map(({ name }) => name).join(' or ')} here`, {
    hint: `Install it: ${candidates.map(({ install }) => install).join(', or ')}`,
    cause,
  });
}
