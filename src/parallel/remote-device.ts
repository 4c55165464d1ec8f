/**
 * The device of a rank in another process, as a device here: what is asked of it crosses a connection to `rank-server.ts`.
 * A step is one message to it and one back. It fails as a whole: when the rank is lost, all that waits for it is told.
 */
import { receivedError } from '../base/error-message.ts';
import { IngotError, type StopSignal } from '../base/errors.ts';
import { compile } from '../compiler/compile.ts';
import type { Hardware } from '../compiler/cost.ts';
import type {
  Bound,
  Device,
  DeviceBuffer,
  Executable,
  MemoryKind,
  Profile,
  Ticket,
  WeightSource,
} from '../devices/device.ts';
import { printProgram } from '../ir/mlir/print.ts';
import type { Pass, Program } from '../ir/program.ts';
import { programText } from '../ir/program-text.ts';
import { type DimValues, maxBytes, type TensorType, tensor } from '../ir/types.ts';
import type { Fields, Frame } from './frames.ts';
import { watchPulse } from './pulse.ts';
import type { RankAddress } from './rank-group.ts';
import { dialRank, type RankLink } from './rank-link.ts';
import type { Question, RankSettings } from './rank-messages.ts';

export interface RemoteOptions {
  readonly epoch: number;
  readonly settings: RankSettings;
  /** Whether the results of its runs are looked at. */
  readonly results: boolean;
  /** Called once at most, also while nothing waits for the rank. */
  readonly onLost: (error: IngotError) => void;
}

export interface RemoteDevice extends Device {
  /** Of the rank's model. */
  readonly digest: string;
}

type Memory = ReturnType<Device['memory']>;

/** @throws IngotError 'RankLost' if it cannot be reached; what the rank says of the model and the device. */
export async function openRemoteDevice(rank: RankAddress, options: RemoteOptions): Promise<RemoteDevice> {
  const link = await dialRank(rank, rank.devicePort, { purpose: 'device', epoch: options.epoch });
  const calls = new Calls(link, rank.name, options.onLost);
  try {
    calls.watch(await watchPulse(rank, options.epoch, (error) => calls.lose(error)));
    const { fields } = await calls.ask({ kind: 'open', settings: options.settings });
    return new Remote(calls, fields as unknown as Opened, options.results);
  } catch (error) {
    calls.drop();
    throw error;
  }
}

interface Opened {
  readonly name: Device['name'];
  readonly hardware: Hardware;
  readonly runsAhead: 1 | 2;
  readonly readsFiles: boolean;
  readonly digest: string;
  readonly packed: readonly (readonly [string, number])[];
}

/** Something that the rank has. */
class Remains implements Disposable {
  readonly handle: number;
  readonly #calls: Calls;
  #gone = false;

  constructor(calls: Calls, handle: number) {
    this.#calls = calls;
    this.handle = handle;
  }

  [Symbol.dispose](): void {
    if (!this.#gone) this.#calls.tell({ kind: 'free', handle: this.handle });
    this.#gone = true;
  }
}

class RemoteBuffer extends Remains implements DeviceBuffer {
  readonly type: TensorType;
  readonly kind: MemoryKind;

  constructor(calls: Calls, handle: number, type: TensorType, kind: MemoryKind) {
    super(calls, handle);
    this.type = type;
    this.kind = kind;
  }

  get bytes(): number {
    return maxBytes(this.type);
  }
}

class RemoteExecutable extends Remains implements Executable {
  readonly program: Program;
  readonly scratchBytes: number;

  constructor(calls: Calls, handle: number, program: Program, scratchBytes: number) {
    super(calls, handle);
    this.program = program;
    this.scratchBytes = scratchBytes;
  }
}

class RemoteBound extends Remains implements Bound {
  readonly executable: Executable;

  constructor(calls: Calls, handle: number, executable: Executable) {
    super(calls, handle);
    this.executable = executable;
  }
}

function own<T extends Remains>(of: object, kind: abstract new (...given: never) => T): T {
  if (of instanceof kind) return of;
  throw new IngotError('InvalidArgument', 'what is given is of another device');
}

class Remote implements RemoteDevice {
  readonly name: Device['name'];
  readonly hardware: Hardware;
  readonly runsAhead: 1 | 2;
  readonly readsFiles: boolean;
  readonly digest: string;
  readonly #calls: Calls;
  readonly #packed: ReadonlyMap<string, number>;
  readonly #results: boolean;
  readonly #tickets = new Map<number, Promise<Frame>>();
  #runs = 0;
  #seconds = 0;

  constructor(calls: Calls, { name, hardware, runsAhead, readsFiles, digest, packed }: Opened, results: boolean) {
    this.#calls = calls;
    this.name = name;
    this.hardware = hardware;
    this.runsAhead = runsAhead;
    this.readsFiles = readsFiles;
    this.digest = digest;
    this.#packed = new Map(packed);
    this.#results = results;
  }

  /** The passes of `compile` run there. */
  async compile(program: Program, passes?: Pass): Promise<Executable> {
    const handle = this.#calls.newHandle();
    const there = passes === compile;
    const sent = passes === undefined || there ? program : passes(program);
    const text = programText(sent) ?? printProgram(sent);
    const { fields } = await this.#calls.ask({ kind: 'compile', handle, passes: there }, [
      new TextEncoder().encode(text),
    ]);
    return new RemoteExecutable(this.#calls, handle, program, Number(fields.scratchBytes));
  }

  packedBytes({ format, shape }: Pick<WeightSource, 'format' | 'shape'>): number {
    const known = this.#packed.get(`${format} ${shape.join('x')}`);
    if (known !== undefined) return known;
    throw new IngotError('InvalidArgument', `the rank's model has no weight of [${shape}] in ${format}`);
  }

  async pack({ name, parameter, ranges = [], shape }: WeightSource): Promise<DeviceBuffer> {
    if (parameter === undefined) throw new IngotError('InvalidArgument', `${name} is not of a model that the rank has`);
    const handle = this.#calls.newHandle();
    const taken = ranges.map((each) => each ?? null);
    await this.#calls.ask({ kind: 'pack', handle, parameter, ranges: taken });
    return new RemoteBuffer(this.#calls, handle, tensor('f32', shape), 'weights');
  }

  async allocate(type: TensorType, kind: MemoryKind): Promise<DeviceBuffer> {
    const handle = this.#calls.newHandle();
    await this.#calls.ask({ kind: 'allocate', handle, type, memory: kind });
    return new RemoteBuffer(this.#calls, handle, type, kind);
  }

  async bind(
    executable: Executable,
    weights: ReadonlyMap<string, DeviceBuffer>,
    state: ReadonlyMap<string, DeviceBuffer>,
  ): Promise<Bound> {
    const handle = this.#calls.newHandle();
    const handles = (buffers: ReadonlyMap<string, DeviceBuffer>) =>
      [...buffers].map(([name, buffer]) => [name, own(buffer, RemoteBuffer).handle] as const);
    await this.#calls.ask({
      ...{ kind: 'bind', handle, executable: own(executable, RemoteExecutable).handle },
      ...{ weights: handles(weights), state: handles(state) },
    });
    return new RemoteBound(this.#calls, handle, executable);
  }

  submit(bound: Bound, inputs: ReadonlyMap<string, ArrayBufferView>, dims: DimValues): Ticket {
    const question: Question = {
      kind: 'submit',
      bound: own(bound, RemoteBound).handle,
      ...{ inputs: [...inputs.keys()], dims, results: this.#results },
    };
    const id = this.#calls.newHandle();
    const begin = performance.now();
    // The socket may have them still when the caller fills in the next step.
    const values = [...inputs.values()].map((view) => bytesOf(view).slice());
    const run = this.#calls.ask(question, values).then((frame) => {
      this.#runs++;
      this.#seconds += (performance.now() - begin) / 1000;
      return frame;
    });
    // Whoever waits is told.
    run.catch(() => {});
    this.#tickets.set(id, run);
    return { id };
  }

  /** A run is not left: it ends first. */
  async wait({ id }: Ticket, deadline: number, signal?: StopSignal): Promise<ReadonlyMap<string, ArrayBufferView>> {
    const run = this.#tickets.get(id);
    if (run === undefined) throw new IngotError('InvalidArgument', `ticket ${id} is not pending`);
    this.#tickets.delete(id);
    const { fields, parts } = await run;
    if (signal?.aborted) throw new IngotError('Aborted', 'the run was cancelled', { cause: signal.reason });
    if (performance.now() > deadline) throw new IngotError('DeadlineExceeded', 'the deadline passed during a run');
    const names = fields.names as readonly string[];
    return new Map(names.map((name, i) => [name, parts[i]]));
  }

  write(buffer: DeviceBuffer, bytes: ArrayBufferView, offset = 0): void {
    this.#calls.tell({ kind: 'write', buffer: own(buffer, RemoteBuffer).handle, offset }, [bytesOf(bytes)]);
  }

  async read(buffer: DeviceBuffer, offset = 0, length = buffer.bytes - offset): Promise<Uint8Array> {
    const { parts } = await this.#calls.ask({ kind: 'read', buffer: own(buffer, RemoteBuffer).handle, offset, length });
    return parts[0];
  }

  memory(): Memory {
    return this.#calls.memory;
  }

  /** Kernels are measured where they run, and nobody asks there. */
  profile(): Profile {
    const profile = { runs: this.#runs, seconds: this.#seconds, kernels: [] };
    this.#runs = 0;
    this.#seconds = 0;
    return profile;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#calls.close();
  }
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** How long a rank may take to give back what it has. */
const closingMilliseconds = 5000;
const nothing = { now: 0, peak: 0 };

/** Questions on their way to one rank. */
class Calls {
  readonly #link: RankLink;
  readonly #name: string;
  readonly #onLost: (error: IngotError) => void;
  readonly #pending = new Map<number, { resolve(frame: Frame): void; reject(error: Error): void }>();
  #pulse: Disposable | undefined;
  #next = 1;
  /** Why nothing can be asked any more. */
  #over: Error | undefined;
  memory: Memory = { weights: nothing, state: nothing, scratch: nothing };

  constructor(link: RankLink, name: string, onLost: (error: IngotError) => void) {
    this.#link = link;
    this.#name = name;
    this.#onLost = onLost;
    link.listen(
      (frame) => this.#take(frame),
      (cause) => this.lose(new IngotError('RankLost', `${this.#name} is gone`, { cause })),
    );
  }

  watch(pulse: Disposable): void {
    if (this.#over === undefined) this.#pulse = pulse;
    else pulse[Symbol.dispose]();
  }

  newHandle(): number {
    return this.#next++;
  }

  ask(question: Question, parts?: readonly Uint8Array[]): Promise<Frame> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) {
        reject(this.#over);
        return;
      }
      this.#pending.set(this.#send(question, parts), { resolve, reject });
    });
  }

  /** What is answered only if it fails; then the rank is not what it should be any more. */
  tell(question: Question, parts?: readonly Uint8Array[]): void {
    if (this.#over === undefined) this.#send(question, parts);
  }

  #send(question: Question, parts: readonly Uint8Array[] | undefined): number {
    const id = this.#next++;
    this.#link.send({ ...question, id }, parts);
    return id;
  }

  #take(frame: Frame): void {
    const { id, kind, error, memory } = frame.fields as Fields & {
      readonly error: Parameters<typeof receivedError>[0];
    };
    if (memory !== undefined) this.memory = memory as Memory;
    const pending = this.#pending.get(Number(id));
    this.#pending.delete(Number(id));
    if (kind !== 'failed') pending?.resolve(frame);
    else if (pending !== undefined) pending.reject(receivedError(error));
    else this.lose(new IngotError('RankLost', `${this.#name} cannot go on: ${error.message}`));
  }

  /** Once. */
  lose(error: IngotError): void {
    if (this.#over !== undefined) return;
    this.#end(error);
    this.#onLost(error);
  }

  #end(why: Error): void {
    this.#over ??= why;
    this.#pulse?.[Symbol.dispose]();
    this.#link.drop();
    for (const { reject } of this.#pending.values()) reject(this.#over);
    this.#pending.clear();
  }

  drop(): void {
    this.#end(new IngotError('InvalidArgument', 'the device was disposed'));
  }

  async close(): Promise<void> {
    if (this.#over !== undefined) return;
    const timer = setTimeout(() => this.#end(new IngotError('RankLost', 'closing')), closingMilliseconds);
    await this.ask({ kind: 'close' }).catch(() => {});
    clearTimeout(timer);
    this.drop();
  }
}
