/**
 * What a JavaScript thread has outside of JavaScript, written where others see it: a thread that is ended from outside gives nothing back, and
 * whoever has started it can (orphans.ts). Pairs of numbers in shared memory: address and length of a mapping; handle of a native thread and,
 * below zero, the address of its argument; two zeros where nothing is. One thread writes, and nobody reads before that has ended.
 */

const pairBytes = 16;
/** More than an engine has; what does not fit stays behind. Pages that nothing is written to take no memory. */
const pairs = 2 ** 16;

export function createEstate(): SharedArrayBuffer {
  return new SharedArrayBuffer(pairs * pairBytes);
}

/** Whether there are native threads in it. */
export function hasThreads(estate: SharedArrayBuffer): boolean {
  return new Float64Array(estate).some((number, i) => i % 2 === 1 && number < 0);
}

export interface Possessions {
  readonly mappings: readonly { readonly address: number; readonly length: number }[];
  readonly threads: readonly { readonly handle: number; readonly argument: number }[];
}

export function possessions(estate: SharedArrayBuffer): Possessions {
  const numbers = new Float64Array(estate);
  const all = Array.from({ length: pairs }, (_, i) => [numbers[2 * i], numbers[2 * i + 1]] as const);
  return {
    mappings: all.flatMap(([address, length]) => (length > 0 ? [{ address, length }] : [])),
    threads: all.flatMap(([handle, argument]) => (argument < 0 ? [{ handle, argument: -argument }] : [])),
  };
}

class Register {
  readonly #numbers: Float64Array;
  readonly #places = new Map<number, number>();
  readonly #free: number[] = [];
  #used = 0;

  constructor(estate: SharedArrayBuffer) {
    this.#numbers = new Float64Array(estate);
  }

  add(key: number, value: number): void {
    const at = this.#free.pop() ?? this.#used++;
    if (at >= pairs) return;
    this.#places.set(key, at);
    this.#numbers.set([key, value], 2 * at);
  }

  remove(key: number): void {
    const at = this.#places.get(key);
    if (at === undefined) return;
    this.#places.delete(key);
    this.#free.push(at);
    this.#numbers.fill(0, 2 * at, 2 * at + 2);
  }
}

let register: Register | undefined;

/** From now on this thread writes down what it takes. */
export function keepEstate(estate: SharedArrayBuffer): void {
  register = new Register(estate);
}

export const taken = {
  mapping: (address: number, length: number) => register?.add(address, length),
  thread: (handle: number, argument: number) => register?.add(handle, -argument),
};

/** A mapping or a thread is gone. */
export function given(key: number): void {
  register?.remove(key);
}
