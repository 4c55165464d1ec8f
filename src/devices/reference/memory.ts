/** Memory of the reference device: host arrays of decoded elements, counted by kind. */
import { IngotError } from '../../base/errors.ts';
import { maxElements, type TensorType } from '../../ir/types.ts';
import { type HostArray, hostArray, numbersPerElement } from '../../numerics/host-array.ts';
import type { Device, DeviceBuffer, MemoryKind } from '../device.ts';

export class Memory {
  readonly #limit: number;
  readonly #kinds: Record<MemoryKind, { now: number; peak: number }> = {
    weights: { now: 0, peak: 0 },
    state: { now: 0, peak: 0 },
    scratch: { now: 0, peak: 0 },
  };

  constructor(limit: number) {
    this.#limit = limit;
  }

  get left(): number {
    const { weights, state, scratch } = this.#kinds;
    return this.#limit - weights.now - state.now - scratch.now;
  }

  /** @throws IngotError 'OutOfMemory'; nothing is taken then. */
  take<T>(kind: MemoryKind, bytes: number, what: string, make: () => T): T {
    if (bytes > this.left) throw outOfMemory(what, bytes, `${this.left} bytes are left`);
    let made: T;
    try {
      made = make();
    } catch (error) {
      throw isAllocationFailure(error) ? outOfMemory(what, bytes, 'the system has no such block', error) : error;
    }
    this.add(kind, bytes);
    return made;
  }

  add(kind: MemoryKind, bytes: number): void {
    const count = this.#kinds[kind];
    count.now += bytes;
    count.peak = Math.max(count.peak, count.now);
  }

  report(): ReturnType<Device['memory']> {
    const { weights, state, scratch } = this.#kinds;
    return { weights: { ...weights }, state: { ...state }, scratch: { ...scratch } };
  }
}

function outOfMemory(what: string, bytes: number, left: string, cause?: unknown): IngotError {
  return new IngotError('OutOfMemory', `${what} needs ${bytes} bytes; ${left}`, {
    device: 'reference',
    hint: 'use a smaller model, a shorter context, or a machine with more memory',
    cause,
  });
}

/** What engines throw when a typed array cannot be had. */
function isAllocationFailure(error: unknown): boolean {
  return error instanceof RangeError && /allocation|array length/i.test(error.message);
}

/** Host arrays of a typed array are made in one piece: its bytes. */
function hostBytes(type: TensorType): number {
  return maxElements(type) * hostArray(type.element, 0).BYTES_PER_ELEMENT * numbersPerElement(type.element);
}

export class ReferenceBuffer implements DeviceBuffer {
  readonly type: TensorType;
  readonly kind: MemoryKind;
  readonly bytes: number;
  readonly memory: Memory;
  #array: HostArray | undefined;
  #disposed = false;
  #users = 0;

  constructor(memory: Memory, type: TensorType, kind: MemoryKind, what: string) {
    this.type = type;
    this.kind = kind;
    this.bytes = hostBytes(type);
    this.memory = memory;
    this.#array = memory.take(kind, this.bytes, what, () => hostArray(type.element, maxElements(type)));
  }

  /** @throws IngotError 'InvalidArgument' after its end. */
  get array(): HostArray {
    if (this.#array === undefined) throw invalid('a buffer is used after it was freed');
    return this.#array;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** A pending run or write keeps the memory. */
  hold(): void {
    this.#users++;
  }

  release(): void {
    this.#users--;
    this.#freeIfUnused();
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#freeIfUnused();
  }

  #freeIfUnused(): void {
    if (!this.#disposed || this.#users > 0 || this.#array === undefined) return;
    this.#array = undefined;
    this.memory.add(this.kind, -this.bytes);
  }
}

export function invalid(message: string): IngotError {
  return new IngotError('InvalidArgument', message, { device: 'reference' });
}
