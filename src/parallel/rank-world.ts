/**
 * The processes that a launcher of MPI has started, as ranks of a program: who they are, whether they fit together, and how the
 * front reaches them.
 */
import { readlinkSync } from 'node:fs';
import { cpus, hostname, networkInterfaces } from 'node:os';
import { type OperatingSystem, usableThreads } from '../devices/cpu/os/os.ts';
import type { Communicator } from '../devices/device.ts';
import { agree, type Facts, tellAll } from './agree.ts';
import { isLost, joinMpi, type MpiWorld } from './mpi.ts';
import type { RankAddress } from './rank-group.ts';

export interface WorldOptions {
  readonly epoch: number;
  /** Ranks that divide a model, next to each other; each such group has a replica of it. All if absent. */
  readonly groupSize?: number;
  /** What all must have in common. */
  readonly facts: Facts;
  /** Where the front is (`hostIdentity`), if it is no rank. */
  readonly front?: string;
}

/** Ranks may be started one after another, on hosts that are slow to read Ingot itself. */
const joinMilliseconds = 60_000;
const leaveMilliseconds = 10_000;

/** What two processes have in common that reach each other by the loopback interface. */
export function hostIdentity(): string {
  let network = '';
  try {
    network = readlinkSync('/proc/self/ns/net');
  } catch {
    // No Linux: a host has one network.
  }
  return `${hostname()} ${network}`;
}

export class RankWorld {
  readonly rank: number;
  readonly size: number;
  /** Among its group. */
  readonly communicator: Communicator;
  readonly host = hostIdentity();
  /** That this rank has for itself. */
  readonly threads: number;
  /** Whether all are on one host, so that nobody else has to reach them. */
  readonly local: boolean;
  readonly #system: OperatingSystem;
  readonly #mpi: MpiWorld;

  private constructor(
    system: OperatingSystem,
    mpi: MpiWorld,
    communicator: Communicator,
    threads: number,
    local: boolean,
  ) {
    this.#system = system;
    this.#mpi = mpi;
    this.rank = mpi.communicator.rank;
    this.size = mpi.communicator.size;
    this.communicator = communicator;
    this.threads = threads;
    this.local = local;
  }

  /** Once a process. @throws IngotError as `joinMpi`; 'InvalidArgument' for ranks that differ; 'RankLost'. */
  static async join(
    system: OperatingSystem,
    environment: Readonly<Record<string, string | undefined>>,
    { epoch, groupSize = Number.POSITIVE_INFINITY, facts, front }: WorldOptions,
  ): Promise<RankWorld> {
    const mpi = joinMpi(system, environment, { epoch });
    const deadline = performance.now() + joinMilliseconds;
    await agree(system, mpi.communicator, facts, deadline);
    const own = hostIdentity();
    const identities = (await tellAll(system, mpi.communicator, { own }, deadline)).map((each) => each.own);
    const here = identities.filter((each) => each === own).length;
    const all = front === undefined ? identities : [...identities, front];
    // A launcher that gives each rank cores of its own has divided them already.
    const limits = system.limits();
    const bound = limits.cores.length < cpus().length;
    const usable = usableThreads(limits);
    const threads = bound ? usable : Math.max(1, Math.floor(usable / here));
    return new RankWorld(
      system,
      mpi,
      mpi.split(Math.min(groupSize, identities.length)),
      threads,
      all.every((each) => each === own),
    );
  }

  /** Where this rank listens, and by which addresses it is reached there. */
  get addresses(): { readonly listen: string | undefined; readonly hosts: readonly string[] } {
    if (this.local) return { listen: '127.0.0.1', hosts: ['127.0.0.1'] };
    const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
    const hosts = all.filter(({ internal, scopeid }) => !internal && !scopeid).map(({ address }) => address);
    return { listen: undefined, hosts };
  }

  /** Tells the others how this rank is reached, null where it is not, and how they are, by rank. @throws IngotError 'RankLost'. */
  async introduce(address: RankAddress | null): Promise<readonly (RankAddress | null)[]> {
    const deadline = performance.now() + joinMilliseconds;
    const all = await tellAll(this.#system, this.#mpi.communicator, { address }, deadline);
    return all.map((each) => each.address);
  }

  /** Together with the others. Without them nothing is left behind but MPI's own complaints. */
  async leave(): Promise<void> {
    if (isLost(this.#system, this.communicator)) return;
    try {
      await tellAll(this.#system, this.#mpi.communicator, {}, performance.now() + leaveMilliseconds);
    } catch {
      return;
    }
    this.#mpi[Symbol.dispose]();
  }
}
