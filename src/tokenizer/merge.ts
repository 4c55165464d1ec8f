/**
 * Byte-pair encoding's one algorithm: merge the neighbours whose pair has the lowest rank (the leftmost of equals) until
 * no pair is left (Sennrich et al., 2016). Byte-level BPE, SentencePiece BPE and tiktoken differ only in where symbols
 * and ranks come from, so they share this file. A linked list and a heap make it O(n log n) in the symbols, whatever
 * the text: a megabyte of one letter is a single pre-token.
 */
import { IngotError } from '../base/errors.ts';

/** Ranks are packed above 31 bits of position into the 53 exact bits of a double. */
export const MAX_RANK = 2 ** 22 - 1;
const POSITION = 2 ** 31;
const EMPTY = -1;

/**
 * Pairs of symbols that merge, with rank and result: an open-addressing hash table in typed arrays, at most two thirds full. The
 * 280,000 merges of Llama 3 take 8 MiB.
 */
export class PairTable {
  #size = 0;
  #mask = 0;
  #keys = new Int32Array(0);
  #values = new Int32Array(0);

  /** @param expected how many pairs there is room for at once; it grows where more are added. */
  constructor(expected = 0) {
    this.#allocate(2 ** Math.ceil(Math.log2(1.5 * expected + 2)));
  }

  #allocate(slots: number): void {
    this.#mask = slots - 1;
    this.#keys = new Int32Array(2 * slots).fill(EMPTY);
    this.#values = new Int32Array(2 * slots);
  }

  /** Where the pair stands, or -1. Symbols below zero stand for text that never merges. */
  find(left: number, right: number): number {
    const slot = this.#slot(left, right);
    return this.#keys[2 * slot] === EMPTY ? -1 : slot;
  }

  rank(slot: number): number {
    return this.#values[2 * slot] ?? 0;
  }

  merged(slot: number): number {
    return this.#values[2 * slot + 1] ?? 0;
  }

  /** Adds a pair; a pair that is there already keeps the lower rank. */
  add(left: number, right: number, rank: number, merged: number): void {
    if (rank > MAX_RANK) throw new IngotError('UnsupportedFile', `a vocabulary of more than ${MAX_RANK + 1} merges`);
    let slot = this.#slot(left, right);
    if (this.#keys[2 * slot] === EMPTY) {
      if (3 * ++this.#size > 2 * (this.#mask + 1)) {
        this.#grow();
        slot = this.#slot(left, right);
      }
    } else if (this.rank(slot) <= rank) return;
    this.#set(slot, left, right, rank, merged);
  }

  #grow(): void {
    const [keys, values] = [this.#keys, this.#values];
    this.#allocate(keys.length);
    for (let at = 0; at < keys.length; at += 2) {
      const [left = EMPTY, right = EMPTY] = [keys[at], keys[at + 1]];
      if (left !== EMPTY) this.#set(this.#slot(left, right), left, right, values[at] ?? 0, values[at + 1] ?? 0);
    }
  }

  #set(slot: number, left: number, right: number, rank: number, merged: number): void {
    this.#keys[2 * slot] = left;
    this.#keys[2 * slot + 1] = right;
    this.#values[2 * slot] = rank;
    this.#values[2 * slot + 1] = merged;
  }

  #slot(left: number, right: number): number {
    const keys = this.#keys;
    let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca77);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    let slot = (hash ^ (hash >>> 13)) & this.#mask;
    for (;;) {
      const key = keys[2 * slot];
      if (key === EMPTY || (key === left && keys[2 * slot + 1] === right)) return slot;
      slot = (slot + 1) & this.#mask;
    }
  }
}

/** Symbols of one stretch of text, merged in place. Kept by an encoder and used again: nothing is allocated for short texts. */
export class MergeList {
  /** Fill `symbols[0..count)`, then `merge`. */
  symbols = new Int32Array(0);
  #next = new Int32Array(0);
  #previous = new Int32Array(0);
  /** Table slot of the pair that starts here, -1 for none. An entry of the heap is stale if its rank is not this pair's. */
  #pair = new Int32Array(0);
  #heap = new Float64Array(0);
  #heapSize = 0;

  reserve(count: number): Int32Array {
    if (this.symbols.length < count) {
      const size = Math.max(64, 2 ** Math.ceil(Math.log2(count)));
      this.symbols = new Int32Array(size);
      this.#next = new Int32Array(size);
      this.#previous = new Int32Array(size);
      this.#pair = new Int32Array(size);
      // n - 1 pairs at first, and every merge makes at most two.
      this.#heap = new Float64Array(3 * size);
    }
    return this.symbols;
  }

  /** Gives back what a very long text needed. */
  trim(): void {
    if (this.symbols.length > 2 ** 16) {
      this.symbols = this.#next = this.#previous = this.#pair = new Int32Array(0);
      this.#heap = new Float64Array(0);
    }
  }

  /**
   * Merges the first `count` symbols. Afterwards position 0 holds the first symbol and `after(position)` leads to the
   * next one's position, up to `count`; positions are those of each symbol's first original symbol.
   */
  merge(count: number, pairs: PairTable): void {
    const { symbols } = this;
    const next = this.#next;
    const previous = this.#previous;
    this.#heapSize = 0;
    for (let i = 0; i < count; i++) {
      next[i] = i + 1;
      previous[i] = i - 1;
      this.#consider(i, i + 1, count, pairs);
    }
    while (this.#heapSize > 0) {
      const key = this.#pop();
      const rank = Math.floor(key / POSITION);
      const at = key - rank * POSITION;
      const slot = this.#pair[at] ?? -1;
      if (slot < 0 || pairs.rank(slot) !== rank) continue;
      const gone = next[at] ?? count;
      const after = next[gone] ?? count;
      symbols[at] = pairs.merged(slot);
      this.#pair[gone] = -1;
      next[at] = after;
      if (after < count) previous[after] = at;
      this.#consider(at, after, count, pairs);
      const before = previous[at] ?? -1;
      if (before >= 0) this.#consider(before, at, count, pairs);
    }
  }

  after(position: number): number {
    return this.#next[position] ?? position + 1;
  }

  #consider(left: number, right: number, count: number, pairs: PairTable): void {
    const slot = right < count ? pairs.find(this.symbols[left] ?? -1, this.symbols[right] ?? -1) : -1;
    this.#pair[left] = slot;
    if (slot >= 0) this.#push(pairs.rank(slot) * POSITION + left);
  }

  #push(key: number): void {
    const heap = this.#heap;
    let at = this.#heapSize++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] ?? 0;
      if (above <= key) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = key;
  }

  #pop(): number {
    const heap = this.#heap;
    const top = heap[0] ?? 0;
    const size = --this.#heapSize;
    const key = heap[size] ?? 0;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && (heap[child + 1] ?? 0) < (heap[child] ?? 0)) child++;
      const below = heap[child] ?? 0;
      if (below >= key) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = key;
    return top;
  }
}
