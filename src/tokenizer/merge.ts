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
 * Pairs of symbols that merge, with rank and result, one behind the other, and an open-addressing hash table of their places, at most
 * two thirds full. The 280,000 merges of Llama 3 take 6.3 MiB.
 */
export class PairTable {
  #size = 0;
  /** Left, right, rank and result of each pair. */
  #pairs: Int32Array;
  #places = new Int32Array(0);

  /** @param expected how many pairs there is room for at once; it grows where more are added. */
  constructor(expected = 0) {
    this.#pairs = new Int32Array(4 * expected);
    this.#lay(2 ** Math.ceil(Math.log2(1.5 * expected + 2)));
  }

  /** Which pair it is, or -1. Symbols below zero stand for text that never merges. */
  find(left: number, right: number): number {
    return this.#places[this.#slot(left, right)] ?? EMPTY;
  }

  rank(pair: number): number {
    return this.#pairs[4 * pair + 2] ?? 0;
  }

  merged(pair: number): number {
    return this.#pairs[4 * pair + 3] ?? 0;
  }

  /** Adds a pair; a pair that is there already keeps the lower rank. */
  add(left: number, right: number, rank: number, merged: number): void {
    if (rank > MAX_RANK) throw new IngotError('UnsupportedFile', `a vocabulary of more than ${MAX_RANK + 1} merges`);
    const slot = this.#slot(left, right);
    const known = this.#places[slot] ?? EMPTY;
    if (known !== EMPTY) {
      if (this.rank(known) > rank) this.#set(known, left, right, rank, merged);
      return;
    }
    this.#places[slot] = this.#size;
    this.#set(this.#size++, left, right, rank, merged);
    if (3 * this.#size > 2 * this.#places.length) this.#lay(2 * this.#places.length);
  }

  #set(pair: number, left: number, right: number, rank: number, merged: number): void {
    if (4 * pair === this.#pairs.length) {
      const pairs = new Int32Array(4 * Math.ceil(1.5 * pair + 16));
      pairs.set(this.#pairs);
      this.#pairs = pairs;
    }
    this.#pairs[4 * pair] = left;
    this.#pairs[4 * pair + 1] = right;
    this.#pairs[4 * pair + 2] = rank;
    this.#pairs[4 * pair + 3] = merged;
  }

  /** The table of places, with so many slots. */
  #lay(slots: number): void {
    this.#places = new Int32Array(slots).fill(EMPTY);
    for (let pair = 0; pair < this.#size; pair++) {
      this.#places[this.#slot(this.#pairs[4 * pair] ?? 0, this.#pairs[4 * pair + 1] ?? 0)] = pair;
    }
  }

  #slot(left: number, right: number): number {
    const [pairs, places] = [this.#pairs, this.#places];
    const mask = places.length - 1;
    let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca77);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    let slot = (hash ^ (hash >>> 13)) & mask;
    for (;;) {
      const pair = places[slot] ?? EMPTY;
      if (pair === EMPTY || (pairs[4 * pair] === left && pairs[4 * pair + 1] === right)) return slot;
      slot = (slot + 1) & mask;
    }
  }
}

/** Symbols of one stretch of text, merged in place. Kept by an encoder and used again: nothing is allocated for short texts. */
export class MergeList {
  /** Fill `symbols[0..count)`, then `merge`. */
  symbols = new Int32Array(0);
  #next = new Int32Array(0);
  #previous = new Int32Array(0);
  /** The pair that starts here, -1 for none. An entry of the heap is stale if its rank is not this pair's. */
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
      const pair = this.#pair[at] ?? -1;
      if (pair < 0 || pairs.rank(pair) !== rank) continue;
      const gone = next[at] ?? count;
      const after = next[gone] ?? count;
      symbols[at] = pairs.merged(pair);
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
    const pair = right < count ? pairs.find(this.symbols[left] ?? -1, this.symbols[right] ?? -1) : -1;
    this.#pair[left] = pair;
    if (pair >= 0) this.#push(pairs.rank(pair) * POSITION + left);
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
