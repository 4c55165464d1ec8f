/**
 * What the CPU device asks of an operating system: memory, machine code, threads, and what the process may use. All calls
 * into system libraries are behind this interface (linux.ts, darwin.ts, windows.ts).
 *
 * Addresses are plain numbers: every user address of the supported systems is below 2^53.
 *
 * Machine code follows one calling convention on every system, that of the System V ABI for AMD64: integers in rdi, rsi,
 * rdx, rcx, r8, r9, result in rax or xmm0; rbx, rbp and r12 to r15 are kept. Where the system has another one, its file
 * puts a bridge before the code. On arm64 that is AAPCS64, as translated code has it (arm64/context.ts).
 */

/** `i64` within 2^53 of zero. */
export type NativeType = 'void' | 'i32' | 'u32' | 'i64' | 'address' | 'f32' | 'f64';

export interface Signature {
  readonly takes: readonly Exclude<NativeType, 'void'>[];
  readonly returns: NativeType;
}

export type NativeFunction = (...values: number[]) => number;

/**
 * Memory outside of JavaScript, zeroed when mapped. Disposing it gives the pages back at once. Views that JavaScript still
 * holds then read zeros (the addresses go when the last view is collected), so a forgotten view cannot end the process.
 * Native code has no such protection: who runs code on memory holds it meanwhile.
 */
export interface Memory extends Disposable {
  readonly address: number;
  readonly length: number;
  /** Whoever writes to it ends the process. */
  readonly isReadOnly?: boolean;
  /** A new view. Views are limited to 4 GiB by Node 20. @throws IngotError 'InvalidArgument' out of bounds or after disposal. */
  bytes(offset?: number, length?: number): Uint8Array;
  /** Keeps the memory, even if its owner disposes it, until the hold is disposed. */
  hold(): Disposable;
}

/** Machine code: read and execute, never writable since it became executable. */
export interface MappedCode extends Disposable {
  readonly address: number;
  readonly length: number;
  /** The function at `offset`. What it returns throws IngotError 'InvalidArgument' when called after disposal. */
  callable(offset: number, signature: Signature): NativeFunction;
  /** Keeps the code, even if its owner disposes it, until the hold is disposed. */
  hold(): Disposable;
}

export interface MemoryOptions {
  /** Ask for pages of 2 MiB. A wish: the system may refuse silently. */
  readonly huge?: boolean;
  /** Take physical pages now rather than at first use. */
  readonly prefault?: boolean;
  /** A power of two up to the page size; 64 when absent. */
  readonly alignment?: number;
  /** Inaccessible pages around the memory, which ends as close to the second as its alignment allows. */
  readonly guarded?: boolean;
}

/** A native thread. It runs machine code only, and never touches JavaScript. */
export interface Thread {
  /** Blocks until the thread's function has returned. Once only. */
  join(): void;
}

export interface Limits {
  /** Numbers of the cores that this process may run on. */
  readonly cores: readonly number[];
  /** Share of processor time that a control group allows, in cores; may be a fraction. */
  readonly quota?: number;
  /** Memory that a control group allows, and what of it is taken, in bytes. */
  readonly memory?: { readonly limit: number; readonly used: number };
  /** Nodes that memory is divided into, each near some of the cores; where that is known. */
  readonly nodes?: number;
  /** Whether the system grants pages of 2 MiB to memory that asks for them. */
  readonly hugePages: boolean;
}

/** What the AMX unit's tile registers hold. */
export interface TileUnit {
  readonly tiles: number;
  readonly rows: number;
  readonly bytesPerRow: number;
}

export interface CpuFeatures {
  readonly model: string;
  /** Names as in Linux' /proc/cpuinfo; only what processor and operating system both support. */
  readonly names: ReadonlySet<string>;
  /** What the processor has and the operating system keeps no registers for. */
  readonly withheld: readonly string[];
  readonly tiles?: TileUnit;
}

/** Waiting for a 32-bit word of memory to change, as machine code for machine code. */
export interface Futex {
  /**
   * Address of `void wait(address, u32 expected, u32 microseconds)`: sleeps while the word is `expected`; may return early
   * for no reason.
   */
  readonly wait: number;
  /** Address of `void wake(address)`: all sleepers. */
  readonly wake: number;
}

export type Architecture = 'x64' | 'arm64';

export interface OperatingSystem {
  readonly name: 'linux' | 'darwin' | 'windows';
  readonly architecture: Architecture;
  readonly pageBytes: number;
  /** @throws IngotError 'OutOfMemory', 'InvalidArgument' for a size or alignment that cannot be. */
  mapMemory(bytes: number, options?: MemoryOptions): Memory;
  /** @throws IngotError 'OutOfMemory', 'DeviceLost' where the system forbids machine code made at run time. */
  mapCode(bytes: Uint8Array): MappedCode;
  /**
   * Runs `void entry(argument)` on a new thread with a stack of 8 MiB, on some cores only if they are given (a wish: not
   * every system can). Memory and code of the thread must outlive it. @throws IngotError 'OutOfMemory' where the system gives no more threads.
   */
  startThread(entry: number, argument: number, cores?: readonly number[]): Thread;
  readonly futex: Futex;
  /** Address of `void yield()`: lets another thread have the core, if one wants it. */
  readonly yield: number;
  /**
   * Address of `i64 read(descriptor, address, bytes, offset)`: reads of a file from an offset; bytes that were read, 0 behind the
   * end, or the system's error number below zero. Absent where machine code has none.
   */
  readonly read?: number;
  /**
   * The first bytes of an open file as memory to read, which all processes have in common. A file that shrinks meanwhile, or a disk that fails,
   * ends the process. Absent where files are not mapped. @throws IngotError 'OutOfMemory'.
   */
  mapFile?(descriptor: number, bytes: number): Memory;
  /** A word of 64 bits at an address of native memory. */
  load(address: number): number;
  /** The same for JavaScript; blocks the calling thread. `microseconds` up to 2^32 - 1. */
  wait(address: number, expected: number, microseconds: number): void;
  wake(address: number): void;
  /** Keeps memory from being swapped out. @throws IngotError 'OutOfMemory' where the user's limit is lower. */
  lock(memory: Memory): void;
  /** What another JavaScript thread has left behind (estate.ts); absent where that is not written down. */
  readonly orphans?: {
    /** Whether a native thread has ended, which then is forgotten. */
    ended(handle: number): boolean;
    unmap(address: number, length: number): void;
  };
  /** Memory that no JavaScript thread owns, zeroed, in huge pages where there are any; absent where threads cannot have any in common. */
  readonly shared?: {
    /** @throws IngotError 'OutOfMemory'. */
    map(length: number): number;
    view(address: number, length: number): ArrayBuffer;
    unmap(address: number, length: number): void;
  };
  /** Asks for the AMX tile registers, for this process and its later threads. False where there are none to get. */
  requestTiles(): boolean;
  cpuFeatures(): CpuFeatures;
  limits(): Limits;
}

/** Threads that can run at the same time: the cores of the process, less what its quota does not cover. At least one. */
export function usableThreads(limits: Pick<Limits, 'cores' | 'quota'>): number {
  return Math.max(1, Math.min(limits.cores.length, Math.floor(limits.quota ?? Number.POSITIVE_INFINITY)));
}
