/** Memory and code as owned objects, over what a system can do with pages. Every mapping has one owner and is freed last. */
import { IngotError } from '../../../base/errors.ts';
import type { MappedCode, Memory, MemoryOptions, NativeFunction, Signature } from './os.ts';

export type PageAccess = 'none' | 'read-write' | 'read-execute';

/** What a system does with whole pages. */
export interface Pages {
  readonly pageBytes: number;
  /** Zeroed, read-write. @throws IngotError 'OutOfMemory'. */
  map(length: number): number;
  protect(address: number, length: number, access: PageAccess): void;
  /** Gives physical memory back and keeps the addresses, which then read as anything without a fault. */
  discard(address: number, length: number): void;
  unmap(address: number, length: number): void;
  /** Asks for huge pages. */
  adviseHuge(address: number, length: number): void;
  /** Takes physical memory now. */
  prefault(address: number, length: number): void;
  /** Makes new code visible to the processor, where it does not see that itself. */
  synchronize?: (address: number, length: number) => void;
  view(address: number, length: number): ArrayBuffer;
  callable(address: number, signature: Signature): NativeFunction;
}

const hugePageBytes = 2 ** 21;
const maximumBytes = 2 ** 46;

/** Pages that are unmapped when the owner, every hold and every view are gone. */
class Mapping {
  readonly #pages: Pages;
  readonly address: number;
  readonly length: number;
  #owned = true;
  #holds = 0;
  #views = 0;

  constructor(pages: Pages, length: number, map = pages.map) {
    this.#pages = pages;
    this.length = length;
    this.address = map(length);
    mapped.add(this);
  }

  get owned(): boolean {
    return this.#owned;
  }

  disown(): void {
    if (!this.#owned) return;
    this.#owned = false;
    this.#release();
  }

  hold(): Disposable {
    this.#holds++;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#holds--;
        this.#release();
      },
    };
  }

  view(address: number, length: number): ArrayBuffer {
    const buffer = this.#pages.view(address, length);
    this.#views++;
    collectedViews.register(buffer, this);
    return buffer;
  }

  viewCollected(): void {
    this.#views--;
    if (this.#views === 0) this.#release();
  }

  #release(): void {
    if (this.#owned || this.#holds > 0 || !mapped.has(this)) return;
    if (this.#views === 0) this.unmap();
    else this.#pages.discard(this.address, this.length);
  }

  unmap(): void {
    if (mapped.delete(this)) this.#pages.unmap(this.address, this.length);
  }
}

/** Of this thread. */
const mapped = new Set<Mapping>();

/**
 * Unmaps what is left: what only views keep, and what lives as long as its thread. For a thread that ends: it collects nothing any
 * more, and must not look at a view or call machine code again.
 */
export function unmapAll(): void {
  for (const mapping of [...mapped]) mapping.unmap();
}

const collectedViews = new FinalizationRegistry<Mapping>((mapping) => mapping.viewCollected());

const roundUp = (value: number, unit: number) => Math.ceil(value / unit) * unit;

function invalid(message: string): IngotError {
  return new IngotError('InvalidArgument', message, { device: 'cpu' });
}

function checkSize(what: string, bytes: number): void {
  if (!Number.isSafeInteger(bytes) || bytes < 1 || bytes > maximumBytes) throw invalid(`${what} of ${bytes} bytes`);
}

export function mapMemory(pages: Pages, bytes: number, options: MemoryOptions = {}): Memory {
  const { pageBytes } = pages;
  const { huge = false, prefault = false, guarded = false, alignment = 64 } = options;
  checkSize('memory', bytes);
  if (!Number.isInteger(Math.log2(alignment)) || alignment < 1 || alignment > pageBytes) {
    throw invalid(`memory aligned to ${alignment} bytes; powers of two up to ${pageBytes} are possible`);
  }
  // Slack to begin at a huge page costs addresses only: pages that are never touched are never there.
  const inner = roundUp(bytes, pageBytes) + (huge ? hugePageBytes : 0);
  const guard = guarded ? pageBytes : 0;
  const mapping = new Mapping(pages, inner + 2 * guard);
  let address = mapping.address + guard;
  try {
    if (guarded) {
      const end = address + inner;
      pages.protect(mapping.address, guard, 'none');
      pages.protect(end, guard, 'none');
      address = Math.floor((end - bytes) / alignment) * alignment;
    } else if (huge) {
      address = roundUp(address, hugePageBytes);
    }
    const first = Math.floor(address / pageBytes) * pageBytes;
    const length = roundUp(address + bytes - first, pageBytes);
    if (huge) pages.adviseHuge(first, length);
    if (prefault) pages.prefault(first, length);
  } catch (error) {
    mapping.disown();
    throw error;
  }
  return memoryOf(mapping, address, bytes);
}

/** `map`: as of `Pages`. */
export function mapFile(pages: Pages, map: Pages['map'], bytes: number): Memory {
  checkSize('a file', bytes);
  const mapping = new Mapping(pages, roundUp(bytes, pages.pageBytes), map);
  return { ...memoryOf(mapping, mapping.address, bytes), isReadOnly: true };
}

function memoryOf(mapping: Mapping, address: number, bytes: number): Memory {
  return {
    address,
    length: bytes,
    bytes(offset = 0, length = bytes - offset) {
      if (!mapping.owned) throw invalid('a view of memory that is freed');
      if (
        !(
          Number.isInteger(offset) &&
          Number.isInteger(length) &&
          offset >= 0 &&
          length >= 0 &&
          offset + length <= bytes
        )
      ) {
        throw invalid(`bytes ${offset} to ${offset + length} of memory of ${bytes}`);
      }
      return length === 0 ? new Uint8Array(0) : new Uint8Array(mapping.view(address + offset, length));
    },
    hold() {
      if (!mapping.owned) throw invalid('a hold of memory that is freed');
      return mapping.hold();
    },
    [Symbol.dispose]: () => mapping.disown(),
  };
}

export function mapCode(pages: Pages, bytes: Uint8Array): MappedCode {
  checkSize('code', bytes.length);
  const mapping = new Mapping(pages, roundUp(bytes.length, pages.pageBytes));
  try {
    // Not counted as a view: nobody sees it after this line.
    new Uint8Array(pages.view(mapping.address, bytes.length)).set(bytes);
    pages.protect(mapping.address, mapping.length, 'read-execute');
    pages.synchronize?.(mapping.address, bytes.length);
  } catch (error) {
    mapping.disown();
    throw error;
  }
  return {
    address: mapping.address,
    length: bytes.length,
    callable(offset, signature) {
      if (!mapping.owned) throw invalid('a function of code that is freed');
      if (!Number.isInteger(offset) || offset < 0 || offset >= bytes.length) {
        throw invalid(`a function at ${offset} in code of ${bytes.length} bytes`);
      }
      const call = pages.callable(mapping.address + offset, signature);
      return (...values) => {
        if (!mapping.owned) throw invalid('a call of code that is freed');
        return call(...values);
      };
    },
    hold() {
      if (!mapping.owned) throw invalid('a hold of code that is freed');
      return mapping.hold();
    },
    [Symbol.dispose]: () => mapping.disown(),
  };
}
