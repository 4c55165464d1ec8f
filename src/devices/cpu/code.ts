/**
 * The machine code of a program: every distinct kernel of its plan emitted once (kernels are equal if they print alike),
 * all in one mapping, and its constants in native memory.
 */
import type { Kernel } from '../../compiler/kernel/language.ts';
import type { Plan, Step } from '../../compiler/kernel/plan.ts';
import { kernelTitle, printKernel } from '../../compiler/kernel/print.ts';
import type { Literal } from '../../ir/program.ts';
import { maxBytes } from '../../ir/types.ts';
import { alignUp } from './align.ts';
import { compositeKernels } from './composites/table.ts';
import type { EmittedKernel } from './emit/abi.ts';
import { emitKernel } from './emit/emit.ts';
import type { MappedCode, Memory, OperatingSystem } from './os/os.ts';
import type { Target } from './target.ts';

/** A function in the code of a program. */
export interface KernelCode {
  readonly name: string;
  readonly offset: number;
}

export interface ProgramCode extends Disposable {
  readonly target: Target;
  readonly code: MappedCode;
  readonly constants: Memory;
  kernel(kernel: Kernel): KernelCode;
  /** A hand-scheduled kernel of a composite, by the key that its row in composites/ gives it. */
  composite(key: string): KernelCode;
  /** Address of a constant's elements. */
  constant(literal: Literal): number;
}

/** A kernel in machine code, and as the loops that it was made from where it was. */
export interface Emitted {
  readonly name: string;
  readonly emitted: EmittedKernel;
  readonly loops?: Kernel;
}

/** Every distinct kernel of a plan, by what makes it equal to others; no two have one name. @throws IngotError 'UnsupportedOp'. */
export function emitKernels(plan: Plan, target: Target): ReadonlyMap<string, Emitted> {
  const pieces = new Map<string, Emitted>();
  const counts = new Map<string, number>();
  const add = (key: string, title: string, emitted: EmittedKernel, loops?: Kernel) => {
    const count = (counts.get(title) ?? 0) + 1;
    counts.set(title, count);
    pieces.set(key, { name: count === 1 ? title : `${title} #${count}`, emitted, ...(loops && { loops }) });
  };
  for (const step of allSteps(plan)) {
    if (step.kind === 'launch' || step.kind === 'copy') {
      const { kernel } = step;
      const key = keyOf(kernel);
      if (!pieces.has(key)) add(key, kernelTitle(kernel), emitKernel(kernel, target), kernel);
    }
    if (step.kind === 'composite') {
      for (const { key, kernel, dims } of compositeKernels(step.group, target)) {
        if (pieces.has(key)) continue;
        const emitted = kernel();
        add(key, `${emitted.name} [${dims.join(', ')}]`, emitted);
      }
    }
  }
  return pieces;
}

/** @throws IngotError 'UnsupportedOp' for what cannot be emitted, 'OutOfMemory'. */
export async function makeCode(system: OperatingSystem, plan: Plan, target: Target): Promise<ProgramCode> {
  const pieces = emitKernels(plan, target);
  const literals = new Set<Literal>();
  for (const step of allSteps(plan)) {
    for (const memory of memoryOf(step)) if (memory?.kind === 'constant') literals.add(memory.literal);
  }

  for (const memory of plan.main.results) if (memory?.kind === 'constant') literals.add(memory.literal);

  const offsets = new Map<string, KernelCode>();
  let codeBytes = 0;
  for (const [key, { name, emitted }] of pieces) {
    const { bytes, alignment } = emitted;
    const offset = alignUp(codeBytes, Math.max(64, alignment));
    offsets.set(key, { name, offset });
    codeBytes = offset + bytes.length;
  }
  const code = new Uint8Array(Math.max(1, codeBytes)).fill(0xcc);
  for (const [key, { emitted }] of pieces) code.set(emitted.bytes, offsets.get(key)?.offset);

  const places = new Map<Literal, number>();
  let constantBytes = 0;
  for (const literal of literals) {
    places.set(literal, constantBytes);
    constantBytes = alignUp(constantBytes + maxBytes(literal.type), 64);
  }
  const constants = system.mapMemory(Math.max(64, constantBytes));
  for (const [literal, offset] of places) {
    const { data, splat } = literal;
    const bytes = data instanceof Uint8Array ? data : await data.read(0, data.length);
    const length = maxBytes(literal.type);
    const target = constants.bytes(offset, Math.max(1, length)).subarray(0, length);
    for (let at = 0; at < length; at += bytes.length) target.set(bytes, at);
    if (!splat && bytes.length !== length) target.set(bytes.subarray(0, length));
  }
  const mapped = system.mapCode(code);
  const found = (key: string): KernelCode => {
    const entry = offsets.get(key);
    if (entry === undefined) throw new Error(`no code was made for ${key}`);
    return entry;
  };
  return {
    target,
    code: mapped,
    constants,
    kernel: (kernel) => found(keyOf(kernel)),
    composite: found,
    constant: (literal) => constants.address + (places.get(literal) ?? 0),
    [Symbol.dispose]() {
      mapped[Symbol.dispose]();
      constants[Symbol.dispose]();
    },
  };
}

const keys = new WeakMap<Kernel, string>();

function keyOf(kernel: Kernel): string {
  const known = keys.get(kernel);
  if (known !== undefined) return known;
  const key = printKernel({ ...kernel, name: '' });
  keys.set(kernel, key);
  return key;
}

function* allSteps(plan: Plan): Generator<Step> {
  for (const { steps } of plan.functions.values()) yield* nested(steps);
}

function* nested(steps: readonly Step[]): Generator<Step> {
  for (const step of steps) {
    yield step;
    if (step.kind === 'branch') for (const branch of step.branches) yield* nested(branch);
    if (step.kind === 'while') {
      yield* nested(step.before);
      yield* nested(step.body);
    }
  }
}

function memoryOf(step: Step) {
  switch (step.kind) {
    case 'launch':
    case 'copy':
      return step.memory;
    case 'call':
      return [...step.parameters, ...step.results];
    case 'composite':
      return [...step.memory.values()];
    case 'branch':
      return [step.choice];
    case 'while':
      return [step.condition];
    default:
      return step satisfies never;
  }
}
