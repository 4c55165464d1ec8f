/** Runs kernels on memory that ends at an inaccessible page, on the processor or in the emulator (machine.ts). */
import assert from 'node:assert/strict';
import type { EmittedKernel } from '../../src/devices/cpu/emit/abi.ts';
import { packRowsKernel } from '../../src/devices/cpu/kernels/pack-rows.ts';
import { type PackedFormat, packedBytes } from '../../src/devices/cpu/kernels/packing.ts';
import { kernelCode } from '../../src/devices/cpu/machine-code.ts';
import { type Machine, machineOf, type Place } from './machine.ts';

const CANARY = 0xcb;

/** Where code for AVX2 runs. */
export function avx2Machine(): Machine {
  const machine = machineOf('avx2');
  return typeof machine === 'string' ? assert.fail(machine) : machine;
}

/** A buffer between canaries and a page that nobody may access. Filled with canaries, or a copy of `data`. */
export class Guarded {
  readonly machine: Machine;
  readonly place: Place;
  readonly #offset: number;
  readonly length: number;

  constructor(length: number, machine = avx2Machine()) {
    this.machine = machine;
    this.length = length;
    this.#offset = 64 + ((4 - (length % 4)) % 4);
    this.place = machine.map(this.#offset + length);
    this.place.bytes.fill(CANARY);
  }

  static of(data: ArrayBufferView, machine = avx2Machine()): Guarded {
    const guarded = new Guarded(data.byteLength, machine);
    guarded.bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return guarded;
  }

  get address(): number {
    return this.place.address + this.#offset;
  }

  get bytes(): Uint8Array {
    return this.place.bytes.subarray(this.#offset);
  }

  floats(): Float32Array {
    return new Float32Array(this.bytes.slice().buffer);
  }

  checkCanaries(): void {
    assert.ok(this.place.bytes.subarray(0, this.#offset).every((byte) => byte === CANARY));
  }

  [Symbol.dispose](): void {
    this.place[Symbol.dispose]();
  }
}

/**
 * Calls a kernel once for each thread of a team, in the order of `indices`, on the machine of its buffers; `dims` by name,
 * or what all of them are.
 */
export function runKernel(
  kernel: EmittedKernel,
  buffers: Readonly<Record<string, Guarded>>,
  dims: number | Readonly<Record<string, number>>,
  indices: readonly number[],
): void {
  const all = Object.values(buffers);
  const machine = all[0]?.machine ?? assert.fail('a kernel has buffers');
  const words = kernel.args.map((argument) => {
    if (argument.kind === 'buffer') return buffers[argument.name]?.address;
    return typeof dims === 'number' ? dims : dims[argument.sym];
  });
  callKernel(
    kernel,
    words.map((word) => word ?? assert.fail('a buffer is missing')),
    indices,
    machine,
    all.map(({ place }) => place),
  );
  for (const buffer of all) buffer.checkCanaries();
}

/** The same with the words of its arguments; `places`: what it may touch. */
export function callKernel(
  kernel: EmittedKernel,
  words: readonly number[],
  indices: readonly number[],
  machine: Machine,
  places: readonly Place[],
): void {
  // Behind the arguments: how much of the work is taken.
  using block = machine.map(8 * words.length + 8);
  new BigUint64Array(block.bytes.buffer, block.bytes.byteOffset).set([...words, 0].map(BigInt));
  const taken = block.address + 8 * words.length;
  const calls = indices.map((index) => [block.address, index, indices.length, taken] as const);
  machine.call(kernelCode(kernel, machine.target).bytes, calls, [block, ...places]);
}

/** A weight [N, K] in panels, of which lanes beyond N are zero. */
export function packed(
  format: PackedFormat,
  weight: Uint8Array,
  [N, K]: readonly [number, number],
  machine = avx2Machine(),
): Uint8Array {
  using source = Guarded.of(weight, machine);
  using panels = new Guarded(packedBytes(format, [N, K]), machine);
  panels.bytes.fill(0);
  runKernel(packRowsKernel(format, K), { source, panels }, N, [0, 1]);
  return panels.bytes.slice();
}
