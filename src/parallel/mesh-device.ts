/**
 * Several devices as one: programs are partitioned over a mesh, each device is a rank, and whoever uses them sees one device. What a
 * buffer's parts are follows from the programs that it is bound to, so weights are read when they are bound first, unless an earlier start has
 * left word of what ranks take of them.
 */
import { IngotError, type StopSignal, throwIfAborted } from '../base/errors.ts';
import type { Hardware } from '../compiler/cost.ts';
import { type Layout, layoutKey, Place, rangesSize } from '../compiler/partition/split.ts';
import type {
  Bound,
  Communicator,
  Device,
  DeviceBuffer,
  Executable,
  MemoryKind,
  Profile,
  Ticket,
  WeightSource,
} from '../devices/device.ts';
import { sliceTensor } from '../formats/slice-tensor.ts';
import { formatMesh, type Mesh } from '../ir/mesh.ts';
import type { Pass, Program } from '../ir/program.ts';
import { type DimValues, maxBytes, maxDim, type TensorType, tensor } from '../ir/types.ts';
import { type ElementType, elementBytes } from '../numerics/element-types.ts';
import { Division, type DivisionOptions, type LocalProgram } from './division.ts';

/** A device for each rank, and its end of the group that joins them; a device elsewhere has that itself. */
export interface MeshRank {
  readonly device: Device;
  readonly communicator?: Communicator;
}

export interface MeshOptions extends DivisionOptions {
  /** What joins the ranks: closed with the device, after them. */
  readonly group?: Disposable;
  /** That ranks have together; those of one process share what the first has. */
  readonly memoryBytes?: number;
  /** A run that has begun is never left, since the messages that it has sent cannot be taken back. */
  readonly runsEnd?: boolean;
  /** Sees the program of each rank before it is compiled. */
  readonly onProgram?: ((rank: number, program: Program) => void) | undefined;
}

/**
 * The ranks are the device's own, and closed with it.
 * @throws IngotError 'InvalidArgument' for an end of another rank than the one that gets it: one that joined twice would take what is sent to itself.
 */
export function createMeshDevice(mesh: Mesh, ranks: readonly MeshRank[], options: MeshOptions = {}): Device {
  for (const [rank, { communicator }] of ranks.entries()) {
    if (communicator === undefined || communicator.rank === rank) continue;
    throw new IngotError('InvalidArgument', `rank ${rank} is given the end of rank ${communicator.rank}`);
  }
  return new MeshDevice(mesh, ranks, options);
}

interface MeshExecutable extends Executable {
  readonly ranks: readonly { readonly executable: Executable; readonly local: LocalProgram }[];
}

interface MeshBound extends Bound {
  readonly executable: MeshExecutable;
  readonly parts: readonly Bound[];
}

/** What a rank is to have of a buffer is known when a program takes it. */
class MeshBuffer implements DeviceBuffer {
  readonly type: TensorType;
  readonly kind: MemoryKind;
  readonly bytes: number;
  readonly #make: (layout: Layout) => Promise<readonly DeviceBuffer[]>;
  #made: Promise<readonly DeviceBuffer[]> | undefined;
  #expected: Layout | undefined;
  #layout: Layout | undefined;
  parts: readonly DeviceBuffer[] = [];

  constructor(
    type: TensorType,
    kind: MemoryKind,
    bytes: number,
    make: (layout: Layout) => Promise<readonly DeviceBuffer[]>,
  ) {
    this.type = type;
    this.kind = kind;
    this.bytes = bytes;
    this.#make = make;
  }

  get layout(): Layout {
    if (this.#layout === undefined) throw new IngotError('InvalidArgument', 'the buffer is not bound to a program yet');
    return this.#layout;
  }

  /** Makes the parts now, as programs will take them in all likelihood. */
  async expect(layout: Layout): Promise<void> {
    this.#expected = layout;
    this.#made = this.#make(layout);
    this.parts = await this.#made;
  }

  /** @throws IngotError 'InvalidArgument' if another program has it otherwise. */
  async take(layout: Layout, name: string): Promise<readonly DeviceBuffer[]> {
    if (this.#layout !== undefined && layoutKey(this.#layout) !== layoutKey(layout)) {
      throw new IngotError('InvalidArgument', `two programs divide ${name} among ranks in two ways`);
    }
    this.#layout = layout;
    if (this.#expected !== undefined && layoutKey(this.#expected) !== layoutKey(layout)) {
      this[Symbol.dispose]();
      this.#made = undefined;
    }
    this.#expected = undefined;
    this.#made ??= this.#make(layout);
    this.parts = await this.#made;
    return this.parts;
  }

  [Symbol.dispose](): void {
    for (const part of this.parts) part[Symbol.dispose]();
    this.parts = [];
  }
}

class MeshDevice implements Device {
  readonly name;
  readonly hardware;
  readonly runsAhead;
  readonly readsFiles: boolean;
  readonly #mesh: Mesh;
  readonly #ranks: readonly MeshRank[];
  readonly #options: MeshOptions;
  readonly #tickets = new Map<number, readonly Ticket[]>();
  readonly #division: Division;
  #nextId = 1;

  constructor(mesh: Mesh, ranks: readonly MeshRank[], options: MeshOptions) {
    const devices = ranks.map(({ device }) => device);
    const [{ name, hardware, runsAhead }] = devices;
    this.name = name;
    this.runsAhead = runsAhead;
    const sum = (of: (rank: Hardware) => number) => devices.reduce((all, device) => all + of(device.hardware), 0);
    const { memoryBytes = hardware.memoryBytes } = options;
    const elements = Object.keys(hardware.operationsPerSecond) as ElementType[];
    this.hardware = {
      ...{ ...hardware, memoryBytes, name: `${hardware.name}, ${formatMesh(mesh)}` },
      threads: sum((rank) => rank.threads),
      // Of ranks that share a memory that is more than it can do.
      readBytesPerSecond: sum((rank) => rank.readBytesPerSecond),
      operationsPerSecond: Object.fromEntries(
        elements.map((element) => [element, sum((rank) => rank.operationsPerSecond[element] ?? 0)]),
      ),
    };
    this.#mesh = mesh;
    this.#ranks = ranks;
    this.#options = options;
    this.#division = new Division(mesh, ranks.length, options);
    this.readsFiles = this.#division.layouts !== undefined && devices.every(({ readsFiles }) => readsFiles === true);
  }

  #places(): readonly Place[] {
    return this.#ranks.map((_, rank) => new Place(this.#mesh, rank));
  }

  async compile(program: Program, passes?: Pass): Promise<MeshExecutable> {
    const locals = this.#division.of(program);
    const ranks = await this.#onEach(async ({ device }, { rank }) => {
      const local = locals[rank];
      this.#options.onProgram?.(rank, local.program);
      const executable = await device.compile(local.program, passes);
      return { executable, local, [Symbol.dispose]: () => executable[Symbol.dispose]() };
    });
    return {
      ...{ program, ranks },
      scratchBytes: ranks.reduce((sum, { executable }) => sum + executable.scratchBytes, 0),
      [Symbol.dispose]() {
        for (const rank of ranks) rank[Symbol.dispose]();
      },
    };
  }

  packedBytes(weight: Pick<WeightSource, 'format' | 'shape'>): number {
    return this.#ranks[0].device.packedBytes(weight);
  }

  async pack(weight: WeightSource): Promise<DeviceBuffer> {
    const type = tensor('f32', weight.shape);
    const buffer = new MeshBuffer(type, 'weights', this.packedBytes(weight), ({ splits }) =>
      this.#onEach(({ device }, place) => {
        const ranges = splits.map((split) => split && place.ranges(split));
        return device.pack({ ...sliceTensor(weight, ranges), ranges });
      }),
    );
    const { parameter } = weight;
    const expected = parameter === undefined ? undefined : this.#division.layouts?.get(parameter);
    if (expected !== undefined) await buffer.expect(expected);
    return buffer;
  }

  async allocate(type: TensorType, kind: MemoryKind): Promise<DeviceBuffer> {
    return new MeshBuffer(type, kind, maxBytes(type), (layout) =>
      this.#onEach(({ device }, place) => device.allocate(place.localType(type, layout), kind)),
    );
  }

  /** Side by side: what fails leaves nothing of the others. */
  async #onEach<T extends Disposable>(make: (rank: MeshRank, place: Place) => Promise<T>): Promise<readonly T[]> {
    const all = await Promise.allSettled(this.#places().map((place, rank) => make(this.#ranks[rank], place)));
    const made = all.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    const failed = all.find((outcome) => outcome.status === 'rejected');
    if (failed === undefined) return made;
    for (const one of made) one[Symbol.dispose]();
    throw failed.reason;
  }

  async bind(
    executable: Executable,
    weights: ReadonlyMap<string, DeviceBuffer>,
    state: ReadonlyMap<string, DeviceBuffer>,
  ): Promise<MeshBound> {
    if (!('ranks' in executable)) throw new IngotError('InvalidArgument', 'the executable is of another device');
    const mine = executable as MeshExecutable;
    const [{ local }] = mine.ranks;
    const given = new Map<string, readonly DeviceBuffer[]>();
    const taking = executable.program.parameters.map(async ({ name, role }, i) => {
      const buffer = role === 'input' ? undefined : (role === 'weight' ? weights : state).get(name);
      if (buffer instanceof MeshBuffer) given.set(name, await buffer.take(local.parameters[i], name));
    });
    // All of them, so that nobody reads any more after one has failed.
    for (const outcome of await Promise.allSettled(taking)) if (outcome.status === 'rejected') throw outcome.reason;
    const parts = await this.#onEach(({ device, communicator }, { rank }) => {
      const own = (all: ReadonlyMap<string, DeviceBuffer>) =>
        new Map(
          [...all.keys()].flatMap((name) => {
            const part = given.get(name)?.[rank];
            return part === undefined ? [] : [[name, part] as const];
          }),
        );
      return device.bind(mine.ranks[rank].executable, own(weights), own(state), communicator);
    });
    return {
      ...{ executable: mine, parts },
      [Symbol.dispose]() {
        for (const part of parts) part[Symbol.dispose]();
      },
    };
  }

  /** Inputs are whole on every rank. */
  submit(bound: Bound, inputs: ReadonlyMap<string, ArrayBufferView>, dims: DimValues): Ticket {
    const { parts } = bound as MeshBound;
    const id = this.#nextId++;
    this.#tickets.set(
      id,
      this.#ranks.map(({ device }, rank) => device.submit(parts[rank], inputs, dims)),
    );
    return { id };
  }

  async wait({ id }: Ticket, deadline: number, signal?: StopSignal): Promise<ReadonlyMap<string, ArrayBufferView>> {
    const tickets = this.#tickets.get(id);
    if (tickets === undefined) throw new IngotError('InvalidArgument', `ticket ${id} is not pending`);
    this.#tickets.delete(id);
    const { runsEnd = false } = this.#options;
    const outcomes = await Promise.allSettled(
      this.#ranks.map(({ device }, rank) =>
        runsEnd ? device.wait(tickets[rank], Number.POSITIVE_INFINITY) : device.wait(tickets[rank], deadline, signal),
      ),
    );
    const failed = outcomes.filter((outcome) => outcome.status === 'rejected').map(({ reason }) => reason);
    // Who lost another says less than who stopped.
    if (failed.length > 0) throw failed.find((reason) => reason?.code !== 'RankLost') ?? failed[0];
    throwIfAborted(signal);
    if (performance.now() > deadline) throw new IngotError('DeadlineExceeded', 'the deadline passed during a run');
    const [first] = outcomes;
    return first.status === 'fulfilled' ? first.value : new Map();
  }

  write(buffer: DeviceBuffer, bytes: ArrayBufferView, offset = 0): void {
    const own = buffer as MeshBuffer;
    const whole = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (const [rank, place] of this.#places().entries()) {
      const { start, runs, length } = ownRuns(own, place, offset, whole.length);
      const part = new Uint8Array(length);
      for (const run of runs) part.set(whole.subarray(run.at, run.at + run.count), run.own);
      this.#ranks[rank].device.write(own.parts[rank], part, start);
    }
  }

  async read(buffer: DeviceBuffer, offset = 0, length = buffer.bytes - offset): Promise<Uint8Array> {
    const own = buffer as MeshBuffer;
    const whole = new Uint8Array(length);
    for (const [rank, place] of this.#places().entries()) {
      const { start, runs, length: count } = ownRuns(own, place, offset, length);
      const part = await this.#ranks[rank].device.read(own.parts[rank], start, count);
      for (const run of runs) whole.set(part.subarray(run.own, run.own + run.count), run.at);
    }
    return whole;
  }

  memory(): ReturnType<Device['memory']> {
    const all = this.#ranks.map(({ device }) => device.memory());
    const sum = (kind: MemoryKind) => ({
      now: all.reduce((total, memory) => total + memory[kind].now, 0),
      peak: all.reduce((total, memory) => total + memory[kind].peak, 0),
    });
    return { weights: sum('weights'), state: sum('state'), scratch: sum('scratch') };
  }

  /** Of the first rank. */
  profile(): Profile {
    const [first] = this.#ranks.map(({ device }) => device.profile());
    return first;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { device } of this.#ranks) await device[Symbol.asyncDispose]();
    this.#options.group?.[Symbol.dispose]();
  }
}

interface Run {
  /** Within what is read or written, and within what the rank has of it. */
  readonly at: number;
  readonly own: number;
  readonly count: number;
}

/**
 * What a rank has of bytes `offset` to `offset + length` of a buffer: one range from `start` of its own, and where that lies in the whole.
 * State is split along one dimension at most.
 */
function ownRuns({ type, layout }: MeshBuffer, place: Place, offset: number, length: number) {
  const d = layout.splits.findIndex((split) => split !== undefined);
  const split = layout.splits[d];
  if (split === undefined) return { start: offset, length, runs: [{ at: 0, own: 0, count: length }] };
  const sizes = type.shape.map(maxDim);
  const inner = sizes.slice(d + 1).reduce((a, b) => a * b, elementBytes(type.element));
  const rowBytes = sizes[d] * inner;
  const ranges = place.ranges(split);
  const ownRowBytes = rangesSize(ranges) * inner;
  const runs: Run[] = [];
  let start: number | undefined;
  let end = 0;
  for (let row = Math.floor(offset / rowBytes); row * rowBytes < offset + length; row++) {
    let before = row * ownRowBytes;
    for (const range of ranges) {
      const from = row * rowBytes + range.start * inner;
      const first = Math.max(from, offset);
      const limit = Math.min(row * rowBytes + range.limit * inner, offset + length);
      const ownFirst = before + first - from;
      if (first < limit) {
        start ??= ownFirst;
        end = ownFirst + limit - first;
        runs.push({ at: first - offset, own: ownFirst - start, count: limit - first });
      }
      before += (range.limit - range.start) * inner;
    }
  }
  return { start: start ?? 0, length: start === undefined ? 0 : end - start, runs };
}
