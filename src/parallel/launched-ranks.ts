/** Ranks in jobs that the front has started, and starts again under a higher epoch when one of them is lost. */
import { IngotError } from '../base/errors.ts';
import { type Job, startJob } from './mpi-job.ts';
import { keepAlive } from './pulse.ts';
import type { RankGroup, Ranks } from './rank-group.ts';

interface GroupOptions {
  readonly ranks: number;
  /** A host for each rank; this one if there are none. */
  readonly hosts: readonly string[];
  readonly version: string;
  /** What a rank of an epoch runs. */
  command(epoch: number): readonly string[];
}

/** A job of ranks that divide one model. */
export class LaunchedRanks implements Ranks, AsyncDisposable {
  readonly #options: GroupOptions;
  #job: Job | undefined;
  #pulses: Disposable | undefined;

  constructor(options: GroupOptions) {
    this.#options = options;
  }

  /** Ends those of the epoch before. @throws IngotError as `startJob`; 'InvalidArgument' for another version of Ingot. */
  async open(epoch: number, signal?: AbortSignal): Promise<RankGroup> {
    const { ranks, hosts, version, command } = this.#options;
    await this[Symbol.asyncDispose]();
    this.#job = await startJob({ ranks, hosts, command: command(epoch), signal });
    const { ready } = this.#job;
    if (ready.version !== version) {
      await this[Symbol.asyncDispose]();
      throw new IngotError('InvalidArgument', `ranks run version ${ready.version} of Ingot, the front ${version}`);
    }
    this.#pulses = await keepAlive(ready.ranks, epoch);
    return { epoch, ranks: ready.ranks };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#pulses?.[Symbol.dispose]();
    this.#pulses = undefined;
    const job = this.#job;
    this.#job = undefined;
    await job?.[Symbol.asyncDispose]();
  }
}
