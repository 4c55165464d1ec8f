/** What the CPU device hands out: memory, executables, bindings. Each is freed when disposed and no longer in use. */
import type { Plan } from '../../compiler/kernel/plan.ts';
import type { Program } from '../../ir/program.ts';
import type { TensorType } from '../../ir/types.ts';
import type { Bound, DeviceBuffer, Executable, MemoryKind } from '../device.ts';
import type { ProgramCode } from './code.ts';
import { type Instance, layoutArena } from './instantiate.ts';
import type { Memory } from './os/os.ts';

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

export class CpuExecutable implements Executable {
  readonly program: Program;
  readonly plan: Plan;
  readonly code: ProgramCode;
  readonly scratchBytes: number;
  disposed = false;
  #bindings = 0;

  constructor(program: Program, plan: Plan, code: ProgramCode) {
    this.program = program;
    this.plan = plan;
    this.code = code;
    this.scratchBytes = layoutArena(plan, code.target).bytes;
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
    if (this.disposed && this.#bindings === 0) this.code[Symbol.dispose]();
  }
}

export class CpuBound implements Bound {
  readonly executable: CpuExecutable;
  readonly buffers: readonly (CpuBuffer | undefined)[];
  readonly arena: CpuBuffer;
  readonly instance: Instance;
  disposed = false;
  #runs = 0;

  constructor(
    executable: CpuExecutable,
    buffers: readonly (CpuBuffer | undefined)[],
    arena: CpuBuffer,
    instance: Instance,
  ) {
    this.executable = executable;
    this.buffers = buffers;
    this.arena = arena;
    this.instance = instance;
    executable.hold();
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
    this.instance[Symbol.dispose]();
    this.arena[Symbol.dispose]();
    this.executable.release();
  }
}
