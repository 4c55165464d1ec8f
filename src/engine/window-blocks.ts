/**
 * Memory of layers that see only the last tokens of a sequence (a sliding window). A block of the cache has a place of it while a
 * sequence sees what it holds, and after that until another needs the place: as vLLM's hybrid KV cache manager has it, where what
 * such layers have computed of a beginning is known for as long as there is room.
 */
import { IngotError } from '../base/errors.ts';
import type { WindowLimits } from '../composites/step.ts';

export class WindowBlocks {
  readonly #limits: WindowLimits;
  readonly #blockSize: number;
  readonly #free: number[];
  /** Of each block of the cache: its place, or -1; and the tables that see it. */
  readonly #places: Int32Array;
  readonly #viewers: Uint32Array;
  /** Blocks that have a place and that nobody sees, the least recently seen first. */
  readonly #unseen = new Set<number>();
  /** First entry of a table that it still sees. */
  readonly #first = new WeakMap<readonly number[], number>();

  constructor(limits: WindowLimits, cacheBlocks: number, blockSize: number) {
    this.#limits = limits;
    this.#blockSize = blockSize;
    this.#free = Array.from({ length: limits.blockCount }, (_, i) => limits.blockCount - 1 - i);
    this.#places = new Int32Array(cacheBlocks).fill(-1);
    this.#viewers = new Uint32Array(cacheBlocks);
  }

  /** Whether there is room for a table with so many blocks more, not all of which it will see at the same time. */
  hasRoom(blocks: number): boolean {
    return Math.min(blocks, this.#limits.blocksPerSequence) <= this.#free.length + this.#unseen.size;
  }

  has(block: number): boolean {
    return this.#places[block] >= 0;
  }

  /** -1 where it has none. */
  placeOf(block: number): number {
    return this.#places[block];
  }

  /** The first block that is seen by a token with so many before it. */
  firstSeen(tokens: number): number {
    return Math.max(0, Math.floor((tokens - this.#limits.window + 1) / this.#blockSize));
  }

  /** A table that begins with known blocks, `tokens` tokens, sees the last of them. */
  see(table: readonly number[], tokens: number): void {
    const first = this.firstSeen(tokens);
    this.#first.set(table, first);
    for (const block of table.slice(first)) {
      this.#viewers[block]++;
      this.#unseen.delete(block);
    }
  }

  /** A table has got a new block, which nobody else sees. @throws IngotError 'OutOfMemory'. */
  add(block: number): void {
    const [oldest] = this.#unseen;
    let place = this.#free.pop();
    if (place === undefined && oldest !== undefined) {
      place = this.#places[oldest];
      this.#places[oldest] = -1;
      this.#unseen.delete(oldest);
    }
    if (place === undefined) {
      throw new IngotError('OutOfMemory', `layers with a window have no block left of ${this.#limits.blockCount}`);
    }
    this.#places[block] = place;
    this.#viewers[block] = 1;
  }

  /** The next token of a table has so many before it: what neither it nor a later one sees may go. */
  advance(table: readonly number[], tokens: number): void {
    const first = this.#first.get(table) ?? 0;
    const next = Math.min(this.firstSeen(tokens), table.length);
    for (let i = first; i < next; i++) this.#leave(table[i]);
    if (next > first) this.#first.set(table, next);
  }

  /** A table sees nothing any more. */
  release(table: readonly number[]): void {
    for (let i = table.length - 1; i >= (this.#first.get(table) ?? 0); i--) this.#leave(table[i]);
    this.#first.delete(table);
  }

  #leave(block: number): void {
    if (--this.#viewers[block] === 0) this.#unseen.add(block);
  }

  /** What a block held counts no more; nobody sees it. */
  forget(block: number): void {
    if (this.#places[block] < 0) return;
    this.#free.push(this.#places[block]);
    this.#places[block] = -1;
    this.#unseen.delete(block);
  }

  /** Places of a table's blocks, -1 for those that it does not see. */
  placesOf(table: readonly number[]): readonly number[] {
    const first = this.#first.get(table) ?? 0;
    return table.map((block, i) => (i < first ? -1 : this.#places[block]));
  }

  /** @throws IngotError 'DeviceFault' if a place is lost, there twice, or seen by others than `tables`. */
  checkIntegrity(tables: Iterable<readonly number[]>): void {
    const fault = (what: string) => new IngotError('DeviceFault', `window of ${this.#limits.window} tokens: ${what}`);
    const viewers = new Uint32Array(this.#viewers.length);
    for (const table of tables) for (const block of table.slice(this.#first.get(table) ?? 0)) viewers[block]++;
    const used = new Uint8Array(this.#limits.blockCount);
    for (const place of this.#free) used[place]++;
    this.#places.forEach((place, block) => {
      if (viewers[block] !== this.#viewers[block]) {
        throw fault(`block ${block} is seen by ${viewers[block]}, not ${this.#viewers[block]}`);
      }
      if (place >= 0) used[place]++;
      else if (viewers[block] > 0) throw fault(`block ${block} is seen and has no place`);
      if (this.#unseen.has(block) !== (place >= 0 && viewers[block] === 0))
        throw fault(`block ${block} is not counted`);
    });
    if (used.some((times) => times !== 1)) throw fault('a place is lost, or there twice');
  }
}
