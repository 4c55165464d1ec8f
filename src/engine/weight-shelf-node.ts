/** The weights of engines in several workers of this process, which have them in common: this thread's part. */
import { findSystem } from '../devices/cpu/os/open.ts';
import { createWeightTable, freeWeights, releaseWeights, type WeightShare } from '../devices/cpu/shared-weights.ts';

/** Where one worker may use the memory of another. */
export const sharesWeights = process.platform === 'linux';

/** The memory goes with the shelf, when the last worker has ended. */
export class WeightShelf implements Disposable {
  readonly #table = createWeightTable();
  readonly #sharers: number;
  readonly #holders = new Set<number>();
  #last = 0;
  #isClosed = false;
  /** A thread that never ends may read it still. */
  #isStuck = false;

  constructor(sharers: number) {
    this.#sharers = sharers;
  }

  /** For a new worker. */
  lend(): WeightShare {
    this.#holders.add(++this.#last);
    return { table: this.#table, holder: this.#last, sharers: this.#sharers };
  }

  /** The worker has ended; `isFree`: with all its threads. */
  giveBack({ holder }: WeightShare, isFree: boolean): void {
    releaseWeights(this.#table, holder);
    this.#holders.delete(holder);
    if (!isFree) this.#isStuck = true;
    this.#free();
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#free();
  }

  #free(): void {
    if (!this.#isClosed || this.#isStuck || this.#holders.size > 0) return;
    const found = findSystem();
    if (found.usable) freeWeights(found.system, this.#table);
  }
}
