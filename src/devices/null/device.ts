/**
 * A device that computes nothing: it compiles, counts memory as files have it, and gives zeros. For scheduling and planning
 * where there is no hardware, or none that is large enough; weights are not read.
 */
import { IngotError } from '../../base/errors.ts';
import type { Hardware } from '../../compiler/cost.ts';
import { planMemory } from '../../compiler/plan-memory.ts';
import type { Parameter, Pass, Program } from '../../ir/program.ts';
import {
  asTensor,
  type DimValues,
  formatType,
  maxBytes,
  resolveShape,
  sameType,
  type TensorType,
  tensor,
} from '../../ir/types.ts';
import { elementBytes } from '../../numerics/element-types.ts';
import { blockFormat } from '../../numerics/quant/formats.ts';
import type { Bound, Device, DeviceBuffer, Executable, MemoryKind, Profile, Ticket, WeightSource } from '../device.ts';

/** `hardware`: what is to be planned for. */
export function createNullDevice(hardware: Hardware): Device {
  return new NullDevice(hardware);
}

interface Run {
  readonly program: Program;
  readonly dims: DimValues;
}

class NullDevice implements Device {
  readonly name = 'null';
  readonly runsAhead = 2;
  readonly hardware: Hardware;
  readonly #memory = {
    weights: { now: 0, peak: 0 },
    state: { now: 0, peak: 0 },
    scratch: { now: 0, peak: 0 },
  };
  readonly #pending = new Map<number, Run>();
  #runs = 0;
  #nextId = 1;

  constructor(hardware: Hardware) {
    this.hardware = hardware;
  }

  async compile(built: Program, passes?: Pass): Promise<Executable> {
    const program = passes?.(built) ?? built;
    // As on a device with a kernel for every composite.
    const { scratchBytes } = planMemory(program, () => true);
    return { program, scratchBytes, [Symbol.dispose]() {} };
  }

  packedBytes({ format, shape }: Pick<WeightSource, 'format' | 'shape'>): number {
    const { blockSize, blockBytes } = blockFormat(format);
    return (shape.reduce((a, b) => a * b, 1) / blockSize) * blockBytes;
  }

  async pack(weight: WeightSource): Promise<DeviceBuffer> {
    return this.#take(tensor('f32', weight.shape), 'weights', this.packedBytes(weight), `weight ${weight.name}`);
  }

  async allocate(type: TensorType, kind: MemoryKind): Promise<DeviceBuffer> {
    return this.#take(type, kind, maxBytes(type), formatType(type));
  }

  #take(type: TensorType, kind: MemoryKind, bytes: number, what: string): DeviceBuffer {
    const left = Object.values(this.#memory).reduce((rest, { now }) => rest - now, this.hardware.memoryBytes);
    if (bytes > left) {
      const message = `${what} needs ${bytes} bytes, ${this.hardware.name} has ${left} left`;
      throw new IngotError('OutOfMemory', message, { device: this.name });
    }
    const use = this.#memory[kind];
    use.now += bytes;
    use.peak = Math.max(use.peak, use.now);
    let held = bytes;
    return {
      ...{ type, kind, bytes },
      [Symbol.dispose]() {
        use.now -= held;
        held = 0;
      },
    };
  }

  async bind(
    executable: Executable,
    weights: ReadonlyMap<string, DeviceBuffer>,
    state: ReadonlyMap<string, DeviceBuffer>,
  ): Promise<Bound> {
    for (const { name, role, type } of executable.program.parameters) {
      if (role === 'input') continue;
      const buffer = (role === 'weight' ? weights : state).get(name);
      if (buffer === undefined) throw invalid(`${role} ${name} is missing`);
      if (!sameType(buffer.type, type)) {
        throw invalid(`${role} ${name} is ${formatType(buffer.type)}, the program takes ${formatType(type)}`);
      }
    }
    return { executable, [Symbol.dispose]() {} };
  }

  submit({ executable: { program } }: Bound, inputs: ReadonlyMap<string, ArrayBufferView>, dims: DimValues): Ticket {
    for (const parameter of program.parameters) if (parameter.role === 'input') checkInput(parameter, inputs, dims);
    const id = this.#nextId++;
    this.#pending.set(id, { program, dims });
    return { id };
  }

  async wait({ id }: Ticket): Promise<ReadonlyMap<string, ArrayBufferView>> {
    const run = this.#pending.get(id);
    if (run === undefined) throw invalid(`ticket ${id} is not pending`);
    this.#pending.delete(id);
    this.#runs++;
    const { results, aliases } = run.program;
    const own = results.filter((_, i) => !aliases.some(({ result }) => result === i));
    return new Map(own.map(({ name, type }) => [name, new Uint8Array(bytesOf(asTensor(type), run.dims))]));
  }

  write(): void {}

  async read(buffer: DeviceBuffer, offset = 0, length = buffer.bytes - offset): Promise<Uint8Array> {
    return new Uint8Array(length);
  }

  memory(): ReturnType<Device['memory']> {
    return this.#memory;
  }

  profile(): Profile {
    const runs = this.#runs;
    this.#runs = 0;
    return { runs, seconds: 0, kernels: [] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#pending.clear();
  }
}

function invalid(message: string): IngotError {
  return new IngotError('InvalidArgument', message, { device: 'null' });
}

function bytesOf({ element, shape }: TensorType, dims: DimValues): number {
  return resolveShape(shape, dims).reduce((a, b) => a * b, elementBytes(element));
}

function checkInput({ name, type }: Parameter, inputs: ReadonlyMap<string, ArrayBufferView>, dims: DimValues): void {
  const view = inputs.get(name);
  const bytes = bytesOf(type, dims);
  if (view?.byteLength !== bytes) {
    throw invalid(`input ${name} has ${view?.byteLength ?? 'no'} bytes, ${formatType(type)} needs ${bytes}`);
  }
}
