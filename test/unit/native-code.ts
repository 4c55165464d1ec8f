/** Runs assembled kernels in tests: executable memory, and buffers whose end touches a page that nobody may access. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Kernel } from '../../src/devices/cpu/kernels/kernel.ts';

/** Why machine code for AVX2 cannot run here, or false. */
export const cannotRun: string | false = whyNot();

function whyNot(): string | false {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'machine code is tested on Linux x64';
  const flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' ') ?? [];
  if (!flags.includes('avx2') || !flags.includes('f16c')) return 'this processor has no AVX2 and F16C';
  try {
    createRequire(import.meta.url)('koffi');
    return false;
  } catch {
    return 'koffi is not installed';
  }
}

const page = 4096;
const [NONE, READ_WRITE, READ_EXECUTE] = [0, 3, 5];

function libc() {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const library = koffi.load(null);
  const map = library.func('mmap', 'int64', ['int64', 'int64', 'int32', 'int32', 'int32', 'int64']);
  const protect = library.func('mprotect', 'int32', ['int64', 'int64', 'int32']);
  const unmap = library.func('munmap', 'int32', ['int64', 'int64']);
  return {
    map: (length: number): number => Number(map(0, length, READ_WRITE, 0x22, -1, 0)),
    protect: (address: number, length: number, access: number): void => void protect(address, length, access),
    unmap: (address: number, length: number): void => void unmap(address, length),
    view: (address: number, length: number): ArrayBuffer => koffi.view(BigInt(address), length),
    callable: (address: number): ((args: Uint8Array, index: number, count: number) => void) =>
      koffi.decode(BigInt(address), koffi.proto('void', ['void *', 'uint64', 'uint64'])),
  };
}
let system: ReturnType<typeof libc> | undefined;
const os = () => {
  system ??= libc();
  return system;
};

const pages = (bytes: number) => Math.ceil(Math.max(1, bytes) / page) * page;

/** Memory that ends at an inaccessible page (as its alignment of 4 allows), begins after canaries, filled with 0xCB. */
export class Guarded {
  readonly #base: number;
  readonly #length: number;
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly #before: Uint8Array;

  constructor(length: number) {
    this.#length = pages(length + 64);
    this.#base = os().map(this.#length + page);
    os().protect(this.#base + this.#length, page, NONE);
    this.address = this.#base + this.#length - Math.ceil(length / 4) * 4;
    const whole = new Uint8Array(os().view(this.#base, this.#length)).fill(0xcb);
    this.bytes = whole.subarray(this.address - this.#base, this.address - this.#base + length);
    this.#before = whole.subarray(0, this.address - this.#base);
  }

  static of(data: ArrayBufferView): Guarded {
    const guarded = new Guarded(data.byteLength);
    guarded.bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return guarded;
  }

  /** A copy, so that nothing refers to the memory after it is freed. */
  floats(): Float32Array {
    return new Float32Array(this.bytes.slice().buffer);
  }

  isIntactBefore(): boolean {
    return this.#before.every((byte) => byte === 0xcb);
  }

  [Symbol.dispose](): void {
    os().protect(this.#base, this.#length + page, NONE);
  }
}

export type Call = (args: readonly number[], index: number, count: number) => void;

/** A kernel as a function. Its code stays mapped: tests are short. */
export function load(kernel: Kernel): Call {
  const { bytes } = kernel.code;
  const address = os().map(pages(bytes.length));
  new Uint8Array(os().view(address, bytes.length)).set(bytes);
  os().protect(address, pages(bytes.length), READ_EXECUTE);
  const call = os().callable(address);
  return (args, index, count) => {
    if (args.length !== kernel.args.length) throw new Error(`${kernel.name} takes ${kernel.args.join(', ')}`);
    call(new Uint8Array(BigUint64Array.from(args, BigInt).buffer), index, count);
  };
}
