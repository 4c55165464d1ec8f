/**
 * Memory for weights: one behind the other in regions of some pages of 2 MiB, so that the ends of matrices lie in such pages too.
 * In mappings of their own an eighth of a model lies in pages of 4 KiB, and a step of one token takes 4% longer (docs/kernels.md).
 */
import { IngotError } from '../../base/errors.ts';
import type { Memory, OperatingSystem } from './os/os.ts';

/** Addresses only: physical memory is taken where something is written. What is larger gets a mapping of its own. */
const regionBytes = 256 << 20;
const lineBytes = 64;

/** A mapping, until all that lies in it is disposed. */
export class Region {
  readonly memory: Memory;
  readonly #onFree: () => void;
  #parts = 0;

  constructor(memory: Memory, onFree: () => void = () => {}) {
    this.memory = memory;
    this.#onFree = onFree;
  }

  part(start: number, length: number): Memory {
    const { memory } = this;
    this.#parts++;
    let isFree = false;
    const check = () => {
      if (isFree) throw new IngotError('InvalidArgument', 'memory that is freed', { device: 'cpu' });
    };
    return {
      address: memory.address + start,
      length,
      ...(memory.isReadOnly && { isReadOnly: true }),
      bytes(offset = 0, count = length - offset) {
        check();
        if (!(offset >= 0 && count >= 0 && offset + count <= length)) {
          throw new IngotError('InvalidArgument', `bytes ${offset} to ${offset + count} of memory of ${length}`, {
            device: 'cpu',
          });
        }
        return memory.bytes(start + offset, count);
      },
      hold() {
        check();
        return memory.hold();
      },
      [Symbol.dispose]: () => {
        if (isFree) return;
        isFree = true;
        this.#parts--;
        if (this.#parts > 0) return;
        memory[Symbol.dispose]();
        this.#onFree();
      },
    };
  }
}

interface OpenRegion {
  readonly region: Region;
  used: number;
}

export class Regions {
  readonly #system: OperatingSystem;
  #open: OpenRegion | undefined;

  constructor(system: OperatingSystem) {
    this.#system = system;
  }

  /** Zeroed. @throws IngotError 'OutOfMemory'. */
  take(bytes: number): Memory {
    if (bytes > regionBytes / 2) return this.#system.mapMemory(bytes, { huge: true });
    let open = this.#open;
    if (open === undefined || open.used + bytes > regionBytes) open = this.#begin();
    const start = open.used;
    open.used += lineBytes * Math.ceil(bytes / lineBytes);
    return open.region.part(start, bytes);
  }

  #begin(): OpenRegion {
    const region = new Region(this.#system.mapMemory(regionBytes, { huge: true }), () => {
      if (this.#open?.region === region) this.#open = undefined;
    });
    this.#open = { region, used: 0 };
    return this.#open;
  }
}
