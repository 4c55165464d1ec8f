/**
 * A program becomes closures: every op a step that reads and writes slots of a frame. A program with symbolic dimensions
 * is specialised for the dimension values of a run, so that every kernel knows its shapes; decoding repeats the same
 * values, and making the closures costs about a millisecond.
 *
 * A kernel gets a fresh array for each result, or the memory of an operand that nothing else needs (`ownership.ts`):
 * that is how state is updated in place, through calls and loops.
 */
import { IngotError } from '../../base/errors.ts';
import type { OpName } from '../../ir/attributes.ts';
import { type Collective, isCollective } from '../../ir/process-groups.ts';
import {
  type Func,
  findFunction,
  type Literal,
  type Op,
  type Program,
  type Region,
  type Value,
} from '../../ir/program.ts';
import { type DimValues, resolveShape, type Type } from '../../ir/types.ts';
import { type HostArray, hostArray } from '../../numerics/host-array.ts';
import { collectiveKernel, type Process, processId, type Suspended } from './collectives.ts';
import {
  elementCount,
  type Frame,
  type Kernel,
  type KernelMaker,
  type KernelSite,
  type RuntimeValue,
  type ScalarRegion,
  type Shaped,
  unsupported,
} from './kernel.ts';
import { kernels } from './kernels.ts';
import { type Aliases, RegionUses } from './ownership.ts';

/** What one run carries along. */
export interface Run {
  /** In milliseconds of `performance.now()`. */
  readonly deadline: number;
  readonly profile: Map<OpName, { calls: number; seconds: number }>;
  readonly process: Process;
}

/** What an op does: at once, or in pieces, between which other processes have their turn. */
type Action = { exec(frame: Frame, run: Run): void } | { walk(frame: Frame, run: Run): Suspended };

interface Step {
  readonly op: Op;
  readonly action: Action;
  /** Slots that nothing reads any more. */
  readonly dead: readonly number[];
}

interface RegionCode {
  readonly parameters: readonly number[];
  readonly steps: readonly Step[];
  readonly results: readonly number[];
  /** Bytes that its ops hold at once, at most. */
  readonly peakBytes: number;
  /** Results whose memory its ops made; the others lie in memory that it was given. */
  readonly made: readonly boolean[];
}

/** Where a result lies: memory made for it, that of an operand, or memory that the region was given. */
type Source = 'made' | 'given' | number;

type Lowered = Action & {
  /** Of each result, where it is not just another name for an operand. */
  readonly sources?: readonly Source[];
  /** Bytes that are needed only while it runs. */
  readonly inside?: number;
};

export interface FunctionCode {
  readonly region: RegionCode;
  readonly slots: number;
}

/** Splats up to this size are spread once. */
const keptSplatBytes = 1 << 16;

/** All arrays that constants share, decoded once a program. */
export type Constants = ReadonlyMap<Literal, (count: number) => HostArray>;

export function* runFunction(code: FunctionCode, values: readonly RuntimeValue[], run: Run): Suspended<RuntimeValue[]> {
  const frame: Frame = new Array(code.slots);
  return yield* runRegion(code.region, frame, values, run);
}

function* runRegion(
  region: RegionCode,
  frame: Frame,
  values: readonly RuntimeValue[],
  run: Run,
): Suspended<RuntimeValue[]> {
  const { parameters, steps, results } = region;
  for (let i = 0; i < parameters.length; i++) frame[parameters[i]] = values[i];
  for (const step of steps) {
    if (performance.now() > run.deadline) {
      throw new IngotError('DeadlineExceeded', `the run did not end by its deadline; it stopped at ${step.op.name}`, {
        op: step.op.name,
        device: 'reference',
      });
    }
    const { action } = step;
    if ('exec' in action) action.exec(frame, run);
    else yield* action.walk(frame, run);
    for (const slot of step.dead) frame[slot] = undefined;
  }
  return results.map((slot) => read(frame, slot));
}

function read(frame: Frame, slot: number): RuntimeValue {
  const value = frame[slot];
  if (value === undefined) throw new Error('a slot is read before it is written');
  return value;
}

function array(frame: Frame, slot: number): HostArray {
  return frame[slot] as HostArray;
}

/** Slots of one function: every value of it and of its regions has its own. */
class Slots {
  readonly #slots = new Map<Value, number>();
  of(value: Value): number {
    let slot = this.#slots.get(value);
    if (slot === undefined) {
      slot = this.#slots.size;
      this.#slots.set(value, slot);
    }
    return slot;
  }
  get count(): number {
    return this.#slots.size;
  }
}

/** A program for given values of its symbolic dimensions. */
export class Specialised {
  readonly main: FunctionCode;
  readonly #program: Program;
  readonly #dims: DimValues;
  readonly #constants: Constants;
  readonly #aliases: Aliases;
  readonly #functions = new Map<string, FunctionCode>();
  readonly #compiling = new Set<string>();

  /** `owned`: the parameters of main whose memory the run may overwrite. @throws IngotError 'UnsupportedOp'. */
  constructor(program: Program, aliases: Aliases, constants: Constants, dims: DimValues, owned: readonly boolean[]) {
    this.#program = program;
    this.#aliases = aliases;
    this.#constants = constants;
    this.#dims = dims;
    this.main = this.#function(program.main, owned);
  }

  #function(func: Func, owned: readonly boolean[]): FunctionCode {
    const key = `${func.name} ${owned.map(Number).join('')}`;
    const known = this.#functions.get(key);
    if (known !== undefined) return known;
    if (this.#compiling.has(func.name)) {
      throw new IngotError('InvalidProgram', `function ${func.name} calls itself`);
    }
    this.#compiling.add(func.name);
    const slots = new Slots();
    const region = this.#region(func, slots, owned);
    const code = { region, slots: slots.count };
    this.#compiling.delete(func.name);
    this.#functions.set(key, code);
    return code;
  }

  #region(
    region: Region,
    slots: Slots,
    owned: readonly boolean[],
    captured: (root: Value) => boolean = () => false,
  ): RegionCode {
    const uses = new RegionUses(region, this.#aliases, owned, captured);
    const live = new LiveBytes(this.#aliases);
    const steps = region.body.map((op, index): Step => {
      const { sources, inside = 0, ...action } = this.#step(op, slots, uses, index);
      sources?.forEach((source, r) => {
        const value = op.results[r];
        if (source === 'made') live.make(value, this.#bytes(value.type));
        else if (source !== 'given') live.move(op.operands[source], value);
      });
      live.inside(inside);
      for (const root of uses.rootsDyingAt(index)) live.free(root);
      return { op, action, dead: uses.valuesDyingAt(index).map((value) => slots.of(value)) };
    });
    return {
      parameters: region.parameters.map((value) => slots.of(value)),
      steps,
      results: region.results.map((value) => slots.of(value)),
      peakBytes: live.peak,
      made: region.results.map((value) => live.holds(value)),
    };
  }

  #shaped(type: Type): Shaped {
    if (type.kind !== 'tensor') throw new IngotError('InvalidProgram', `a ${type.kind} where a tensor is needed`);
    const shape = resolveShape(type.shape, this.#dims);
    return { element: type.element, shape, count: elementCount(shape) };
  }

  #bytes(type: Type): number {
    if (type.kind === 'token') return 0;
    if (type.kind === 'tuple') return type.parts.reduce((sum, part) => sum + this.#bytes(part), 0);
    const { element, count } = this.#shaped(type);
    const one = hostArray(element, 1);
    return one.byteLength * count;
  }

  #step(op: Op, slots: Slots, uses: RegionUses, index: number): Lowered {
    const operands = op.operands.map((value) => slots.of(value));
    const results = op.results.map((value) => slots.of(value));
    switch (op.name) {
      case 'constant': {
        const { value } = op.attributes;
        const read = () => this.#constant(value);
        // A splat as long as the step is made anew each time: kept for every specialisation they would fill the memory.
        if (value.splat && this.#bytes(value.type) > keptSplatBytes) {
          return { exec: (frame) => store(frame, results, [read()]), sources: ['made'] };
        }
        let data: HostArray | undefined;
        return {
          exec: (frame) => {
            data ??= read();
            store(frame, results, [data]);
          },
        };
      }
      case 'reshape':
      case 'optimization_barrier':
        return {
          exec: (frame) => {
            for (let i = 0; i < results.length; i++) frame[results[i]] = frame[operands[i]];
          },
        };
      case 'tuple': {
        const parts = (frame: Frame) => operands.map((slot) => read(frame, slot));
        return { exec: (frame) => store(frame, results, [parts(frame)]) };
      }
      case 'get_tuple_element': {
        const { index: part } = op.attributes;
        return { exec: (frame) => store(frame, results, [(frame[operands[0]] as readonly RuntimeValue[])[part]]) };
      }
      case 'custom_call':
        throw unsupported(op, `target ${op.attributes.call_target_name}`);
      case 'call':
      case 'composite': {
        const name = op.name === 'call' ? op.attributes.callee : op.attributes.decomposition;
        const func = findFunction(this.#program, name);
        if (func === undefined) throw new IngotError('InvalidProgram', `${op.name} of ${name}: no such function`);
        const code = this.#function(
          func,
          op.operands.map((_, i) => uses.takeable(index, i)),
        );
        return {
          *walk(frame, run) {
            const values = operands.map((slot) => read(frame, slot));
            store(frame, results, yield* runFunction(code, values, run));
          },
          sources: code.region.made.map((made) => (made ? 'made' : 'given')),
          inside: code.region.peakBytes,
        };
      }
      case 'if':
      case 'case': {
        const branches = op.regions.map((region) => this.#region(region, slots, [], uses.capturable(index)));
        const choose =
          op.name === 'if'
            ? (value: number) => (value !== 0 ? 0 : 1)
            : (value: number) => (value >= 0 && value < branches.length ? value : branches.length - 1);
        return {
          *walk(frame, run) {
            const branch = branches[choose(Number(array(frame, operands[0])[0]))];
            store(frame, results, yield* runRegion(branch, frame, [], run));
          },
          sources: results.map((_, i) => (branches.some(({ made }) => made[i]) ? 'made' : 'given')),
          inside: Math.max(...branches.map((branch) => branch.peakBytes)),
        };
      }
      case 'while': {
        const [conditionRegion, bodyRegion] = op.regions;
        const condition = this.#region(conditionRegion, slots, []);
        const all = op.operands.map(() => true);
        const body = this.#region(bodyRegion, slots, all);
        // The loop owns what it carries: what others still need is copied once on entry, or when the body hands it on.
        const copyIn = op.operands.map((_, i) => !uses.takeable(index, i));
        const bodyUses = new RegionUses(bodyRegion, this.#aliases, all);
        const copyBack = bodyRegion.results.map((_, i) => !bodyUses.resultIsOwn(i));
        return {
          *walk(frame, run) {
            let values = operands.map((slot, i) => (copyIn[i] ? copyValue(read(frame, slot)) : read(frame, slot)));
            while (array((yield* runRegion(condition, frame, values, run)) as Frame, 0)[0]) {
              const next = yield* runRegion(body, frame, values, run);
              values = next.map((value, i) => (copyBack[i] ? copyValue(value) : value));
            }
            store(frame, results, values);
          },
          sources: copyIn.map((copied, i) => (copied ? 'made' : i)),
          inside: Math.max(condition.peakBytes, body.peakBytes),
        };
      }
      case 'after_all':
        return { exec: (frame) => store(frame, results, [null]) };
      case 'partition_id':
      case 'replica_id':
        return {
          exec: (frame, { process }) => store(frame, results, [Uint32Array.of(processId(op, process))]),
          sources: ['made'],
        };
      default:
        if (isCollective(op)) return this.#collectiveStep(op, slots, operands, results);
        return this.#kernelStep(op, slots, operands, results, uses, index);
    }
  }

  #collectiveStep(op: Collective, slots: Slots, operands: readonly number[], results: readonly number[]): Lowered {
    const tensors = (values: readonly Value[]) =>
      values.flatMap(({ type }) => (type.kind === 'tensor' ? [this.#shaped(type)] : []));
    const outputs = tensors(op.results);
    const kernel = collectiveKernel({
      op,
      inputs: tensors(op.operands),
      outputs,
      scalarRegion: (i) => this.#scalarRegion(op.regions[i], slots),
    });
    return {
      *walk(frame, run) {
        const arrays = yield* kernel(
          operands.map((slot) => array(frame, slot)),
          frame,
          run.process,
        );
        // A token, where the op gives one, is the last result.
        store(frame, results, [...arrays, null].slice(0, results.length));
      },
      sources: op.results.map(() => 'made'),
    };
  }

  #kernelStep(
    op: Op,
    slots: Slots,
    operands: readonly number[],
    results: readonly number[],
    uses: RegionUses,
    index: number,
  ): Lowered {
    const { kernel, outputs } = this.#kernel(op, slots);
    const taken: (number | undefined)[] = [];
    for (let r = 0; r < outputs.length; r++) {
      taken.push(kernel.reuse?.[r]?.find((o) => !taken.includes(o) && uses.takeable(index, o)));
    }
    const exec = (frame: Frame, run: Run) => {
      const start = performance.now();
      const inputs = operands.map((slot) => array(frame, slot));
      const arrays = outputs.map(({ element, count }, r) => {
        const operand = taken[r];
        return operand === undefined ? hostArray(element, count) : inputs[operand];
      });
      kernel.run(inputs, arrays, frame);
      store(frame, results, arrays);
      const entry = run.profile.get(op.name) ?? { calls: 0, seconds: 0 };
      entry.calls++;
      entry.seconds += (performance.now() - start) / 1000;
      run.profile.set(op.name, entry);
    };
    return { exec, sources: taken.map((operand) => operand ?? 'made'), inside: kernel.scratchBytes ?? 0 };
  }

  #kernel(op: Op, slots: Slots): { kernel: Kernel; outputs: readonly Shaped[] } {
    const outputs = op.results.map((value) => this.#shaped(value.type));
    const site: KernelSite<OpName> = {
      op,
      inputs: op.operands.map((value) => this.#shaped(value.type)),
      outputs,
      scalarRegion: (i) => this.#scalarRegion(op.regions[i], slots),
    };
    // One table for all names: the row and its op agree by the name.
    const make = kernels[op.name as keyof typeof kernels] as KernelMaker<OpName>;
    return { kernel: make(site), outputs };
  }

  /** Every op keeps its result arrays, so that a run of the region allocates nothing (calls and loops aside). */
  #scalarRegion(region: Region, slots: Slots): ScalarRegion {
    const parameters = region.parameters.map((value) => {
      const { element, count } = this.#shaped(value.type);
      return hostArray(element, count);
    });
    const parameterSlots = region.parameters.map((value) => slots.of(value));
    const resultSlots = region.results.map((value) => slots.of(value));
    const uses = new RegionUses(region, this.#aliases, []);
    const steps = region.body.map((op, index): ((frame: Frame, run: Run) => void) => {
      if (!(op.name in kernels)) return atOnce(this.#step(op, slots, uses, index));
      const { kernel, outputs } = this.#kernel(op, slots);
      const operands = op.operands.map((value) => slots.of(value));
      const results = op.results.map((value) => slots.of(value));
      const inputs = new Array<HostArray>(operands.length);
      const arrays = outputs.map(({ element, count }) => hostArray(element, count));
      return (frame) => {
        for (let i = 0; i < operands.length; i++) inputs[i] = array(frame, operands[i]);
        kernel.run(inputs, arrays, frame);
        for (let i = 0; i < results.length; i++) frame[results[i]] = arrays[i];
      };
    });
    const run: Run = { deadline: Number.POSITIVE_INFINITY, profile: new Map(), process: alone };
    const results = new Array<HostArray>(resultSlots.length);
    let frame: Frame = [];
    return {
      parameters,
      results,
      enter(entered) {
        frame = entered;
        for (let i = 0; i < parameters.length; i++) frame[parameterSlots[i]] = parameters[i];
      },
      run() {
        for (let i = 0; i < steps.length; i++) steps[i](frame, run);
        for (let i = 0; i < results.length; i++) results[i] = array(frame, resultSlots[i]);
      },
    };
  }

  #constant(value: Literal): HostArray {
    const data = this.#constants.get(value);
    if (data === undefined) throw new Error('a constant was not read before compilation');
    return data(this.#shaped(value.type).count);
  }
}

/** The only process there is. */
const alone: Process = { rank: 0, grid: { replicas: 1, partitions: 1 } };

/** An action as one that waits for nobody: collectives do not stand in regions over scalars. */
function atOnce(action: Action): (frame: Frame, run: Run) => void {
  if ('exec' in action) return (frame, run) => action.exec(frame, run);
  return (frame, run) => {
    if (!action.walk(frame, run).next().done) throw new IngotError('InvalidProgram', 'a collective of scalars');
  };
}

/** Bytes of the arrays that a region's ops made, until their last use; by the root of the values that share one. */
class LiveBytes {
  readonly #aliases: Aliases;
  readonly #held = new Map<Value, number>();
  #now = 0;
  peak = 0;

  constructor(aliases: Aliases) {
    this.#aliases = aliases;
  }

  make(value: Value, bytes: number): void {
    if (!this.#aliases.roots(value).has(value)) return;
    this.free(value);
    this.#held.set(value, bytes);
    this.#now += bytes;
    this.inside(0);
  }

  /** The memory of an operand, if it was made here, becomes that of a result. */
  move(operand: Value, value: Value): void {
    for (const root of this.#aliases.roots(operand)) {
      const bytes = this.#held.get(root);
      this.free(root);
      if (bytes !== undefined) this.make(value, bytes);
    }
  }

  /** What an op needs while it runs. */
  inside(bytes: number): void {
    this.peak = Math.max(this.peak, this.#now + bytes);
  }

  free(root: Value): void {
    this.#now -= this.#held.get(root) ?? 0;
    this.#held.delete(root);
  }

  holds(value: Value): boolean {
    return [...this.#aliases.roots(value)].some((root) => this.#held.has(root));
  }
}

function store(frame: Frame, slots: readonly number[], values: readonly RuntimeValue[]): void {
  for (let i = 0; i < slots.length; i++) frame[slots[i]] = values[i];
}

function copyValue(value: RuntimeValue): RuntimeValue {
  if (value === null) return null;
  return ArrayBuffer.isView(value) ? value.slice() : value.map(copyValue);
}
