/**
 * The reference device: an interpreter in plain TypeScript, complete and slow, the truth that every other device is
 * tested against. Memory is host arrays of decoded elements; runs happen inside `wait`, in the order of submission.
 */
import { IngotError, type StopSignal } from '../../base/errors.ts';
import { planState } from '../../compiler/state.ts';
import type { OpName } from '../../ir/attributes.ts';
import { checkMember, gridOf, meetingsOf } from '../../ir/process-groups.ts';
import type { Parameter, Pass, Program } from '../../ir/program.ts';
import {
  type DimValues,
  formatType,
  maxElements,
  resolveShape,
  sameType,
  type TensorType,
  tensor,
} from '../../ir/types.ts';
import { elementBytes } from '../../numerics/element-types.ts';
import { decodeElements, encodeElements, type HostArray, numbersPerElement } from '../../numerics/host-array.ts';
import { blockFormat } from '../../numerics/quant/formats.ts';
import type {
  Bound,
  Communicator,
  Device,
  DeviceBuffer,
  Executable,
  KernelProfile,
  MemoryKind,
  Profile,
  Ticket,
  WeightSource,
} from '../device.ts';
import type { Exchange, Process, Suspended } from './collectives.ts';
import { ReferenceExecutable, readConstants } from './executable.ts';
import { runFunction, type Specialised } from './interpret.ts';
import { elementCount, type RuntimeValue } from './kernel.ts';
import { invalid, Memory, ReferenceBuffer } from './memory.ts';

export interface ReferenceDeviceOptions {
  /** Memory that the device may hold, in bytes; as much as there is if absent. */
  readonly memoryBytes?: number;
}

/** The interpreter, which knows every operation and runs anywhere: slow, and the truth for every other device. */
export function createReferenceDevice(options: ReferenceDeviceOptions = {}): Device {
  return new ReferenceDevice(options.memoryBytes ?? Number.POSITIVE_INFINITY);
}

/** Bytes read from a weight's file at a time. */
const packSlice = 4 << 20;
class ReferenceBound implements Bound {
  readonly executable: ReferenceExecutable;
  /** Of the program's parameters, in order; undefined for inputs. */
  readonly buffers: readonly (ReferenceBuffer | undefined)[];
  readonly process: Process;
  readonly communicator: Communicator | undefined;
  disposed = false;

  constructor(
    executable: ReferenceExecutable,
    buffers: readonly (ReferenceBuffer | undefined)[],
    communicator: Communicator | undefined,
  ) {
    this.executable = executable;
    this.buffers = buffers;
    this.communicator = communicator;
    const { rank, size } = communicator ?? { rank: 0, size: 1 };
    this.process = { rank, grid: gridOf(executable.program, size) };
    checkMember(meetingsOf(executable.program), rank);
  }

  [Symbol.dispose](): void {
    this.disposed = true;
  }
}

type Results = ReadonlyMap<string, ArrayBufferView>;
type Outcome = { readonly results: Results; readonly bytes: number } | { readonly error: unknown };

/** A run or a write that waits for its turn. */
interface Job {
  readonly id: number;
  /** Whether it may have to wait for other processes. A write has no outcome. */
  readonly meets: boolean;
  perform(deadline: number): Outcome | undefined | Promise<Outcome>;
  /** Lets go of what the run would have used. */
  release(): void;
}

class ReferenceDevice implements Device {
  readonly name = 'reference';
  /** Costs nothing: a run that is not waited for is not computed. */
  readonly runsAhead = 2;
  readonly hardware;
  readonly #memory: Memory;
  readonly #profile = new Map<OpName, { calls: number; seconds: number }>();
  #runs = 0;
  #seconds = 0;
  #jobs: Job[] = [];
  /** The run that waits for other processes. */
  #meeting: Promise<void> | undefined;
  readonly #outcomes = new Map<number, Outcome>();
  #resultBytes = 0;
  #nextId = 1;

  constructor(memoryBytes: number) {
    this.#memory = new Memory(memoryBytes);
    this.hardware = {
      name: 'interpreter',
      memoryBytes,
      threads: 1,
      // One thread of JavaScript: order of magnitude only.
      readBytesPerSecond: 2e9,
      operationsPerSecond: { f32: 1e9 },
    };
  }

  async compile(built: Program, passes?: Pass): Promise<Executable> {
    const program = passes?.(built) ?? built;
    for (const { name, type } of program.results) {
      if (type.kind === 'tuple') {
        throw new IngotError('UnsupportedOp', `result ${name} is a tuple`, { op: 'tuple', device: this.name });
      }
    }
    planState(program);
    return new ReferenceExecutable(program, await readConstants(program));
  }

  packedBytes({ shape }: Pick<WeightSource, 'format' | 'shape'>): number {
    return 4 * elementCount(shape);
  }

  /** Decodes to f32, whatever the format. */
  async pack({ name, format, shape, bytes }: WeightSource): Promise<DeviceBuffer> {
    const { blockSize, blockBytes, decode } = blockFormat(format);
    const columns = shape.at(-1) ?? 1;
    const count = elementCount(shape);
    const expected = (count / blockSize) * blockBytes;
    if (columns % blockSize !== 0 || bytes.length !== expected) {
      throw new IngotError('InvalidFile', `${bytes.length} bytes do not hold [${shape}] in ${format}`, {
        path: bytes.name,
        tensor: name,
      });
    }
    const buffer = new ReferenceBuffer(this.#memory, tensor('f32', shape), 'weights', `weight ${name}`);
    try {
      const values = buffer.array as Float32Array;
      const blocks = Math.max(1, Math.floor(packSlice / blockBytes));
      for (let block = 0; block * blockSize < count; block += blocks) {
        const end = Math.min(count / blockSize, block + blocks);
        const slice = await bytes.read(block * blockBytes, (end - block) * blockBytes);
        decode(slice, values.subarray(block * blockSize, end * blockSize));
      }
      return buffer;
    } catch (error) {
      buffer[Symbol.dispose]();
      throw error;
    }
  }

  async allocate(type: TensorType, kind: MemoryKind): Promise<DeviceBuffer> {
    return new ReferenceBuffer(this.#memory, type, kind, formatType(type));
  }

  async bind(
    executable: Executable,
    weights: ReadonlyMap<string, DeviceBuffer>,
    state: ReadonlyMap<string, DeviceBuffer>,
    communicator?: Communicator,
  ): Promise<Bound> {
    if (!(executable instanceof ReferenceExecutable)) throw invalid('the executable is of another device');
    if (executable.disposed) throw invalid('the executable was disposed');
    const taken = new Set<DeviceBuffer>();
    const buffers = executable.program.parameters.map((parameter) => {
      const { name, role, type } = parameter;
      if (role === 'input') return undefined;
      const buffer = (role === 'weight' ? weights : state).get(name);
      if (buffer === undefined) throw invalid(`${role} ${name} is missing`);
      const own = this.#own(buffer, `${role} ${name}`);
      if (!sameType(own.type, type)) {
        throw invalid(`${role} ${name} is ${formatType(own.type)}, the program takes ${formatType(type)}`);
      }
      if (role === 'state' && taken.has(own)) throw invalid(`state ${name} is bound to the memory of another state`);
      if (role === 'state') taken.add(own);
      return own;
    });
    return new ReferenceBound(executable, buffers, communicator);
  }

  submit(bound: Bound, inputs: ReadonlyMap<string, ArrayBufferView>, dims: DimValues): Ticket {
    if (!(bound instanceof ReferenceBound)) throw invalid('the binding is of another device');
    if (bound.disposed || bound.executable.disposed) throw invalid('the binding or its executable was disposed');
    const { parameters } = bound.executable.program;
    bound.buffers.forEach((buffer, i) => {
      if (buffer !== undefined) this.#own(buffer, `${parameters[i].role} ${parameters[i].name}`);
    });
    const values = parameters.map((parameter) => {
      return parameter.role === 'input' ? decodeInput(parameter, inputs.get(parameter.name), dims) : undefined;
    });
    const specialised = bound.executable.specialise(dims);
    const inputBytes = values.reduce((sum, value) => sum + (value?.byteLength ?? 0), 0);
    const id = this.#nextId++;
    const held = bound.buffers.filter((buffer) => buffer !== undefined);
    for (const buffer of held) buffer.hold();
    this.#memory.add('scratch', inputBytes);
    this.#jobs.push({
      id,
      meets: bound.communicator !== undefined,
      perform: (deadline) => this.#run(bound, specialised, values, deadline),
      release: () => {
        this.#memory.add('scratch', -inputBytes);
        for (const buffer of held) buffer.release();
      },
    });
    return { id };
  }

  #run(
    bound: ReferenceBound,
    specialised: Specialised,
    inputs: (HostArray | undefined)[],
    deadline: number,
  ): Outcome | Promise<Outcome> {
    const { parameters } = bound.executable.program;
    const { peakBytes } = specialised.main.region;
    const start = performance.now();
    const ended = (outcome: Outcome): Outcome => {
      this.#runs++;
      this.#seconds += (performance.now() - start) / 1000;
      return outcome;
    };
    const failed = (error: unknown): Outcome => {
      if (error instanceof IngotError) return ended({ error });
      return ended({
        error: new IngotError('DeviceFault', `a run failed: ${error}`, { device: this.name, cause: error }),
      });
    };
    try {
      this.#memory.take('scratch', peakBytes, 'the run', () => {});
    } catch (error) {
      return failed(error);
    }
    const finish = (returned: RuntimeValue[]) => ended(this.#results(bound, returned as HostArray[]));
    const values = parameters.map((_, i) => inputs[i] ?? (bound.buffers[i] as ReferenceBuffer).array);
    const run = { deadline, profile: this.#profile, process: bound.process };
    const steps = runFunction(specialised.main, values, run);
    const leave = () => this.#memory.add('scratch', -peakBytes);
    try {
      const first = steps.next();
      if (first.done) {
        leave();
        return finish(first.value);
      }
      const meeting = meetOthers(steps, first.value, bound.communicator, deadline).finally(leave);
      return meeting.then(finish).catch(failed);
    } catch (error) {
      leave();
      return failed(error);
    }
  }

  #results({ executable, buffers }: ReferenceBound, returned: readonly HostArray[]): Outcome {
    const { results, aliases } = executable.program;
    const named = new Map<string, ArrayBufferView>();
    let bytes = 0;
    results.forEach(({ name, type }, i) => {
      if (type.kind !== 'tensor' || aliases.some(({ result }) => result === i)) return;
      const encoded = encodeElements(type.element, returned[i]);
      bytes += encoded.length;
      named.set(name, encoded);
    });
    // What was not computed in the state's own memory goes there now; states may have changed places.
    const states = aliases.map(({ parameter }) => (buffers[parameter] as ReferenceBuffer).array);
    const contents = aliases.map(({ result }, i) => {
      const value = returned[result];
      return value !== states[i] && states.includes(value) ? value.slice() : value;
    });
    contents.forEach((value, i) => {
      if (value !== states[i]) states[i].set(value as never);
    });
    return { results: named, bytes };
  }

  async wait(ticket: Ticket, deadline: number, signal?: StopSignal): Promise<Results> {
    this.#memory.add('scratch', -this.#resultBytes);
    this.#resultBytes = 0;
    if (signal?.aborted) this.#cancel(ticket, signal);
    while (!this.#outcomes.has(ticket.id)) {
      if (this.#meeting !== undefined) {
        await this.#meeting;
        continue;
      }
      const job = this.#jobs[0];
      if (job === undefined) throw invalid(`ticket ${ticket.id} is not pending`);
      if (performance.now() > deadline) {
        throw new IngotError('DeadlineExceeded', 'the deadline passed before the run began', { device: this.name });
      }
      this.#perform(deadline);
    }
    const outcome = this.#outcomes.get(ticket.id) as Outcome;
    this.#outcomes.delete(ticket.id);
    if ('error' in outcome) throw outcome.error;
    this.#resultBytes = outcome.bytes;
    this.#memory.add('scratch', outcome.bytes);
    return outcome.results;
  }

  #own(buffer: DeviceBuffer, what: string): ReferenceBuffer {
    if (!(buffer instanceof ReferenceBuffer && buffer.memory === this.#memory)) {
      throw invalid(`${what} is memory of another device`);
    }
    if (buffer.disposed) throw invalid(`${what} was disposed`);
    return buffer;
  }

  /** The oldest job; one that has to wait for others goes on by itself. */
  #perform(deadline: number): void {
    const job = this.#jobs.shift();
    if (job === undefined) return;
    const ended = (outcome: Outcome | undefined) => {
      if (outcome !== undefined) this.#outcomes.set(job.id, outcome);
      job.release();
    };
    const outcome = job.perform(deadline);
    if (outcome instanceof Promise) {
      this.#meeting = outcome.then(ended).finally(() => {
        this.#meeting = undefined;
      });
    } else ended(outcome);
  }

  /** A run that has not begun. */
  #cancel({ id }: Ticket, { reason }: StopSignal): void {
    const at = this.#jobs.findIndex((job) => job.id === id);
    if (at < 0) return;
    this.#jobs.splice(at, 1)[0].release();
    const error = new IngotError('Aborted', 'the run was cancelled', { device: this.name, cause: reason });
    this.#outcomes.set(id, { error });
  }

  async #drain(): Promise<void> {
    while (this.#meeting !== undefined || this.#jobs.length > 0) {
      if (this.#meeting !== undefined) await this.#meeting;
      else this.#perform(Number.POSITIVE_INFINITY);
    }
  }

  write(buffer: DeviceBuffer, bytes: ArrayBufferView, offset = 0): void {
    const own = this.#own(buffer, 'the buffer');
    const { element } = own.type;
    const size = elementBytes(element);
    checkRange(own, offset, bytes.byteLength);
    const values = decodeElements(element, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    const perform = (): undefined => {
      own.array.set(values as never, (offset / size) * numbersPerElement(element));
    };
    own.hold();
    this.#jobs.push({ id: this.#nextId++, meets: false, perform, release: () => own.release() });
    // Runs that meet nobody are done at once, and the write with them.
    while (this.#meeting === undefined && this.#jobs.length > 0 && !this.#jobs[0].meets) {
      this.#perform(Number.POSITIVE_INFINITY);
    }
  }

  async read(buffer: DeviceBuffer, offset = 0, length?: number): Promise<Uint8Array> {
    const own = this.#own(buffer, 'the buffer');
    const { element } = own.type;
    const size = elementBytes(element);
    const count = length ?? maxElements(own.type) * size - offset;
    checkRange(own, offset, count);
    await this.#drain();
    const width = numbersPerElement(element) / size;
    return encodeElements(element, own.array.subarray(offset * width, (offset + count) * width));
  }

  memory(): ReturnType<Device['memory']> {
    return this.#memory.report();
  }

  profile(): Profile {
    const kernels = [...this.#profile].map(
      ([kernel, { calls, seconds }]): KernelProfile => ({
        ...{ kernel, how: 'interpreted', calls, seconds, threadSeconds: [seconds], barrierSeconds: 0 },
      }),
    );
    const profile = { runs: this.#runs, seconds: this.#seconds, kernels };
    this.#profile.clear();
    this.#runs = 0;
    this.#seconds = 0;
    return profile;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#jobs = [];
    this.#outcomes.clear();
  }
}

/** Goes on with a run that was left at `first`, at every exchange with what the others have sent. */
async function meetOthers(
  steps: Suspended<RuntimeValue[]>,
  first: Exchange,
  communicator: Communicator | undefined,
  deadline: number,
): Promise<RuntimeValue[]> {
  if (communicator === undefined) throw invalid('the program was bound without a communicator');
  const { transport } = communicator;
  if (transport.kind !== 'host') throw invalid('the communicator has no transport for the host');
  let { sends, receives } = first;
  for (;;) {
    for (const { peer, channel, bytes } of sends) transport.send(peer, channel, bytes);
    const received = await Promise.all(receives.map(({ peer, channel }) => transport.receive(peer, channel, deadline)));
    const next = steps.next(received);
    if (next.done) return next.value;
    ({ sends, receives } = next.value);
  }
}

function checkRange({ type }: ReferenceBuffer, offset: number, length: number): void {
  const size = elementBytes(type.element);
  const all = maxElements(type) * size;
  if (!(offset >= 0 && length >= 0 && offset + length <= all) || offset % size !== 0 || length % size !== 0) {
    throw invalid(`bytes ${offset}..${offset + length} are not elements of ${formatType(type)} (${all} bytes)`);
  }
}

function decodeInput({ name, type }: Parameter, view: ArrayBufferView | undefined, dims: DimValues): HostArray {
  if (view === undefined) throw invalid(`input ${name} is missing`);
  const bytes = elementCount(resolveShape(type.shape, dims)) * elementBytes(type.element);
  if (view.byteLength !== bytes) {
    throw invalid(`input ${name} has ${view.byteLength} bytes, ${formatType(type)} needs ${bytes} in this run`);
  }
  return decodeElements(type.element, new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
}
