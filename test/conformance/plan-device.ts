/** The loop language as a device, for tests: programs are planned, their kernels evaluated over host memory. */
import { inlineComposites } from '../../src/compiler/inline.ts';
import { checkKernel } from '../../src/compiler/kernel/check.ts';
import { type Address, type Evaluator, evaluatorOf } from '../../src/compiler/kernel/evaluate.ts';
import type { Kernel } from '../../src/compiler/kernel/language.ts';
import { type Plan, planProgram, type Step } from '../../src/compiler/kernel/plan.ts';
import { PlanRun } from '../../src/compiler/kernel/run-plan.ts';
import type {
  Bound,
  Device,
  DeviceBuffer,
  Executable,
  MemoryKind,
  Ticket,
  WeightSource,
} from '../../src/devices/device.ts';
import type { Literal, Program } from '../../src/ir/program.ts';
import { rewriteProgram } from '../../src/ir/rewrite.ts';
import { asTensor, type DimValues, maxBytes, resolveShape, type TensorType, tensor } from '../../src/ir/types.ts';
import { reachable, walk } from '../../src/ir/walk.ts';
import { elementBytes } from '../../src/numerics/element-types.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';

interface HostBuffer extends DeviceBuffer {
  readonly memory: Uint8Array<ArrayBuffer>;
}

interface PlannedExecutable extends Executable {
  readonly plan: Plan;
}

interface PlannedBound extends Bound {
  readonly executable: PlannedExecutable;
  readonly parameters: readonly (Address | undefined)[];
}

function hostBuffer(type: TensorType, kind: MemoryKind): HostBuffer {
  const bytes = maxBytes(type);
  return { type, kind, bytes, memory: new Uint8Array(bytes), [Symbol.dispose]() {} };
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function count(type: TensorType, dims: DimValues): number {
  return resolveShape(type.shape, dims).reduce((product, extent) => product * extent, elementBytes(type.element));
}

/** Every kernel keeps the rules of the language. */
function checkSteps(steps: readonly Step[]): void {
  for (const step of steps) {
    if (step.kind === 'launch' || step.kind === 'copy') checkKernel(step.kernel);
    else if (step.kind === 'branch') step.branches.forEach(checkSteps);
    else if (step.kind === 'while') [step.before, step.body].forEach(checkSteps);
  }
}

/** Constants that lie elsewhere, read. */
async function withConstants(program: Program): Promise<Program> {
  const read = new Map<Literal, Literal>();
  for (const func of reachable(program)) {
    for (const op of walk(func)) {
      if (op.name !== 'constant' || op.attributes.value.data instanceof Uint8Array) continue;
      const { data, ...rest } = op.attributes.value;
      read.set(op.attributes.value, { ...rest, data: await data.read(0, data.length) });
    }
  }
  return rewriteProgram(program, (op, { b }) => {
    const literal = op.name === 'constant' ? read.get(op.attributes.value) : undefined;
    return literal && [b.literal(literal)];
  });
}

export function createPlanDevice(evaluator: (kernel: Kernel) => Evaluator = evaluatorOf): Device {
  const results = new Map<number, ReadonlyMap<string, ArrayBufferView>>();
  let tickets = 0;
  return {
    name: 'reference',
    runsAhead: 2,
    hardware: {
      name: 'loop language',
      memoryBytes: 2 ** 40,
      threads: 1,
      readBytesPerSecond: 1,
      operationsPerSecond: {},
    },
    async compile(program: Program): Promise<PlannedExecutable> {
      const plan = planProgram(inlineComposites(await withConstants(program), () => false));
      for (const { steps } of plan.functions.values()) checkSteps(steps);
      return { program, plan, scratchBytes: plan.main.frameBytes + plan.scratchBytes, [Symbol.dispose]() {} };
    },
    packedBytes: ({ shape }) => maxBytes(tensor('f32', shape)),
    async pack({ format, shape, bytes }: WeightSource) {
      const buffer = hostBuffer(tensor('f32', shape), 'weights');
      blockFormat(format).decode(await bytes.read(0, bytes.length), new Float32Array(buffer.memory.buffer));
      return buffer;
    },
    allocate: async (type, kind) => hostBuffer(type, kind),
    async bind(executable, weights, state) {
      const parameters = executable.program.parameters.map(({ name }): Address | undefined => {
        const buffer = (weights.get(name) ?? state.get(name)) as HostBuffer | undefined;
        return buffer && { bytes: buffer.memory, offset: 0 };
      });
      const bound: PlannedBound = {
        executable: executable as PlannedExecutable,
        parameters,
        [Symbol.dispose]() {},
      };
      return bound;
    },
    submit(bound, inputs, dims): Ticket {
      const { executable, parameters } = bound as PlannedBound;
      const { plan, program } = executable;
      // Poisoned: nothing may rest on memory being zero.
      const frame = new Uint8Array(plan.main.frameBytes).fill(0xa5);
      const run = new PlanRun(plan, dims, evaluator);
      run.inputs(frame, parameters).forEach((address, i) => {
        const view = inputs.get(program.parameters[i].name);
        if (view !== undefined && address !== undefined) address.bytes.set(bytesOf(view), address.offset);
      });
      const addresses = run.run(frame, parameters);
      const named = new Map<string, ArrayBufferView>();
      program.results.forEach(({ name, type }, i) => {
        const alias = program.aliases.find(({ result }) => result === i);
        const address = addresses[i];
        if (address === undefined) return;
        const length = count(asTensor(type), dims);
        const bytes = address.bytes.slice(address.offset, address.offset + length);
        if (alias === undefined) named.set(name, bytes);
        else {
          const home = parameters[alias.parameter];
          if (home === undefined) throw new Error('state without memory');
          if (home.bytes !== address.bytes) throw new Error(`state ${name} was copied`);
        }
      });
      tickets++;
      results.set(tickets, named);
      return { id: tickets };
    },
    async wait({ id }) {
      return results.get(id) ?? new Map();
    },
    write(buffer, bytes, offset = 0) {
      (buffer as HostBuffer).memory.set(bytesOf(bytes), offset);
    },
    async read(buffer, offset = 0, length) {
      const { memory } = buffer as HostBuffer;
      return memory.slice(offset, length === undefined ? undefined : offset + length);
    },
    memory: () => ({ weights: { now: 0, peak: 0 }, state: { now: 0, peak: 0 }, scratch: { now: 0, peak: 0 } }),
    profile: () => ({ runs: 0, seconds: 0, kernels: [] }),
    async [Symbol.asyncDispose]() {},
  };
}
