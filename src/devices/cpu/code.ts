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
import type { CodeCache, StoredCode } from './code-cache.ts';
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

/** A kernel of a plan. */
interface PlannedKernel {
  /** Equal for equal kernels of a target. */
  readonly key: string;
  readonly loops?: Kernel;
  emit(): EmittedKernel;
  /** `name`: what it was emitted with. */
  title(name: string): string;
}

/** Each once. */
function* plannedKernels(plan: Plan, target: Target): Generator<PlannedKernel> {
  const seen = new Set<string>();
  const isNew = (key: string) => !seen.has(key) && seen.add(key);
  for (const step of allSteps(plan)) {
    if (step.kind === 'launch' || step.kind === 'copy') {
      const loops = step.kernel;
      const key = keyOf(loops);
      if (isNew(key)) yield { key, loops, emit: () => emitKernel(loops, target), title: () => kernelTitle(loops) };
    }
    if (step.kind === 'composite') {
      for (const { key, kernel, dims } of compositeKernels(step.group, target)) {
        if (isNew(key)) yield { key, emit: kernel, title: (name) => `${name} [${dims.join(', ')}]` };
      }
    }
  }
}

/** Numbers what has the name of another. */
function distinctNames(): (title: string) => string {
  const counts = new Map<string, number>();
  return (title) => {
    const count = (counts.get(title) ?? 0) + 1;
    counts.set(title, count);
    return count === 1 ? title : `${title} #${count}`;
  };
}

/** Every kernel of a plan, for people; no two have one name. @throws IngotError 'UnsupportedOp'. */
export function emitKernels(plan: Plan, target: Target): readonly Emitted[] {
  const nameOf = distinctNames();
  return [...plannedKernels(plan, target)].map(({ emit, title, loops }) => {
    const emitted = emit();
    return { name: nameOf(title(emitted.name)), emitted, ...(loops && { loops }) };
  });
}

/** What runs: from the cache where it is there. */
function codeOf({ key, emit }: PlannedKernel, { name: set }: Target, cache: CodeCache | undefined): StoredCode {
  const whole = `${set}\n${key}`;
  const known = cache?.find(whole);
  if (known !== undefined) return known;
  const { name, bytes, alignment } = emit();
  const made = { name, bytes, alignment };
  cache?.keep(whole, made);
  return made;
}

/** @throws IngotError 'UnsupportedOp' for what cannot be emitted, 'OutOfMemory'. */
export async function makeCode(
  system: OperatingSystem,
  plan: Plan,
  target: Target,
  cache?: CodeCache,
): Promise<ProgramCode> {
  const nameOf = distinctNames();
  const pieces = new Map<string, StoredCode>();
  for (const planned of plannedKernels(plan, target)) {
    const code = codeOf(planned, target, cache);
    pieces.set(planned.key, { ...code, name: nameOf(planned.title(code.name)) });
  }
  const literals = new Set<Literal>();
  for (const step of allSteps(plan)) {
    for (const memory of memoryOf(step)) if (memory?.kind === 'constant') literals.add(memory.literal);
  }

  for (const memory of plan.main.results) if (memory?.kind === 'constant') literals.add(memory.literal);

  const offsets = new Map<string, KernelCode>();
  let codeBytes = 0;
  for (const [key, { name, bytes, alignment }] of pieces) {
    const offset = alignUp(codeBytes, Math.max(64, alignment));
    offsets.set(key, { name, offset });
    codeBytes = offset + bytes.length;
  }
  const code = new Uint8Array(Math.max(1, codeBytes)).fill(0xcc);
  for (const [key, { bytes }] of pieces) code.set(bytes, offsets.get(key)?.offset);

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
