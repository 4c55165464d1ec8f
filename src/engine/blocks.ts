/**
 * Who owns which block of the KV pools. Pure bookkeeping: no device, no bytes. Blocks are handed out lowest first, so
 * that a run is the same every time.
 */
import { IngotError } from '../base/errors.ts';

export class BlockManager {
  readonly blockSize: number;
  readonly blockCount: number;
  /** Free blocks, the next one last. */
  readonly #free: number[];
  readonly #owned = new Set<number>();

  constructor(blockCount: number, blockSize: number) {
    this.blockCount = blockCount;
    this.blockSize = blockSize;
    this.#free = Array.from({ length: blockCount }, (_, i) => blockCount - 1 - i);
  }

  get freeBlocks(): number {
    return this.#free.length;
  }

  /**
   * Appends blocks to `table` until it holds `tokens` tokens.
   * @throws IngotError 'OutOfMemory' if there are too few; `table` is left as it was.
   */
  grow(table: number[], tokens: number): void {
    const missing = Math.ceil(tokens / this.blockSize) - table.length;
    if (missing > this.#free.length) {
      throw new IngotError(
        'OutOfMemory',
        `the KV cache has ${this.#free.length} free blocks of ${this.blockSize} tokens, ${missing} are needed`,
      );
    }
    for (let i = 0; i < missing; i++) {
      const block = this.#free.pop();
      if (block === undefined) break;
      this.#owned.add(block);
      table.push(block);
    }
  }

  /** Takes back all blocks of `table` and empties it. */
  release(table: number[]): void {
    for (const block of table.splice(0).reverse()) {
      if (!this.#owned.delete(block)) throw new IngotError('InvalidArgument', `block ${block} is released twice`);
      this.#free.push(block);
    }
  }

  /** @throws IngotError 'DeviceFault' if a block is lost, owned twice, or not in exactly one of `tables`. */
  checkIntegrity(tables: Iterable<readonly number[]>): void {
    const seen = new Set<number>();
    for (const block of [...[...tables].flat(), ...this.#free]) {
      if (seen.has(block)) throw new IngotError('DeviceFault', `block ${block} has two owners`);
      seen.add(block);
    }
    if (seen.size !== this.blockCount) {
      throw new IngotError('DeviceFault', `${this.blockCount - seen.size} blocks have no owner`);
    }
  }
}
