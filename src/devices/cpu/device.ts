/**
 * The CPU device: programs become machine code made by TypeScript, run by a team of native threads. A run is one
 * submission; between runs the threads sleep.
 */
import { IngotError, isIngotError, type StopSignal } from '../../base/errors.ts';
import type { Hardware } from '../../compiler/cost.ts';
import { checkMember, gridOf } from '../../ir/process-groups.ts';
import type { Pass, Program } from '../../ir/program.ts';
import { asTensor, type DimValues, formatType, maxBytes, sameType, type TensorType, tensor } from '../../ir/types.ts';
import { elementBytes, elementTypes } from '../../numerics/element-types.ts';
import { decodeElements, encodeElements } from '../../numerics/host-array.ts';
import { blockFormat } from '../../numerics/quant/formats.ts';
import type {
  Bound,
  Communicator,
  Device,
  DeviceBuffer,
  Executable,
  MemoryKind,
  Profile,
  Ticket,
  WeightFiles,
  WeightSource,
} from '../device.ts';
import type { CodeCache } from './code-cache.ts';
import { lostRank, type Membership, membership } from './exchange-tables.ts';
import { unoptimizedOnce } from './first-program.ts';
import { type ImageHead, imageKey, packImage, unpackImage } from './image-file.ts';
import { instantiate } from './instantiate.ts';
import { packedBytes, packedFormat } from './kernels/packing.ts';
import type { Linked } from './link.ts';
import { createWeightFiles } from './mapped-weights.ts';
import type { Measured } from './measure.ts';
import { limitsOf } from './measurements.ts';
import type { Memory, OperatingSystem } from './os/os.ts';
import { usableThreads } from './os/os.ts';
import { Profiler, type Recorded } from './profile.ts';
import { WeightReader } from './read-weights.ts';
import { Regions } from './regions.ts';
import { CpuBound, CpuBuffer, CpuExecutable, type RunValue } from './resources.ts';
import { LargeResult, type LargeResults } from './results.ts';
import { type Results, RunQueue } from './runs.ts';
import type { Schedule } from './schedule.ts';
import { SharedWeights, type WeightShare } from './shared-weights.ts';
import { type InstructionSet, lowestSet, missing, type Target, usableTargets, whyNot } from './target.ts';
import { createTeam, type Team } from './team.ts';
import { isPacked, panelFormat } from './weights.ts';
import { Workplace } from './workplace.ts';

export interface CpuDeviceOptions {
  readonly memoryBytes?: number;
  /** So many, at most one a core, whatever the quota of a control group; as many as that covers if absent. */
  readonly threads?: number;
  /** Keep weights and state from being swapped out. */
  readonly lock?: boolean;
  /** Make code for this set; for the best that the processor has if absent. */
  readonly instructionSet?: InstructionSet;
  /** How kernels work, where that is not what is usual for the set. */
  readonly schedule?: Schedule;
  /** What to keep of launches, for `profile`; nothing if absent. */
  readonly profile?: Recorded;
  /** What the machine can do, for `hardware`; without it orders of magnitude of one core stand there. */
  readonly measured?: Measured;
  /** Weights that other threads have, too. */
  readonly weightShare?: WeightShare;
  /** Where code is kept between starts; nowhere if absent. */
  readonly codeCache?: CodeCache;
}

/** @throws IngotError 'DeviceLost' where `whyNot` says so, for a set that the processor lacks, or if no threads are to be had. */
export function createCpuDevice(system: OperatingSystem, options: CpuDeviceOptions = {}): Device {
  const reason = whyNot(system);
  if (reason !== undefined) throw new IngotError('DeviceLost', reason, { device: 'cpu' });
  const chosen = chooseTarget(system, options.instructionSet);
  const target = { ...chosen, schedule: options.schedule ?? chosen.schedule };
  const allowed = system.limits();
  const threads =
    options.threads === undefined ? usableThreads(allowed) : Math.min(options.threads, allowed.cores.length);
  const team = createTeam(system, { threads });
  const profiler = new Profiler(options.profile ?? 'nothing', threads);
  const limits =
    options.measured === undefined
      ? { readBytesPerSecond: 1e10 * threads, operationsPerSecond: { f32: 5e10 * threads } }
      : { ...limitsOf(options.measured, threads), measured: true };
  const { memoryBytes = Number.POSITIVE_INFINITY, lock = false } = options;
  const hardware: Hardware = { name: system.cpuFeatures().model, memoryBytes, threads, ...limits };
  const { codeCache, weightShare } = options;
  return new CpuDevice(system, team, target, profiler, hardware, lock, codeCache, weightShare);
}

/** The best set that can be used if none is wanted. Tile registers have to be asked for, before the team's threads start. */
export function chooseTarget(system: OperatingSystem, wanted?: InstructionSet): Target {
  const features = system.cpuFeatures();
  const usable = usableTargets(features).filter(({ name }) => name !== 'amx' || system.requestTiles());
  const target = wanted === undefined ? usable.at(-1) : usable.find(({ name }) => name === wanted);
  if (target !== undefined) return target;
  const set = wanted ?? lowestSet(system.architecture);
  const lacks = missing(features, set);
  const why =
    lacks.length === 0 ? 'the system does not grant tile registers' : `${features.model} lacks ${lacks.join(', ')}`;
  throw new IngotError('DeviceLost', `code for ${set} cannot run: ${why}`, { device: 'cpu' });
}

function invalid(message: string): IngotError {
  return new IngotError('InvalidArgument', message, { device: 'cpu' });
}

/** Bytes that a process can address. */
const addressable = 2 ** 46;

class CpuDevice implements Device {
  readonly name = 'cpu';
  readonly hardware: Hardware;
  readonly runsAhead: 1 | 2;
  readonly readsFiles: boolean;
  readonly weightFiles: WeightFiles | undefined;
  readonly #system: OperatingSystem;
  readonly #team: Team;
  readonly #target: Target;
  readonly #profiler: Profiler;
  readonly #lock: boolean;
  readonly #codeCache: CodeCache | undefined;
  readonly #reader: WeightReader;
  readonly #regions: Regions;
  readonly #shared: SharedWeights | undefined;
  readonly #kinds: Record<MemoryKind, { now: number; peak: number }> = {
    weights: { now: 0, peak: 0 },
    state: { now: 0, peak: 0 },
    scratch: { now: 0, peak: 0 },
  };
  readonly #runs: RunQueue;
  /** Submissions that `profile` has told of. */
  #told = 0;
  #disposed = false;

  constructor(
    system: OperatingSystem,
    team: Team,
    target: Target,
    profiler: Profiler,
    hardware: Hardware,
    lock: boolean,
    codeCache: CodeCache | undefined,
    weightShare: WeightShare | undefined,
  ) {
    this.#system = system;
    this.#profiler = profiler;
    this.#target = target;
    this.#team = team;
    this.#lock = lock;
    this.#codeCache = codeCache;
    this.#runs = new RunQueue(team, profiler);
    this.#regions = new Regions(system);
    if (weightShare !== undefined && system.shared !== undefined) {
      this.#shared = new SharedWeights(system.shared, weightShare);
    }
    this.readsFiles = system.read !== undefined;
    this.#reader = new WeightReader(system, team, target, () => this.#runs.drain(), codeCache);
    this.weightFiles = system.mapFile && this.#makeWeightFiles(system.mapFile);
    this.hardware = hardware;
    // JavaScript on a core of the team makes all its threads wait (measured on two cores: a third slower). Runs that overlap
    // cannot be told apart from outside.
    this.runsAhead = usableThreads(system.limits()) > team.threads && !profiler.records ? 2 : 1;
  }

  account(kind: MemoryKind, bytes: number): void {
    const entry = this.#kinds[kind];
    entry.now += bytes;
    entry.peak = Math.max(entry.peak, entry.now);
  }

  #take(bytes: number, what: string): Memory {
    this.#check(bytes, what);
    return this.#system.mapMemory(Math.max(64, bytes), { huge: bytes >= 2 << 20 });
  }

  #check(bytes: number, what: string): void {
    const { weights, state, scratch } = this.#kinds;
    const left = this.hardware.memoryBytes - weights.now - state.now - scratch.now;
    if (bytes > Math.min(left, addressable)) {
      throw new IngotError('OutOfMemory', `${what} needs ${bytes} bytes, ${Math.min(left, addressable)} are left`, {
        device: this.name,
      });
    }
  }

  async compile(program: Program, passes?: Pass): Promise<Executable> {
    try {
      return new CpuExecutable(this.#system, program, await this.#link(program, passes));
    } catch (error) {
      if (!isIngotError(error, 'UnsupportedOp') || error.place.device === this.name) throw error;
      const { message, place, hint } = error;
      const options = { ...place, device: this.name, cause: error, ...(hint !== undefined && { hint }) };
      throw new IngotError('UnsupportedOp', `the cpu device cannot run ${message}`, options);
    }
  }

  async #link(program: Program, passes?: Pass): Promise<Linked> {
    // What kernels cost is said by the program, not by its image.
    const cache = this.#profiler.records ? undefined : this.#codeCache;
    const key = cache && imageKey(program, this.#target, passes);
    const kept = key === undefined ? undefined : cache?.find<ImageHead>(key);
    if (kept !== undefined) return { image: unpackImage(kept), costs: [] };
    const linked = await unoptimizedOnce(async () => {
      const { makeImage } = await import('./make-image.ts');
      return makeImage(passes?.(program) ?? program, this.#target, this.#codeCache);
    });
    if (key !== undefined) cache?.keep(key, packImage(linked.image));
    return linked;
  }

  /** This device's part of what it shares. */
  packedBytes(weight: Pick<WeightSource, 'format' | 'shape'>): number {
    return Math.ceil(this.#sizeOf(weight) / (this.#shared?.sharers ?? 1));
  }

  #sizeOf(weight: Pick<WeightSource, 'format' | 'shape'>): number {
    const { format, shape } = weight;
    if (isPacked(weight)) return packedBytes(packedFormat(format), shape);
    return 4 * shape.reduce((product, size) => product * size, 1);
  }

  #makeWeightFiles(mapFile: NonNullable<OperatingSystem['mapFile']>): WeightFiles {
    const summing = { system: this.#system, team: this.#team, target: this.#target, codeCache: this.#codeCache };
    return createWeightFiles(mapFile, summing, {
      memoryOf: (buffer) => this.#own(buffer, 'the buffer').memory,
      sizeOf: (weight) => Math.max(64, this.#sizeOf(weight)),
      bufferIn: (weight, memory) => {
        if (this.#lock) this.#system.lock(memory);
        const packed = isPacked(weight) ? weight.format : undefined;
        return new CpuBuffer(this, tensor('f32', weight.shape), 'weights', memory, packed, this.packedBytes(weight));
      },
    });
  }

  /** Matrices, and stacks of them, into panels of 16 rows, anything else to f32. */
  async pack(weight: WeightSource): Promise<DeviceBuffer> {
    const { name, parameter, format, shape, bytes, ranges } = weight;
    const { blockSize, blockBytes } = blockFormat(format);
    const columns = shape.at(-1) ?? 1;
    const count = shape.reduce((product, size) => product * size, 1);
    if (columns % blockSize !== 0 || bytes.length !== (count / blockSize) * blockBytes) {
      throw new IngotError('InvalidFile', `${bytes.length} bytes do not hold [${shape}] in ${format}`, {
        path: bytes.name,
        tensor: name,
      });
    }
    const packed = isPacked(weight) ? format : undefined;
    const type = tensor('f32', shape);
    const size = Math.max(64, this.#sizeOf(weight));
    const fill = async (memory: Memory) => {
      if (this.#lock) this.#system.lock(memory);
      if (packed !== undefined) await this.#reader.pack(weight, packedFormat(packed), memory);
      else await this.#reader.decode(weight, memory);
    };
    if (this.#shared !== undefined && parameter !== undefined) {
      const own = Math.ceil(size / this.#shared.sharers);
      this.#check(own, `weight ${name}`);
      const key = JSON.stringify([parameter, format, shape, ranges]);
      const shared = await this.#shared.take(key, size, fill);
      if (shared !== undefined) return new CpuBuffer(this, type, 'weights', shared, packed, own);
    }
    this.#check(size, `weight ${name}`);
    const memory = this.#regions.take(size);
    const buffer = new CpuBuffer(this, type, 'weights', memory, packed);
    try {
      await fill(memory);
    } catch (error) {
      buffer[Symbol.dispose]();
      throw error;
    }
    return buffer;
  }

  async allocate(type: TensorType, kind: MemoryKind): Promise<DeviceBuffer> {
    const memory = this.#take(maxBytes(type), formatType(type));
    try {
      if (this.#lock) this.#system.lock(memory);
    } catch (error) {
      memory[Symbol.dispose]();
      throw error;
    }
    return new CpuBuffer(this, type, kind, memory);
  }

  async bind(
    executable: Executable,
    weights: ReadonlyMap<string, DeviceBuffer>,
    state: ReadonlyMap<string, DeviceBuffer>,
    communicator?: Communicator,
  ): Promise<Bound> {
    if (!(executable instanceof CpuExecutable)) throw invalid('the executable is of another device');
    if (executable.disposed) throw invalid('the executable was disposed');
    this.#reader.rest();
    const taken = new Set<DeviceBuffer>();
    const buffers = executable.program.parameters.map(({ name, role, type, format }) => {
      if (role === 'input') return undefined;
      const buffer = (role === 'weight' ? weights : state).get(name);
      if (buffer === undefined) throw invalid(`${role} ${name} is missing`);
      const own = this.#own(buffer, `${role} ${name}`);
      if (!sameType(own.type, type)) {
        throw invalid(`${role} ${name} is ${formatType(own.type)}, the program takes ${formatType(type)}`);
      }
      const layout = role === 'weight' ? panelFormat(format, type.shape.length) : undefined;
      if (own.packed !== layout) {
        const as = (packed: string | undefined) => (packed === undefined ? 'plain elements' : `packed ${packed}`);
        throw invalid(`${role} ${name} lies as ${as(own.packed)}, the program takes ${as(layout)}`);
      }
      if (role === 'state' && taken.has(own)) throw invalid(`state ${name} is bound to the memory of another state`);
      if (role === 'state') taken.add(own);
      return own;
    });
    const { rank, size } = communicator ?? { rank: 0, size: 1 };
    const member = membership(gridOf(executable.program, size), communicator);
    checkMember(executable.layout.meetings, rank);
    const make = () => this.#makePlace(executable, buffers, member);
    const makeResults = () => this.#makeResults(executable);
    return new CpuBound(executable, buffers, make, makeResults, () => lostRank(this.#system, member));
  }

  #makeResults({ layout, program }: CpuExecutable): LargeResults {
    const made: (LargeResult | undefined)[] = [];
    try {
      for (const [i, bytes] of layout.resultBytes.entries()) {
        const { name, type } = program.results[i];
        if (bytes === 0) made.push(undefined);
        else {
          const memory = this.#take(bytes, `result ${name}`);
          made.push(new LargeResult(new CpuBuffer(this, asTensor(type), 'scratch', memory)));
        }
      }
    } catch (error) {
      for (const result of made) result?.[Symbol.dispose]();
      throw error;
    }
    return made;
  }

  #makePlace(executable: CpuExecutable, buffers: readonly (CpuBuffer | undefined)[], member: Membership): Workplace {
    const { layout, code, constants, costs } = executable;
    const memory = this.#take(layout.arenaBytes, 'the temporaries of a program');
    const arena = new CpuBuffer(this, tensor('ui8', [layout.arenaBytes]), 'scratch', memory);
    try {
      const where = { code, constants, arena: memory, parameters: buffers.map((buffer) => buffer?.memory) };
      const instance = instantiate(this.#system, this.#team, member, layout, where, this.#profiler, costs);
      return new Workplace(executable, buffers, arena, instance);
    } catch (error) {
      arena[Symbol.dispose]();
      throw error;
    }
  }

  submit(bound: Bound, inputs: ReadonlyMap<string, ArrayBufferView>, dims: DimValues): Ticket {
    if (this.#disposed) throw invalid('the device was disposed');
    if (!(bound instanceof CpuBound)) throw invalid('the binding is of another device');
    if (bound.disposed || bound.executable.disposed) throw invalid('the binding or its executable was disposed');
    const { gone, executable } = bound;
    if (gone >= 0) {
      const { role, name } = executable.program.parameters[gone];
      throw invalid(`${role} ${name} was disposed`);
    }
    const sizes = executable.bytesIn(dims).inputs;
    const values = executable.inputs.map((input, i) => inputBytes(input, inputs.get(input.name), sizes[i]));
    return { id: this.#runs.submit(bound, values, dims) };
  }

  wait(ticket: Ticket, deadline: number, signal?: StopSignal): Promise<Results> {
    return this.#runs.wait(ticket.id, deadline, signal);
  }

  #own(buffer: DeviceBuffer, what: string): CpuBuffer {
    if (!(buffer instanceof CpuBuffer && buffer.device === this)) throw invalid(`${what} is memory of another device`);
    if (buffer.disposed) throw invalid(`${what} was disposed`);
    return buffer;
  }

  write(buffer: DeviceBuffer, bytes: ArrayBufferView, offset = 0): void {
    const own = this.#own(buffer, 'the buffer');
    checkRange(own, offset, bytes.byteLength);
    if (own.memory.isReadOnly) throw invalid('a weight that lies in a file cannot be written');
    this.#runs.drain();
    if (bytes.byteLength === 0) return;
    const source = canonical(own.type, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    own.memory.bytes(offset, source.length).set(source);
  }

  async read(buffer: DeviceBuffer, offset = 0, length?: number): Promise<Uint8Array> {
    const own = this.#own(buffer, 'the buffer');
    const count = length ?? maxBytes(own.type) - offset;
    checkRange(own, offset, count);
    this.#runs.drain();
    return count === 0 ? new Uint8Array() : own.memory.bytes(offset, count).slice();
  }

  memory(): ReturnType<Device['memory']> {
    const { weights, state, scratch } = this.#kinds;
    return { weights: { ...weights }, state: { ...state }, scratch: { ...scratch } };
  }

  profile(): Profile {
    this.#runs.drain();
    const submissions = this.#team.submitted - this.#told;
    this.#told = this.#team.submitted;
    return { ...this.#profiler.take(), submissions };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#runs.close();
    this.#reader[Symbol.dispose]();
    this.#team[Symbol.dispose]();
  }
}

function checkRange({ type, packed }: CpuBuffer, offset: number, length: number): void {
  if (packed !== undefined) throw invalid('a packed weight cannot be read or written');
  const size = elementBytes(type.element);
  const all = maxBytes(type);
  if (!(offset >= 0 && length >= 0 && offset + length <= all) || offset % size !== 0 || length % size !== 0) {
    throw invalid(`bytes ${offset}..${offset + length} are not elements of ${formatType(type)} (${all} bytes)`);
  }
}

/** What the caller gave, or a copy of it. */
function inputBytes({ name, type }: RunValue, view: ArrayBufferView | undefined, bytes: number): Uint8Array {
  if (view === undefined) throw invalid(`input ${name} is missing`);
  if (view.byteLength !== bytes) {
    throw invalid(`input ${name} has ${view.byteLength} bytes, ${formatType(type)} needs ${bytes} in this run`);
  }
  return canonical(type, view instanceof Uint8Array ? view : new Uint8Array(view.buffer, view.byteOffset, bytes));
}

/** Bits that a type does not have are ignored: code takes i1 for 0 or 1, and 4-bit integers for extended. */
function canonical({ element }: TensorType, bytes: Uint8Array): Uint8Array {
  const partial = elementTypes[element].bits < 8;
  return partial ? encodeElements(element, decodeElements(element, bytes)) : bytes;
}
