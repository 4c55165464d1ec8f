/**
 * Who uses which block of the KV pools, and which whole blocks hold the beginning of what text (known-texts.ts), so that requests that
 * begin alike compute it once. Pure bookkeeping: no device, no bytes, no clock; the same
 * calls give the same blocks.
 *
 * Blocks that nobody uses but whose contents are known are given away last, the least recently used first. A table is released
 * from its end, so of two blocks that follow one another the later always goes first. What a block held that is given away moves
 * into a slot outside of the pools, where there are any, and is fetched from there when a text begins with it; slots are given
 * away in the same order.
 *
 * Layers with a window have a place of their own for each block that is still seen (window-blocks.ts). A beginning is found as far
 * as the last tokens before its end have all of theirs.
 */
import { IngotError } from '../base/errors.ts';
import type { StepLimits } from '../composites/step.ts';
import { type Known, KnownTexts } from './known-texts.ts';
import { WindowBlocks } from './window-blocks.ts';

/** How far the contents of a table are known: its first `blocks` are, and the last of these is `last`. */
interface Progress {
  readonly blocks: number;
  readonly last: Known;
}

/** Contents that go from a slot into a block, or the other way. */
export interface Transfer {
  readonly block: number;
  readonly slot: number;
}

/** Blocks of a text that come back from outside. */
export interface Fetch {
  /** Those that it goes on from, and those that it is fetched into. */
  readonly table: number[];
  readonly transfers: readonly Transfer[];
  /** What the transfers bring. */
  readonly contents: readonly Known[];
}

export class BlockManager {
  readonly blockSize: number;
  readonly blockCount: number;
  /** Known blocks that were given away since the beginning. */
  evicted = 0;
  /** Blocks of unknown contents, the next one last. */
  readonly #free: number[];
  /** Blocks that nobody uses, with what they hold, the least recently used first. */
  readonly #idle = new Map<number, Known>();
  readonly #users: Uint32Array;
  readonly #known: (Known | undefined)[];
  readonly #texts: KnownTexts;
  #leaving: Transfer[] = [];
  readonly #fetches = new Set<Fetch>();
  readonly #progress = new WeakMap<readonly number[], Progress>();
  readonly #windows: readonly WindowBlocks[];

  /** @throws IngotError 'InvalidArgument' for slots with windows, whose places do not leave the pools. */
  constructor(
    { blockCount, blockSize, windows = [] }: Pick<StepLimits, 'blockCount' | 'blockSize' | 'windows'>,
    slotCount = 0,
  ) {
    if (slotCount > 0 && windows.length > 0) {
      throw new IngotError('InvalidArgument', 'blocks of layers with a window cannot leave the pools');
    }
    this.blockCount = blockCount;
    this.blockSize = blockSize;
    this.#texts = new KnownTexts(blockSize, slotCount);
    this.#windows = windows.map((window) => new WindowBlocks(window, blockCount, blockSize));
    this.#free = Array.from({ length: blockCount }, (_, i) => blockCount - 1 - i);
    this.#users = new Uint32Array(blockCount);
    this.#known = new Array(blockCount);
  }

  /** Blocks that `grow` can hand out. */
  get freeBlocks(): number {
    return this.#free.length + this.#idle.size;
  }

  /** Blocks that nobody uses, whose contents are known. */
  get idleBlocks(): number {
    return this.#idle.size;
  }

  get storedBlocks(): number {
    return this.#texts.storedBlocks;
  }

  /** Blocks that a table lacks to hold so many tokens. */
  missing(table: readonly number[], tokens: number): number {
    return Math.max(0, Math.ceil(tokens / this.blockSize) - table.length);
  }

  /** Whether a table may go on until it holds so many tokens. */
  fits(table: readonly number[], tokens: number): boolean {
    const missing = this.missing(table, tokens);
    return missing <= this.freeBlocks && this.#windows.every((window) => window.hasRoom(missing));
  }

  /** Where a block lies: in the pools of layers that keep all, and in those of each window, -1 where it has left them. */
  places(block: number): readonly number[] {
    return [block, ...this.#windows.map((window) => window.placeOf(block))];
  }

  /** Where the blocks of a table lie in the pools of each window, -1 for those that are not seen. */
  windowTables(table: readonly number[]): readonly (readonly number[])[] {
    return this.#windows.map((window) => window.placesOf(table));
  }

  /** The next token of a table that is computed has so many before it: what it does not see in a window may go. */
  advance(table: readonly number[], tokens: number): void {
    for (const window of this.#windows) window.advance(table, tokens);
  }

  /**
   * Puts blocks into an empty table that hold the beginning of `tokens`, at most `most` of them, and says how many that is. Only
   * what was published with the same `owner` is found.
   */
  reuse(table: number[], tokens: readonly number[], most: number, owner: string): number {
    let last = this.#texts.root(owner);
    const found: number[] = [];
    /** Blocks in a row, up to the last that was found, that each window has. */
    const present = this.#windows.map(() => 0);
    let progress: Progress | undefined;
    for (let i = 0; (i + 1) * this.blockSize <= most; i++) {
      const next = this.#texts.after(last, tokens, i);
      if (next?.block === undefined) break;
      found.push(next.block);
      last = next;
      const end = (i + 1) * this.blockSize;
      let isSeen = true;
      for (const [w, window] of this.#windows.entries()) {
        present[w] = window.has(next.block) ? present[w] + 1 : 0;
        if (present[w] < i + 1 - window.firstSeen(end)) isSeen = false;
      }
      if (isSeen) progress = { blocks: i + 1, last };
    }
    if (progress === undefined) return 0;
    for (const block of found.slice(0, progress.blocks)) {
      if (this.#users[block]++ === 0) this.#idle.delete(block);
      table.push(block);
    }
    this.#progress.set(table, progress);
    const known = table.length * this.blockSize;
    for (const window of this.#windows) window.see(table, known);
    return known;
  }

  /**
   * Appends blocks to `table` until it holds `tokens` tokens.
   * @throws IngotError 'OutOfMemory' if there are too few; `table` is left as it was.
   */
  grow(table: number[], tokens: number): void {
    const missing = this.missing(table, tokens);
    if (!this.fits(table, tokens)) {
      throw new IngotError(
        'OutOfMemory',
        `the KV cache has ${this.freeBlocks} free blocks of ${this.blockSize} tokens, ${missing} are needed`,
      );
    }
    for (let i = 0; i < missing; i++) {
      const block = this.#take();
      this.#users[block] = 1;
      table.push(block);
      for (const window of this.#windows) window.add(block);
    }
  }

  /** Says that the first `computed` tokens of a table are in its blocks: others may use those that are whole. */
  publish(table: readonly number[], tokens: readonly number[], computed: number, owner: string): void {
    const whole = Math.floor(computed / this.blockSize);
    if (whole === 0) return;
    const progress = this.#progress.get(table);
    let last = progress?.last;
    for (let i = progress?.blocks ?? 0; i < whole; i++) {
      const next = this.#texts.add(last, tokens, i, owner);
      // Who computed the same at the same time keeps a block that nobody will find, unless it has places that the other has lost.
      if (next.block !== undefined && this.#isBetter(table[i], next.block)) this.#forget(next.block);
      if (next.block === undefined) this.#fill(next, table[i]);
      last = next;
    }
    if (last !== undefined) this.#progress.set(table, { blocks: whole, last });
  }

  /** Whether windows have places of a block which those of another, that nobody uses, do not have any more. */
  #isBetter(block: number, other: number): boolean {
    return this.#users[other] === 0 && this.#windows.some((window) => window.has(block) && !window.has(other));
  }

  /** What a block held that nobody uses counts no more. */
  #forget(block: number): void {
    const known = this.#known[block];
    if (known !== undefined) known.block = undefined;
    this.#known[block] = undefined;
    this.#idle.delete(block);
    this.#makeFree(block);
  }

  #makeFree(block: number): void {
    for (const window of this.#windows) window.forget(block);
    this.#free.push(block);
  }

  /** The first blocks of a table that others may use. */
  published(table: readonly number[]): number {
    return this.#progress.get(table)?.blocks ?? 0;
  }

  /** Takes back all blocks of `table` and empties it. */
  release(table: number[]): void {
    this.#progress.delete(table);
    const twice = table.find((block) => this.#users[block] === 0);
    if (twice !== undefined) throw new IngotError('InvalidArgument', `block ${twice} is released twice`);
    for (const window of this.#windows) window.release(table);
    for (const block of table.splice(0).reverse()) {
      if (--this.#users[block] > 0) continue;
      const known = this.#known[block];
      if (known === undefined) this.#makeFree(block);
      else this.#idle.set(block, known);
    }
  }

  /** Contents that are to be copied into slots before the next step writes into their blocks; each is said once. */
  takeLeaving(): readonly Transfer[] {
    return this.#leaving.splice(0);
  }

  /** Contents did not get into their slot. */
  lose(slot: number): void {
    this.#texts.lose(slot);
  }

  /** How many blocks outside go on where `table` ends, as `reuse` has filled it; or whether the next one is being fetched. */
  outside(table: readonly number[], tokens: readonly number[], most: number, owner: string): number | 'coming' {
    const found = this.#outside(table, tokens, most, owner);
    return found.length === 0 || found[0].slot !== undefined ? found.length : 'coming';
  }

  #outside(table: readonly number[], tokens: readonly number[], most: number, owner: string): readonly Known[] {
    const found: Known[] = [];
    let last = this.#progress.get(table)?.last ?? this.#texts.root(owner);
    for (let i = table.length; (i + 1) * this.blockSize <= most; i++) {
      last = this.#texts.after(last, tokens, i);
      if (last === undefined || last.block !== undefined) break;
      found.push(last);
      if (last.slot === undefined) break;
    }
    return found.filter(({ slot }, i) => slot !== undefined || i === 0);
  }

  /**
   * Begins to fetch the blocks that `outside` has counted. Until `fetched` is called nobody else touches them or their slots.
   * @throws IngotError 'OutOfMemory' if there are too few blocks.
   */
  fetch(tokens: readonly number[], most: number, owner: string): Fetch {
    const table: number[] = [];
    this.reuse(table, tokens, most, owner);
    const first = table.length;
    const contents = this.#outside(table, tokens, most, owner);
    // What makes room for them must not take their slots.
    const slots = this.#texts.lend(contents);
    try {
      this.grow(table, (first + slots.length) * this.blockSize);
    } catch (error) {
      this.#texts.takeBack(contents, slots);
      this.release(table);
      throw error;
    }
    const transfers = slots.map((slot, i) => ({ slot, block: table[first + i] }));
    const fetch = { table, transfers, contents };
    this.#fetches.add(fetch);
    return fetch;
  }

  /** The first `good` transfers of a fetch have brought what they should, the others nothing. */
  fetched(fetch: Fetch, good: number): void {
    this.#fetches.delete(fetch);
    fetch.transfers.forEach(({ slot, block }, i) => {
      const known = fetch.contents[i];
      this.#texts.freeSlot(slot);
      // It may have been computed meanwhile.
      if (known.block !== undefined) return;
      if (i < good) this.#fill(known, block);
      else this.#texts.detach(known);
    });
    this.release(fetch.table);
  }

  /** `block` holds these contents, wherever else they are. */
  #fill(known: Known, block: number): void {
    known.block = block;
    this.#known[block] = known;
    this.#texts.leaveSlot(known);
  }

  /** A block with nothing in it that counts. */
  #take(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const [oldest] = this.#idle;
    if (oldest === undefined) throw new IngotError('DeviceFault', 'a block is missing');
    const [block, known] = oldest;
    this.#idle.delete(block);
    this.#known[block] = undefined;
    known.block = undefined;
    for (const window of this.#windows) window.forget(block);
    this.evicted++;
    const slot = this.#texts.store(known);
    if (slot !== undefined) this.#leaving.push({ block, slot });
    return block;
  }

  /** @throws IngotError 'DeviceFault' if a block is lost, has two owners, or is used by others than `tables` and fetches. */
  checkIntegrity(tables: Iterable<readonly number[]>): void {
    const fault = (what: string) => new IngotError('DeviceFault', what);
    const users = new Uint32Array(this.blockCount);
    const all = [...tables];
    for (const table of all) for (const block of table) users[block]++;
    for (const window of this.#windows) window.checkIntegrity(all);
    for (const { table } of this.#fetches) for (const block of table) users[block]++;
    const unused = new Uint8Array(this.blockCount);
    for (const list of [this.#free, this.#idle.keys()]) {
      for (const block of list) if (unused[block]++ > 0) throw fault(`block ${block} without user is there twice`);
    }
    for (let block = 0; block < this.blockCount; block++) {
      if (users[block] !== this.#users[block]) {
        throw fault(`block ${block} has ${users[block]} users, not ${this.#users[block]}`);
      }
      if (unused[block] > 0 === users[block] > 0) {
        throw fault(`block ${block} is ${users[block] > 0 ? 'free and used' : 'lost'}`);
      }
      const known = this.#known[block];
      if (users[block] > 1 && known === undefined) throw fault(`block ${block} has two owners`);
      if (known === undefined) continue;
      if (known.block !== block || known.parent?.children.get(known.key) !== known) {
        throw fault(`block ${block} holds what cannot be found`);
      }
    }
    this.#texts.checkIntegrity([...this.#fetches].flatMap(({ transfers }) => transfers.map(({ slot }) => slot)));
  }
}
