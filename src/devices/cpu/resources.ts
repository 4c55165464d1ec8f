/** What the CPU device hands out: memory, executables, bindings. Each is freed when disposed and no longer in use. */
import { type IngotError, isIngotError } from '../../base/errors.ts';
import type { Program } from '../../ir/program.ts';
import { asTensor, type TensorType } from '../../ir/types.ts';
import type { Bound, DeviceBuffer, Executable, MemoryKind } from '../device.ts';
import type { Layout, Spot } from './image.ts';
import type { CostOf, Linked } from './link.ts';
import type { MappedCode, Memory, OperatingSystem } from './os/os.ts';
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
  #users = 0;

  constructor(device: Accounts, type: TensorType, kind: MemoryKind, memory: Memory, packed?: string) {
    this.device = device;
    this.type = type;
    this.kind = kind;
    this.memory = memory;
    this.packed = packed;
    this.bytes = memory.length;
    device.account(kind, this.bytes);
  }

  hold(): void {
    this.#users++;
  }

  release(): void {
    this.#users--;
    this.#free();
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    this.#free();
  }

  #free(): void {
    if (!this.disposed || this.#users > 0) return;
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
    this.scratchBytes = layout.arenaBytes;
    this.constants = system.mapMemory(image.constants.length);
    this.constants.bytes().set(image.constants);
    this.code = system.mapCode(image.code);
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
  disposed = false;
  #runs = 0;

  /** `make`: takes memory for one run more. @throws IngotError 'OutOfMemory'. */
  constructor(
    executable: CpuExecutable,
    buffers: readonly (CpuBuffer | undefined)[],
    make: () => Workplace,
    lost: () => IngotError | undefined,
  ) {
    this.lost = lost;
    this.executable = executable;
    this.buffers = buffers;
    this.#make = make;
    this.#places = [make()];
    executable.hold();
  }

  /** A place that no run uses; undefined if there is none, nor memory for a second one. */
  freePlace(): Workplace | undefined {
    const free = this.#places.find(({ busy }) => !busy);
    if (free !== undefined || this.#places.length === workplaces) return free;
    try {
      const another = this.#make();
      this.#places.push(another);
      return another;
    } catch (error) {
      if (isIngotError(error, 'OutOfMemory')) return undefined;
      throw error;
    }
  }

  hold(): void {
    this.#runs++;
    for (const buffer of this.buffers) buffer?.hold();
  }

  release(): void {
    this.#runs--;
    for (const buffer of this.buffers) buffer?.release();
    this.#free();
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    this.#free();
  }

  #free(): void {
    if (!this.disposed || this.#runs > 0) return;
    for (const place of this.#places) place[Symbol.dispose]();
    this.executable.release();
  }
}
