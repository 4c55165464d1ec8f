/**
 * Moves contents of KV blocks out of the pools and back: of requests that gave their memory to others, and of beginnings that nobody
 * uses now, of models whose layers all keep all. BlockManager says which go where; the slots are somebody else's, as those of a file are (slots-node.ts).
 */
import type { BlockManager, Fetch } from './blocks.ts';
import type { Pools } from './pools.ts';
import { FetchCost } from './step-cost.ts';

/** Memory outside of the pools, in pieces of one block each. */
export interface BlockSlots extends AsyncDisposable {
  readonly count: number;
  /** Takes contents, to be written in the order of the calls; false where it cannot. */
  write(slot: number, contents: Uint8Array): boolean;
  /** What was written last; undefined if that is lost or damaged. */
  read(slot: number): Promise<Uint8Array | undefined>;
}

export class Spill {
  readonly #blocks: BlockManager;
  readonly #pools: Pools;
  readonly #slots: BlockSlots | undefined;
  readonly #cost: FetchCost;
  readonly #fetching = new Set<Promise<void>>();
  readonly #onFetched: () => void;
  /** Settles when what left the pools is on its way to its slots. */
  #flushed: Promise<void> = Promise.resolve();
  readonly totals = { stored: 0, fetched: 0, lost: 0 };

  constructor(blocks: BlockManager, pools: Pools, slots: BlockSlots | undefined, onFetched: () => void) {
    this.#blocks = blocks;
    this.#pools = pools;
    this.#slots = slots;
    this.#cost = new FetchCost(pools.blockBytes);
    this.#onFetched = onFetched;
  }

  /** Predicted microseconds until so many blocks are fetched. */
  predict(blocks: number): number {
    return this.#cost.predict(blocks);
  }

  /**
   * What has to leave is read before whatever is submitted from now on, and is on its way to its slots when this settles. Called
   * after blocks were handed out.
   */
  async flush(): Promise<void> {
    const leaving = this.#blocks.takeLeaving();
    if (leaving.length === 0) return this.#flushed;
    const contents = Promise.all(leaving.map(({ block }) => this.#pools.read([block])));
    const flushed = Promise.allSettled([contents, this.#flushed]).then(([read]) => {
      leaving.forEach(({ slot }, i) => {
        if (read.status === 'fulfilled' && this.#slots?.write(slot, read.value[i])) this.totals.stored++;
        else this.#blocks.lose(slot);
      });
    });
    this.#flushed = flushed;
    await flushed;
  }

  /** Beside the steps, after what is to leave; what was fetched is found by whoever asks for it then. */
  fetch(fetch: Fetch): void {
    const work = this.#flushed
      .then(() => this.#fetch(fetch))
      .finally(() => {
        this.#fetching.delete(work);
        this.#onFetched();
      });
    this.#fetching.add(work);
  }

  async #fetch(fetch: Fetch): Promise<void> {
    const begin = performance.now();
    let good = 0;
    try {
      // All are asked for at once.
      const contents = fetch.transfers.map(({ slot }) => this.#slots?.read(slot));
      for (const { block } of fetch.transfers) {
        const bytes = await contents[good];
        if (bytes === undefined) break;
        this.#pools.write([block], bytes);
        good++;
      }
      await Promise.allSettled(contents);
    } catch {
      // A device that takes no writes says so to the next step.
    }
    const { length } = fetch.transfers;
    if (good > 0) this.#cost.observe(good, 1000 * (performance.now() - begin));
    this.totals.fetched += good;
    this.totals.lost += length - good;
    this.#blocks.fetched(fetch, good);
  }

  /** Settles when nothing is fetched. */
  async settled(): Promise<void> {
    await Promise.all(this.#fetching);
  }
}
