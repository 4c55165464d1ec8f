/** Memory of one run: what it computes in, its inputs and small results included, and its launches with their arguments. */
import { IngotError } from '../../base/errors.ts';
import { maxBytes, type TensorType } from '../../ir/types.ts';
import type { Spot } from './image.ts';
import type { Instance } from './instantiate.ts';
import type { CpuBuffer, CpuExecutable } from './resources.ts';
import type { LargeResults } from './results.ts';

export class Workplace implements Disposable {
  readonly instance: Instance;
  busy = false;
  /** Of the run that uses it. */
  results: LargeResults = [];
  readonly #executable: CpuExecutable;
  readonly #buffers: readonly (CpuBuffer | undefined)[];
  readonly #arena: CpuBuffer;
  /** To make a view costs more than to copy what most inputs hold. */
  readonly #views = new Map<Spot, { readonly whole: Uint8Array; latest: Uint8Array }>();

  /** `buffers`: weights and states by the index of their parameter. */
  constructor(
    executable: CpuExecutable,
    buffers: readonly (CpuBuffer | undefined)[],
    arena: CpuBuffer,
    instance: Instance,
  ) {
    this.#executable = executable;
    this.#buffers = buffers;
    this.#arena = arena;
    this.instance = instance;
  }

  /** The first bytes of an input or result of main. */
  bytes(spot: Spot, type: TensorType, length: number): Uint8Array {
    if (spot.base === 'result') {
      const own = this.results[spot.index];
      if (own === undefined) throw fault('a result without memory');
      return own.bytes(length);
    }
    let known = this.#views.get(spot);
    if (known === undefined || known.whole.length < length) {
      const whole = this.#view(spot, maxBytes(type));
      known = { whole, latest: whole };
      this.#views.set(spot, known);
    }
    // Most are as long as in the run before.
    if (known.latest.length !== length) known.latest = known.whole.subarray(0, length);
    return known.latest;
  }

  #view(spot: Exclude<Spot, { base: 'result' }>, length: number): Uint8Array {
    switch (spot.base) {
      case 'arena':
        return this.#arena.memory.bytes(spot.offset, length);
      case 'constants':
        return this.#executable.constants.bytes(spot.offset, length);
      case 'parameter': {
        const buffer = this.#buffers[spot.index];
        if (buffer === undefined) throw fault('a result is the memory of an input');
        return buffer.memory.bytes(spot.offset, length);
      }
      default:
        return spot satisfies never;
    }
  }

  [Symbol.dispose](): void {
    this.#views.clear();
    this.instance[Symbol.dispose]();
    this.#arena[Symbol.dispose]();
  }
}

function fault(message: string): IngotError {
  return new IngotError('InvalidArgument', message, { device: 'cpu' });
}
