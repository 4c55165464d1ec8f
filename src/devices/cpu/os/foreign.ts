/** Calls into system libraries and machine code, by koffi (https://koffi.dev), which is optional: it has no binary for every platform. */
import { createRequire } from 'node:module';
import type { NativeFunction, NativeType, Signature } from './os.ts';

type Koffi = typeof import('koffi');

/** `bytes`: memory of JavaScript that a library reads or writes during the call. */
type LibraryType = NativeType | 'bytes';

const koffiTypes: Record<LibraryType, string> = {
  void: 'void',
  i32: 'int32',
  u32: 'uint32',
  i64: 'int64',
  address: 'int64',
  f32: 'float',
  f64: 'double',
  bytes: 'void *',
};

export interface Library {
  function(
    name: string,
    takes: readonly LibraryType[],
    returns: NativeType,
  ): (...values: (number | Uint8Array)[]) => number;
  /** Address of a symbol. */
  address(name: string): number;
}

export interface Foreign {
  /** Null names the libraries that Node itself is linked to. */
  load(library: string | null): Library;
  /** Memory as JavaScript sees it. Reading it after it was unmapped ends the process. */
  view(address: number, length: number): ArrayBuffer;
  callable(address: number, signature: Signature): NativeFunction;
  /** Writes a word of 64 bits. */
  store(address: number, value: number): void;
  /** The C library's error number of this thread's last call. */
  errno(): number;
}

/** @throws Error where koffi or its binary for this platform is not installed. */
export function openForeign(): Foreign {
  const koffi = createRequire(import.meta.url)('koffi') as Koffi;
  const typesOf = (takes: readonly LibraryType[]) => takes.map((type) => koffiTypes[type]);
  return {
    load(library) {
      const handle = koffi.load(library);
      return {
        function: (name, takes, returns) => handle.func(name, koffiTypes[returns], typesOf(takes)),
        address: (name) => Number(koffi.address(handle.symbol(name))),
      };
    },
    view: (address, length) => koffi.view(BigInt(address), length),
    callable: (address, { takes, returns }) =>
      koffi.decode(BigInt(address), koffi.proto(koffiTypes[returns], typesOf(takes))),
    store: (address, value) => koffi.encode(BigInt(address), 'int64', value),
    errno: () => koffi.errno(),
  };
}
