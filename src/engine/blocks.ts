/**
 * Who uses which block of the KV pools, and which whole blocks hold the beginning of what text, so that requests that begin
 * alike compute it once (as vLLM's automatic prefix caching does). Pure bookkeeping: no device, no bytes, no clock; the same
 * calls give the same blocks.
 *
 * Blocks that nobody uses but whose contents are known are given away last, the least recently used first. A table is released
 * from its end, so of two blocks that follow one another the later always goes first.
 */
import { IngotError } from '../base/errors.ts';

/** A whole block with known contents. It stands for all tokens from the beginning of a text to its own last one. */
interface Known {
  /** Undefined at the beginning of texts. */
  readonly parent: Known | undefined;
  /** Its own tokens, among the children of its parent. */
  readonly key: string;
  readonly block: number;
  readonly children: Map<string, Known>;
}

/** How far the contents of a table are known: its first `blocks` are, and the last of these is `last`. */
interface Progress {
  readonly blocks: number;
  readonly last: Known;
}

export class BlockManager {
  readonly blockSize: number;
  readonly blockCount: number;
  /** Blocks of unknown contents, the next one last. */
  readonly #free: number[];
  /** Blocks that nobody uses, with what they hold, the least recently used first. */
  readonly #idle = new Map<number, Known>();
  readonly #users: Uint32Array;
  readonly #known: (Known | undefined)[];
  /** The beginnings of texts, by who may share them. */
  readonly #roots = new Map<string, Known>();
  readonly #progress = new WeakMap<readonly number[], Progress>();

  constructor(blockCount: number, blockSize: number) {
    this.blockCount = blockCount;
    this.blockSize = blockSize;
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

  /** Blocks that a table lacks to hold so many tokens. */
  missing(table: readonly number[], tokens: number): number {
    return Math.max(0, Math.ceil(tokens / this.blockSize) - table.length);
  }

  /**
   * Puts blocks into an empty table that hold the beginning of `tokens`, at most `most` of them, and says how many that is. Only
   * what was published with the same `owner` is found.
   */
  reuse(table: number[], tokens: readonly number[], most: number, owner: string): number {
    let last = this.#roots.get(owner);
    for (let block = 0; (block + 1) * this.blockSize <= most; block++) {
      const next: Known | undefined = last?.children.get(this.#keyOf(tokens, block));
      if (next === undefined) break;
      if (this.#users[next.block]++ === 0) this.#idle.delete(next.block);
      table.push(next.block);
      last = next;
    }
    if (last !== undefined && table.length > 0) this.#progress.set(table, { blocks: table.length, last });
    return table.length * this.blockSize;
  }

  /**
   * Appends blocks to `table` until it holds `tokens` tokens.
   * @throws IngotError 'OutOfMemory' if there are too few; `table` is left as it was.
   */
  grow(table: number[], tokens: number): void {
    const missing = this.missing(table, tokens);
    if (missing > this.freeBlocks) {
      throw new IngotError(
        'OutOfMemory',
        `the KV cache has ${this.freeBlocks} free blocks of ${this.blockSize} tokens, ${missing} are needed`,
      );
    }
    for (let i = 0; i < missing; i++) {
      const block = this.#take();
      this.#users[block] = 1;
      table.push(block);
    }
  }

  /** Says that the first `computed` tokens of a table are in its blocks: others may use those that are whole. */
  publish(table: readonly number[], tokens: readonly number[], computed: number, owner: string): void {
    const whole = Math.floor(computed / this.blockSize);
    if (whole === 0) return;
    const progress = this.#progress.get(table);
    let last = progress?.last ?? this.#root(owner);
    for (let i = progress?.blocks ?? 0; i < whole; i++) {
      const key = this.#keyOf(tokens, i);
      let next = last.children.get(key);
      // Who computed the same at the same time keeps a block that nobody will find.
      if (next === undefined) {
        const block = table[i];
        next = { parent: last, key, block, children: new Map() };
        last.children.set(key, next);
        this.#known[block] = next;
      }
      last = next;
    }
    this.#progress.set(table, { blocks: whole, last });
  }

  /** The first blocks of a table that others may use. */
  published(table: readonly number[]): number {
    return this.#progress.get(table)?.blocks ?? 0;
  }

  /** Takes back all blocks of `table` and empties it. */
  release(table: number[]): void {
    this.#progress.delete(table);
    for (const block of table.splice(0).reverse()) {
      if (this.#users[block] === 0) throw new IngotError('InvalidArgument', `block ${block} is released twice`);
      if (--this.#users[block] > 0) continue;
      const known = this.#known[block];
      if (known === undefined) this.#free.push(block);
      else this.#idle.set(block, known);
    }
  }

  #root(owner: string): Known {
    const known = this.#roots.get(owner);
    if (known !== undefined) return known;
    const root: Known = { parent: undefined, key: owner, block: -1, children: new Map() };
    this.#roots.set(owner, root);
    return root;
  }

  #keyOf(tokens: readonly number[], block: number): string {
    return tokens.slice(block * this.blockSize, (block + 1) * this.blockSize).join();
  }

  /** A block with nothing in it that counts. */
  #take(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const [oldest] = this.#idle;
    if (oldest === undefined) throw new IngotError('DeviceFault', 'a block is missing');
    const [block, { parent, key }] = oldest;
    this.#idle.delete(block);
    this.#known[block] = undefined;
    parent?.children.delete(key);
    // Owners that have nothing any more are forgotten.
    if (parent?.parent === undefined && parent?.children.size === 0) this.#roots.delete(parent.key);
    return block;
  }

  /** @throws IngotError 'DeviceFault' if a block is lost, has two owners, or is used by others than `tables`. */
  checkIntegrity(tables: Iterable<readonly number[]>): void {
    const users = new Uint32Array(this.blockCount);
    for (const table of tables) for (const block of table) users[block]++;
    const unused = new Uint8Array(this.blockCount);
    for (const list of [this.#free, this.#idle.keys()]) {
      for (const block of list) {
        if (unused[block]++ > 0) throw new IngotError('DeviceFault', `block ${block} without user is there twice`);
      }
    }
    for (let block = 0; block < this.blockCount; block++) {
      if (users[block] !== this.#users[block]) {
        throw new IngotError('DeviceFault', `block ${block} has ${users[block]} users, not ${this.#users[block]}`);
      }
      if (unused[block] > 0 === users[block] > 0) {
        throw new IngotError('DeviceFault', `block ${block} is ${users[block] > 0 ? 'free and used' : 'lost'}`);
      }
      const known = this.#known[block];
      if (users[block] > 1 && known === undefined) throw new IngotError('DeviceFault', `block ${block} has two owners`);
      if (known !== undefined && known.parent?.children.get(known.key) !== known) {
        throw new IngotError('DeviceFault', `block ${block} holds what cannot be found`);
      }
    }
  }
}
