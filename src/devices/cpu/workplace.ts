/** Memory of one run: what it computes in, its inputs and results included, and its launches with their arguments. */
import { IngotError } from '../../base/errors.ts';
import type { Memory as Place } from '../../compiler/kernel/plan.ts';
import { maxBytes, type TensorType } from '../../ir/types.ts';
import type { Instance } from './instantiate.ts';
import type { CpuBuffer, CpuExecutable } from './resources.ts';

export class Workplace implements Disposable {
  readonly instance: Instance;
  busy = false;
  readonly #executable: CpuExecutable;
  readonly #buffers: readonly (CpuBuffer | undefined)[];
  readonly #arena: CpuBuffer;
  /** To make a view costs more than to copy what most inputs hold. */
  readonly #views = new Map<Place, Uint8Array>();

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
  bytes(place: Place, type: TensorType, length: number): Uint8Array {
    const known = this.#views.get(place);
    if (known !== undefined && known.length >= length) return known.subarray(0, length);
    const view = this.#view(place, maxBytes(type));
    this.#views.set(place, view);
    return view.subarray(0, length);
  }

  #view(place: Place, length: number): Uint8Array {
    switch (place.kind) {
      case 'frame':
        return this.#arena.memory.bytes(place.offset, length);
      case 'parameter': {
        const buffer = this.#buffers[place.index];
        if (buffer === undefined) throw fault('a result is the memory of an input');
        return buffer.memory.bytes(place.offset, length);
      }
      case 'constant': {
        const { code } = this.#executable;
        return code.constants.bytes(code.constant(place.literal) - code.constants.address, length);
      }
      case 'result':
      case 'scratch':
        throw fault('a result of the program has no memory');
      default:
        return place satisfies never;
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
