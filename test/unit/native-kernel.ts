/** Runs kernels on memory that ends at an inaccessible page. */
import assert from 'node:assert/strict';
import type { EmittedKernel } from '../../src/devices/cpu/emit/abi.ts';
import type { Memory } from '../../src/devices/cpu/os/os.ts';
import { system } from './cpu-emit-harness.ts';

const CANARY = 0xcb;

/** A buffer between canaries and a page that nobody may access. Filled with canaries, or a copy of `data`. */
export class Guarded {
  readonly #memory: Memory;
  readonly #offset: number;
  readonly length: number;

  constructor(length: number) {
    this.length = length;
    this.#offset = 64 + ((4 - (length % 4)) % 4);
    this.#memory = system().mapMemory(this.#offset + length, { guarded: true, alignment: 1 });
    this.#memory.bytes().fill(CANARY);
  }

  static of(data: ArrayBufferView): Guarded {
    const guarded = new Guarded(data.byteLength);
    guarded.bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return guarded;
  }

  get address(): number {
    return this.#memory.address + this.#offset;
  }

  get bytes(): Uint8Array {
    return this.#memory.bytes(this.#offset);
  }

  floats(): Float32Array {
    return new Float32Array(this.bytes.slice().buffer);
  }

  checkCanaries(): void {
    assert.ok(this.#memory.bytes(0, this.#offset).every((byte) => byte === CANARY));
  }

  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]();
  }
}

/** Calls a kernel once for each thread of a team, in the order of `indices`; `dims` by name, or what all of them are. */
export function runKernel(
  kernel: EmittedKernel,
  buffers: Readonly<Record<string, Guarded>>,
  dims: number | Readonly<Record<string, number>>,
  indices: readonly number[],
): void {
  const words = kernel.args.map((argument) => {
    if (argument.kind === 'buffer') return buffers[argument.name]?.address;
    return typeof dims === 'number' ? dims : dims[argument.sym];
  });
  using block = system().mapMemory(8 * words.length);
  new BigUint64Array(block.bytes().buffer).set(words.map((word) => BigInt(word ?? assert.fail('a buffer is missing'))));
  using code = system().mapCode(kernel.bytes);
  const call = code.callable(0, { takes: ['address', 'u32', 'u32'], returns: 'void' });
  for (const index of indices) call(block.address, index, indices.length);
  for (const buffer of Object.values(buffers)) buffer.checkCanaries();
}
