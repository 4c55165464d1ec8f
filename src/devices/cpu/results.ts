/**
 * Memory of large results: a run writes them where JavaScript sees them, without a copy. When the next run is waited for, a later one
 * may get the memory, whose pages the system need not clear again. Nobody takes back what was lent last: it stays as long as
 * JavaScript has it, whatever is disposed.
 */
import type { CpuBuffer } from './resources.ts';

export class LargeResult implements Disposable {
  readonly #buffer: CpuBuffer;
  /** One for all runs: the collector takes each for as much memory of JavaScript. */
  #view: Uint8Array | undefined;

  constructor(buffer: CpuBuffer) {
    this.#buffer = buffer;
  }

  get address(): number {
    return this.#buffer.memory.address;
  }

  bytes(length: number): Uint8Array {
    this.#view ??= this.#buffer.memory.bytes();
    return this.#view.subarray(0, length);
  }

  /** What keeps the memory until it is disposed, or nobody has its bytes any more. */
  hold(): Disposable {
    const hold = this.#buffer.memory.hold();
    collected.register(this.bytes(0).buffer, hold, hold);
    return {
      [Symbol.dispose]() {
        collected.unregister(hold);
        hold[Symbol.dispose]();
      },
    };
  }

  [Symbol.dispose](): void {
    this.#buffer[Symbol.dispose]();
  }
}

const collected = new FinalizationRegistry<Disposable>((hold) => hold[Symbol.dispose]());

/** By the index of the result; none of results that lie elsewhere. */
export type LargeResults = readonly (LargeResult | undefined)[];
