/** What the CPU device hands out: memory, executables, bindings. Each is freed when disposed and no longer in use. */
import { type IngotError, isIngotError } from '../../base/errors.ts';
import type { Program } from '../../ir/program.ts';
import { asTensor, type DimValues, dimSymbols, resolveShape, type TensorType } from '../../ir/types.ts';
import { elementBytes } from '../../numerics/element-types.ts';
import type { Bound, DeviceBuffer, Executable, MemoryKind } from '../device.ts';
import type { Layout, Spot } from './image.ts';
import type { CostOf, Linked } from './link.ts';
import type { MappedCode, Memory, OperatingSystem } from './os/os.ts';
import type { LargeResults } from './results.ts';
import type { Workplace } from './workplace.ts';

/** The device that memory belongs to; it counts bytes by kind. */
export interface Accounts {
  account(kind: MemoryKind, bytes: number): void;
}

export class CpuBuffer implements DeviceBuffer {
  readonly type: TensorType;
  readonly kind: MemoryKind;
  readonly bytes: number;
  /** Of weights that lie in panels (`kernels/packing.ts`): the format that they are packed in. */
  readonly packed: string | undefined;
  readonly memory: Memory;
  readonly device: Accounts;
  disposed = false;
  readonly #users = new Set<CpuBound>();
  #freed = false;

  /** `counted`: fewer bytes than it has where others count the rest. */
  constructor(
    device: Accounts,
    type: TensorType,
    kind: MemoryKind,
    memory: Memory,
    packed?: string,
    counted = memory.length,
  ) {
    this.device = device;
    this.type = type;
    this.kind = kind;
    this.memory = memory;
    this.packed = packed;
    this.bytes = counted;
    device.account(kind, this.bytes);
  }

  /** A run of this binding uses it. */
  join(user: CpuBound): void {
    this.#users.add(user);
  }

  leave(user: CpuBound): void {
    this.#users.delete(user);
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const user of this.#users) user.lose(this);
    this.freeUnlessUsed();
  }

  /** Of what is disposed. */
  freeUnlessUsed(): void {
    if (this.#freed || [...this.#users].some(({ running }) => running)) return;
    this.#freed = true;
    this.memory[Symbol.dispose]();
    this.device.account(this.kind, -this.bytes);
  }
}

/** An input or a result of a run. */
export interface RunValue {
  readonly name: string;
  readonly type: TensorType;
  /** Nowhere if nothing reads or makes it. */
  readonly where: Spot | undefined;
}

/** Of inputs and outputs, in their order. */
interface ValueBytes {
  readonly dims: DimValues;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

export class CpuExecutable implements Executable {
  readonly program: Program;
  readonly layout: Layout;
  /** What each run is given, and what it makes besides state: few of the program's parameters and results, which are mostly layers'. */
  readonly inputs: readonly RunValue[];
  readonly outputs: readonly RunValue[];
  /** Of each entry; none where it was kept from an earlier start. */
  readonly costs: readonly (CostOf | undefined)[];
  readonly code: MappedCode;
  readonly constants: Memory;
  readonly scratchBytes: number;
  disposed = false;
  #bindings = 0;
  #bytes: ValueBytes | undefined;

  constructor(system: OperatingSystem, program: Program, { image, costs }: Linked) {
    this.program = program;
    const { layout } = image;
    this.layout = layout;
    this.inputs = program.parameters.flatMap(({ name, type, role }, i) =>
      role === 'input' ? [{ name, type, where: layout.parameters[i] }] : [],
    );
    const states = new Set(program.aliases.map(({ result }) => result));
    this.outputs = program.results.flatMap(({ name, type }, i) =>
      type.kind === 'tensor' && !states.has(i) ? [{ name, type: asTensor(type), where: layout.results[i] }] : [],
    );
    this.costs = costs;
    this.scratchBytes = layout.resultBytes.reduce((sum, bytes) => sum + bytes, layout.arenaBytes);
    this.constants = system.mapMemory(image.constants.length);
    this.constants.bytes().set(image.constants);
    this.code = system.mapCode(image.code);
  }

  /** What a run with these dimensions takes and makes. From one token to the next they stay. @throws IngotError as `resolveShape`. */
  bytesIn(dims: DimValues): ValueBytes {
    if (this.#bytes === undefined || !dimSymbols.every((sym) => this.#bytes?.dims[sym] === dims[sym])) {
      const bytesOf = ({ type }: RunValue) =>
        resolveShape(type.shape, dims).reduce((product, size) => product * size, elementBytes(type.element));
      this.#bytes = { dims: { ...dims }, inputs: this.inputs.map(bytesOf), outputs: this.outputs.map(bytesOf) };
    }
    return this.#bytes;
  }

  hold(): void {
    this.#bindings++;
  }

  release(): void {
    this.#bindings--;
    this.#free();
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    this.#free();
  }

  #free(): void {
    if (!this.disposed || this.#bindings > 0) return;
    this.code[Symbol.dispose]();
    this.constants[Symbol.dispose]();
  }
}

/** One run works while the inputs of the next are laid out. */
const workplaces = 2;

export class CpuBound implements Bound {
  readonly executable: CpuExecutable;
  readonly buffers: readonly (CpuBuffer | undefined)[];
  /** Says so if another process of the program is lost. */
  readonly lost: () => IngotError | undefined;
  readonly #make: () => Workplace;
  readonly #places: Workplace[];
  readonly #makeResults: () => LargeResults;
  /** That no run writes and nobody sees. */
  readonly #freeResults: LargeResults[];
  disposed = false;
  #runs = 0;
  /** Disposed while this may have been using them; no run begins any more. */
  readonly #lost: CpuBuffer[] = [];

  /** `make` and `makeResults`: take memory for one run more. @throws IngotError 'OutOfMemory'. */
  constructor(
    executable: CpuExecutable,
    buffers: readonly (CpuBuffer | undefined)[],
    make: () => Workplace,
    makeResults: () => LargeResults,
    lost: () => IngotError | undefined,
  ) {
    this.lost = lost;
    this.executable = executable;
    this.buffers = buffers;
    this.#make = make;
    this.#places = [make()];
    this.#makeResults = makeResults;
    try {
      this.#freeResults = [makeResults()];
    } catch (error) {
      for (const place of this.#places) place[Symbol.dispose]();
      throw error;
    }
    executable.hold();
    for (const buffer of buffers) buffer?.join(this);
  }

  /** Whether a run is on, or waits. */
  get running(): boolean {
    return this.#runs > 0;
  }

  /** The index of the first of its buffers that was disposed; -1 if none was. */
  get gone(): number {
    return this.#lost.length === 0 ? -1 : this.buffers.findIndex((buffer) => buffer?.disposed);
  }

  lose(buffer: CpuBuffer): void {
    this.#lost.push(buffer);
  }

  /** A place that no run uses, with memory for large results; undefined if there is none, nor memory for one more. */
  freePlace(): Workplace | undefined {
    try {
      let place = this.#places.find(({ busy }) => !busy);
      if (place === undefined && this.#places.length < workplaces) {
        place = this.#make();
        this.#places.push(place);
      }
      if (place !== undefined) place.results = this.#freeResults.pop() ?? this.#makeResults();
      return place;
    } catch (error) {
      if (isIngotError(error, 'OutOfMemory')) return undefined;
      throw error;
    }
  }

  giveBack(results: LargeResults): void {
    if (this.#isFreed()) for (const result of results) result?.[Symbol.dispose]();
    else this.#freeResults.push(results);
  }

  hold(): void {
    this.#runs++;
  }

  release(): void {
    this.#runs--;
    for (const buffer of this.#lost) buffer.freeUnlessUsed();
    this.#free();
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    this.#free();
  }

  #isFreed(): boolean {
    return this.disposed && this.#runs === 0;
  }

  #free(): void {
    if (!this.#isFreed()) return;
    for (const place of this.#places) place[Symbol.dispose]();
    for (const results of this.#freeResults.splice(0)) this.giveBack(results);
    for (const buffer of this.buffers) buffer?.leave(this);
    this.executable.release();
  }
}
