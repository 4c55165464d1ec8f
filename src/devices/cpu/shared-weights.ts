/**
 * Weights that several JavaScript threads of one process have in common: whoever comes first packs one, all read it, and so does a thread that
 * takes the place of one that was lost. A table in shared memory says where they lie. The memory is the process's: it goes when the table's owner says so, and
 * nobody may use it then.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { IngotError } from '../../base/errors.ts';
import { alignUp } from './align.ts';
import type { Memory, OperatingSystem } from './os/os.ts';

/** What a thread is given of a table. */
export interface WeightShare {
  readonly table: SharedArrayBuffer;
  /** Tells threads apart: from 1, never used again. */
  readonly holder: number;
  /** Threads that have the weights in common. */
  readonly sharers: number;
}

/** More than a model has; what finds no room is not shared. Pages that nothing is written to take no memory. */
const slots = 2 ** 14;
const mostRegions = 2 ** 12;
/** Of a weight: nobody has it, or it is there; from `claimed` on: the holder that packs it. */
const states = { empty: 0, filled: 1, claimed: 2 } as const;
const regionBytes = 256 << 20;
const hugePageBytes = 2 << 20;
const lineBytes = 64;
/** What one thread packs at a time, so that others have their part. */
const fillingBytes = 256 << 20;
const lookMilliseconds = 3;

class Table {
  /** Of weights: names, states, and addresses with lengths. */
  readonly keys: BigInt64Array;
  readonly states: Int32Array;
  readonly places: Float64Array;
  /** Addresses and lengths of mappings, and how many there are. */
  readonly regions: Float64Array;
  readonly count: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.keys = new BigInt64Array(buffer, 0, slots);
    this.places = new Float64Array(buffer, 8 * slots, 2 * slots);
    this.regions = new Float64Array(buffer, 24 * slots, 2 * mostRegions);
    this.states = new Int32Array(buffer, 24 * slots + 16 * mostRegions, slots);
    this.count = new Int32Array(buffer, 28 * slots + 16 * mostRegions, 1);
  }
}

export function createWeightTable(): SharedArrayBuffer {
  return new SharedArrayBuffer(28 * slots + 16 * mostRegions + 8);
}

/** A holder is gone: others pack what it had begun to. */
export function releaseWeights(table: SharedArrayBuffer, holder: number): void {
  const { states: all } = new Table(table);
  for (let slot = 0; slot < slots; slot++) Atomics.compareExchange(all, slot, states.claimed + holder, states.empty);
}

/** When no holder is left. */
export function freeWeights({ shared }: Pick<OperatingSystem, 'shared'>, table: SharedArrayBuffer): void {
  const { regions, count } = new Table(table);
  for (let i = 0; i < count[0]; i++) shared?.unmap(regions[2 * i], regions[2 * i + 1]);
  count[0] = 0;
}

export class SharedWeights {
  readonly sharers: number;
  readonly #shared: NonNullable<OperatingSystem['shared']>;
  readonly #table: Table;
  readonly #holder: number;
  #open = { at: 0, end: 0 };
  #filling = 0;
  #waiting: (() => void)[] = [];

  constructor(shared: NonNullable<OperatingSystem['shared']>, { table, holder, sharers }: WeightShare) {
    this.#shared = shared;
    this.#table = new Table(table);
    this.#holder = holder;
    this.sharers = sharers;
  }

  /**
   * The memory of a weight, when it is there; `fill` writes it, all of it or again, where nobody has. Undefined where the table has no room.
   * @throws what `fill` throws, IngotError 'OutOfMemory'.
   */
  async take(key: string, bytes: number, fill: (memory: Memory) => Promise<void>): Promise<Memory | undefined> {
    const slot = this.#slotOf(key);
    if (slot === undefined) return undefined;
    const { states: all } = this.#table;
    for (;;) {
      const state = Atomics.load(all, slot);
      if (state === states.filled) return this.#memory(slot, bytes);
      if (state !== states.empty) await sleep(lookMilliseconds);
      else if (this.#filling >= fillingBytes) await new Promise<void>((resolve) => this.#waiting.push(resolve));
      else if (Atomics.compareExchange(all, slot, states.empty, states.claimed + this.#holder) === states.empty) {
        return this.#fill(slot, bytes, fill);
      }
    }
  }

  async #fill(slot: number, bytes: number, fill: (memory: Memory) => Promise<void>): Promise<Memory> {
    let state: number = states.empty;
    this.#filling += bytes;
    try {
      const { places } = this.#table;
      // Where somebody has begun already.
      if (places[2 * slot + 1] === 0) places.set([this.#place(bytes), bytes], 2 * slot);
      const memory = this.#memory(slot, bytes);
      await fill(memory);
      state = states.filled;
      return memory;
    } finally {
      Atomics.store(this.#table.states, slot, state);
      this.#filling -= bytes;
      for (const go of this.#waiting.splice(0)) go();
    }
  }

  /** By open addressing. */
  #slotOf(key: string): number | undefined {
    const { keys } = this.#table;
    const name = createHash('sha256').update(key).digest().readBigInt64LE() | 1n;
    const first = Number(BigInt.asUintN(32, name >> 1n)) % slots;
    for (let i = 0; i < slots; i++) {
      const slot = (first + i) % slots;
      const known = Atomics.compareExchange(keys, slot, 0n, name);
      if (known === 0n || known === name) return slot;
    }
    return undefined;
  }

  /** Zeroed, in pages of 2 MiB that it shares with others (regions.ts). */
  #place(bytes: number): number {
    const length = alignUp(bytes, lineBytes);
    if (this.#open.at + length > this.#open.end) {
      const { regions, count } = this.#table;
      const mapped = Math.max(regionBytes, alignUp(length, hugePageBytes)) + hugePageBytes;
      const address = this.#shared.map(mapped);
      const i = Atomics.add(count, 0, 1);
      regions.set([address, mapped], 2 * i);
      this.#open = { at: alignUp(address, hugePageBytes), end: address + mapped };
    }
    const { at } = this.#open;
    this.#open.at += length;
    return at;
  }

  #memory(slot: number, bytes: number): Memory {
    const [address, length] = this.#table.places.subarray(2 * slot);
    if (length !== bytes) {
      throw new IngotError('InvalidArgument', `a weight of ${bytes} bytes has ${length} elsewhere`, { device: 'cpu' });
    }
    const { view } = this.#shared;
    return {
      address,
      length,
      bytes: (offset = 0, count = length - offset) =>
        count === 0 ? new Uint8Array() : new Uint8Array(view(address + offset, count)),
      // It stays as long as this thread.
      hold: () => ({ [Symbol.dispose]() {} }),
      [Symbol.dispose]() {},
    };
  }
}
