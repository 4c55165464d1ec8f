/**
 * The device contract: everything above it sees only this. All data that crosses it is in memory layout (little
 * endian, whole bytes for i1 and sub-byte types), as views of any kind.
 */
import type { ByteSource } from '../base/bytes.ts';
import type { StopSignal } from '../base/errors.ts';
import type { Cost, Hardware } from '../compiler/cost.ts';
import type { Pass, Program } from '../ir/program.ts';
import type { DimValues, TensorType } from '../ir/types.ts';

export type MemoryKind = 'weights' | 'state' | 'scratch';

/** Memory of a device. Freed by `using`, and only after the last ticket that reads or writes it. */
export interface DeviceBuffer extends Disposable {
  readonly type: TensorType;
  readonly kind: MemoryKind;
  readonly bytes: number;
}

/** A compiled program. Immutable; shared by any number of bindings. Holds no weights. */
export interface Executable extends Disposable {
  readonly program: Program;
  /** Bytes that one run needs besides weights and state, at the bounds of the symbolic dimensions. */
  readonly scratchBytes: number;
}

/** An executable with its weights and state. Several may share weights and state (prefill, decode, scoring). */
export interface Bound extends Disposable {
  readonly executable: Executable;
}

/** One submitted run. Runs of one device finish in the order of submission. */
export interface Ticket {
  readonly id: number;
}

/** One process's end of a group of them: rank `rank` of `size`. What it sends to one peer on one channel arrives in order. */
export interface Communicator {
  readonly rank: number;
  readonly size: number;
  /** Raised whenever a group is made anew: what was sent in an older epoch is never received. */
  readonly epoch: number;
  readonly transport: HostTransport | NativeTransport;
}

/** For devices whose runs are left at collectives. `peer` undefined: whoever is at the other end of the channel. */
export interface HostTransport {
  readonly kind: 'host';
  /** The bytes are free to reuse on return. @throws IngotError 'RankLost'. */
  send(peer: number | undefined, channel: number, bytes: Uint8Array): void;
  /** `deadline` in milliseconds of `performance.now()`. @throws IngotError 'RankLost', 'DeadlineExceeded'. */
  receive(peer: number | undefined, channel: number, deadline: number): Promise<Uint8Array>;
}

/**
 * For devices whose runs meet others in native code: addresses of functions in the System V calling convention, called by one
 * thread at a time. A request is 64 bytes of the caller's. One message at a time is under way from one rank to another on
 * one channel; `peer` -1: whoever is at the other end of the channel. What a function returns below 0 means that the
 * peer is lost.
 */
export interface NativeTransport {
  readonly kind: 'native';
  /** What the functions get first. */
  readonly context: number;
  /** `i32 isend(context, i64 peer, i64 channel, address, i64 bytes, request)`: 0, or not posted. */
  readonly isend: number;
  /** `i32 irecv(context, i64 peer, i64 channel, address, i64 bytes, request)`: 0, or not posted. */
  readonly irecv: number;
  /** `i32 test(context, request)`: 1 when the message is through and its memory free, 0 before. */
  readonly test: number;
  /** `void cancel(context, request)`: takes back what is not through; its memory is free on return. */
  readonly cancel: number;
  /** A word of 64 bits, not 0 when a peer is lost: its rank plus 2. Whoever finds out writes it. */
  readonly lost: number;
  /** A word of 64 bits, not 0 while nobody asks whether this rank is alive: it polls for two seconds at most then. */
  readonly alone: number;
  /** There are more ranks than cores: who waits lets another have the core at once. */
  readonly crowded?: boolean;
  /** How long a rank polls for a peer before it gives it up. */
  readonly patienceMilliseconds: number;
}

/** A weight that has not been read: `bytes` are its blocks in `format`, rows outermost. */
export interface WeightSource {
  readonly name: string;
  readonly format: string;
  readonly shape: readonly number[];
  readonly bytes: ByteSource;
  /** For devices elsewhere, which read it themselves: the model's name for it, and what it takes of each dimension of that. */
  readonly parameter?: string;
  readonly ranges?: readonly (readonly { readonly start: number; readonly limit: number }[] | undefined)[];
}

/** Packed weights in files, each at a multiple of 64 bytes: what another start has instead of packing them. */
export interface WeightFiles {
  /** What is mapped of a file is a multiple of so many bytes. */
  readonly unit: number;
  /** Bytes that `pack` makes of a weight. */
  bytesOf(weight: Pick<WeightSource, 'format' | 'shape'>): number;
  /** What a buffer of `pack` holds; views of it, until it is disposed. */
  contents(buffer: DeviceBuffer): Iterable<Uint8Array>;
  /** The first bytes of an open file, which has as many at least and never changes. */
  map(descriptor: number, bytes: number): MappedFile;
}

/** Disposed, it stays as long as weights in it. */
export interface MappedFile extends Disposable {
  /** Of all bytes: two that differ have different ones. @throws IngotError 'Aborted'. */
  digest(signal?: AbortSignal): Promise<string>;
  /** What `pack` made of this weight lies at `offset`. */
  weight(weight: Pick<WeightSource, 'format' | 'shape'>, offset: number): DeviceBuffer;
}

/** What one kernel (the reference device: one kind of op) cost. */
export interface KernelProfile {
  readonly kernel: string;
  readonly how: 'machine code' | 'interpreted';
  readonly calls: number;
  /** From its start until all threads were done with it. */
  readonly seconds: number;
  /** Seconds in it, of each thread. */
  readonly threadSeconds: readonly number[];
  /** Seconds in which the threads waited for each other at its end, their mean: the rest of `seconds`. */
  readonly barrierSeconds: number;
  /** Of all calls together; where it is known. */
  readonly cost?: Cost;
  /** Of an exchange with other ranks: bytes that went to them, in all calls together. */
  readonly sentBytes?: number;
}

/** What happened when; times in milliseconds of `performance.now()`. */
export interface Timeline {
  /** From submission, or the end of the run before it, to the end. */
  readonly runs: readonly { readonly start: number; readonly end: number }[];
  readonly kernels: readonly KernelSpan[];
}

/** One thread in one launch of a kernel. Of a kernel that a loop of the program repeats, its last turn, as long as turns are in the mean. */
export interface KernelSpan {
  readonly kernel: string;
  readonly thread: number;
  readonly start: number;
  readonly seconds: number;
  /** At the barrier behind it. */
  readonly waited: number;
}

export interface Profile {
  /** Runs that were waited for, and their seconds from submission to end: also what waking threads takes. */
  readonly runs: number;
  readonly seconds: number;
  readonly kernels: readonly KernelProfile[];
  /** What native threads were given to do, each from its submission to its end without JavaScript: one a run. Of a device that has such threads. */
  readonly submissions?: number;
  /** Of a device that was opened to keep it. */
  readonly timeline?: Timeline;
}

/** What compiles and runs programs, and the memory that it does so in. */
export interface Device extends AsyncDisposable {
  readonly name: 'reference' | 'null' | 'cpu' | 'webgpu';
  readonly hardware: Hardware;
  /**
   * Runs that it pays to have submitted at the same time: 2 where the next one can be prepared while one works, 1 where that
   * would take a processor from the one that works.
   */
  readonly runsAhead: 1 | 2;

  /** Weights that lie in files it reads by itself: then it pays to have all of them packed at once. */
  readonly readsFiles?: boolean;

  /** Absent where it maps no files. */
  readonly weightFiles?: WeightFiles | undefined;

  /**
   * `passes` are for the compiler to run first; a device that has kept what it made of the same program leaves them out.
   * @throws IngotError 'UnsupportedOp' naming op, element type and device, 'StateWouldCopy', before any memory is taken.
   */
  compile(program: Program, passes?: Pass): Promise<Executable>;

  /**
   * Reads a weight into the device's own layout: a pure function of device, format and shape, so that all executables
   * share one copy. @throws 'OutOfMemory', 'FileChanged', 'UnsupportedFile' for an unknown format.
   */
  pack(weight: WeightSource): Promise<DeviceBuffer>;

  /** Bytes that `pack` will take for a weight. */
  packedBytes(weight: Pick<WeightSource, 'format' | 'shape'>): number;

  /** Zero-filled. @throws 'OutOfMemory' with what was asked for and what is left; nothing stays allocated. */
  allocate(type: TensorType, kind: MemoryKind): Promise<DeviceBuffer>;

  /**
   * By parameter name, complete and of the right types. A program of several processes needs a communicator; what it names
   * as processes are the ranks of it. @throws 'InvalidArgument' naming what is missing or differs.
   */
  bind(
    executable: Executable,
    weights: ReadonlyMap<string, DeviceBuffer>,
    state: ReadonlyMap<string, DeviceBuffer>,
    communicator?: Communicator,
  ): Promise<Bound>;

  /**
   * Starts one run: takes over the values of `inputs` (their bytes are free to reuse on return) and `dims`, the symbolic
   * dimensions of this run. Returns before the work is done wherever the device works by itself; the reference device
   * does it inside `wait`. Never calls back into JavaScript. @throws 'InvalidArgument' for inputs that do not fit.
   */
  submit(bound: Bound, inputs: ReadonlyMap<string, ArrayBufferView>, dims: DimValues): Ticket;

  /**
   * The results of a run that are not aliased to state, by name, valid until the next `wait`: large ones may be the device's own
   * memory, to which later runs write. `deadline` in milliseconds of `performance.now()`. A raised `signal` ends it too, and
   * what was submitted after it may end with it: a run that has begun is left where the device can do that. A device that works
   * by itself lets events of JavaScript have their turn meanwhile. @throws 'Aborted', 'DeadlineExceeded', 'RankLost' (the device
   * stays usable), 'DeviceLost', 'DeviceFault' (a kernel went wrong: named).
   */
  wait(ticket: Ticket, deadline: number, signal?: StopSignal): Promise<ReadonlyMap<string, ArrayBufferView>>;

  /** Offsets and lengths in bytes. Ordered with runs: after those submitted before, before those submitted after. */
  write(buffer: DeviceBuffer, bytes: ArrayBufferView, offset?: number): void;
  /** A copy of what a buffer holds, in the same order with runs. */
  read(buffer: DeviceBuffer, offset?: number, length?: number): Promise<Uint8Array>;

  /** Bytes that this device holds, now and at peak, by kind. */
  memory(): Readonly<Record<MemoryKind, { readonly now: number; readonly peak: number }>>;
  /** Of the runs since the last call. A device that measures kernels only where it was told to may name none. */
  profile(): Profile;
}
