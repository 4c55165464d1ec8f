/**
 * The machine code of a plan: every distinct kernel emitted once (kernels are equal if they print alike), one after another,
 * and its constants.
 */
import type { Kernel } from '../../compiler/kernel/language.ts';
import type { Plan, Step } from '../../compiler/kernel/plan.ts';
import { kernelTitle, printKernel } from '../../compiler/kernel/print.ts';
import type { Literal } from '../../ir/program.ts';
import { maxBytes } from '../../ir/types.ts';
import { alignUp } from './align.ts';
import type { CodeCache } from './code-cache.ts';
import { compositeKernels } from './composites/table.ts';
import type { EmittedKernel } from './emit/abi.ts';
import { emitKernel } from './emit/emit.ts';
import type { KernelCode } from './image.ts';
import { keptKernel, kernelCode, type StoredCode } from './machine-code.ts';
import type { Target } from './target.ts';

export interface PlanCode {
  readonly target: Target;
  readonly bytes: Uint8Array;
  readonly constants: Uint8Array;
  kernel(kernel: Kernel): KernelCode;
  /** A hand-scheduled kernel of a composite, by the key that its row in composites/ gives it. */
  composite(key: string): KernelCode;
  /** Where in `constants` the elements of a constant lie. */
  constant(literal: Literal): number;
}

/** A kernel in machine code, and as the loops that it was made from where it was. */
export interface Emitted {
  readonly name: string;
  readonly emitted: EmittedKernel;
  readonly code: ReturnType<typeof kernelCode>;
  readonly loops?: Kernel;
}

/** A kernel of a plan. */
export interface PlannedKernel {
  /** Equal for equal kernels of a target. */
  readonly key: string;
  readonly loops?: Kernel;
  emit(): EmittedKernel;
  /** `name`: what it was emitted with. */
  title(name: string): string;
}

/** Each once. */
export function* plannedKernels(plan: Plan, target: Target): Generator<PlannedKernel> {
  const seen = new Set<string>();
  const isNew = (key: string) => !seen.has(key) && seen.add(key);
  for (const step of allSteps(plan)) {
    if (step.kind === 'launch' || step.kind === 'copy') {
      const loops = step.kernel;
      const key = keyOf(loops);
      if (isNew(key)) yield { key, loops, emit: () => emitKernel(loops, target), title: () => kernelTitle(loops) };
    }
    if (step.kind === 'composite') {
      for (const { key, kernel, dims } of compositeKernels(step.op, target, step.followers)) {
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
    const code = kernelCode(emitted, target);
    return { name: nameOf(title(emitted.name)), emitted, code, ...(loops && { loops }) };
  });
}

/** @throws IngotError 'UnsupportedOp' for what cannot be emitted. */
export async function makeCode(plan: Plan, target: Target, cache?: CodeCache): Promise<PlanCode> {
  const nameOf = distinctNames();
  const pieces = new Map<string, StoredCode>();
  for (const planned of plannedKernels(plan, target)) {
    const code = keptKernel(planned.key, planned.emit, target, cache);
    pieces.set(planned.key, { ...code, name: nameOf(planned.title(code.name)) });
  }
  const offsets = new Map<string, KernelCode>();
  let codeBytes = 0;
  for (const [key, { name, bytes, alignment }] of pieces) {
    const offset = alignUp(codeBytes, Math.max(64, alignment));
    offsets.set(key, { name, offset });
    codeBytes = offset + bytes.length;
  }
  const code = new Uint8Array(Math.max(1, codeBytes)).fill(0xcc);
  for (const [key, { bytes }] of pieces) code.set(bytes, offsets.get(key)?.offset);

  const { constants, places } = await layConstants(plan);
  const found = (key: string): KernelCode => {
    const entry = offsets.get(key);
    if (entry === undefined) throw new Error(`no code was made for ${key}`);
    return entry;
  };
  return {
    target,
    bytes: code,
    constants,
    kernel: (kernel) => found(keyOf(kernel)),
    composite: found,
    constant: (literal) => places.get(literal) ?? 0,
  };
}

/** The constants of a plan, each once. */
async function layConstants(plan: Plan) {
  const literals = new Set<Literal>();
  for (const step of allSteps(plan)) {
    for (const memory of memoryOf(step)) if (memory?.kind === 'constant') literals.add(memory.literal);
  }
  for (const memory of plan.main.results) if (memory?.kind === 'constant') literals.add(memory.literal);
  const places = new Map<Literal, number>();
  let length = 0;
  for (const literal of literals) {
    places.set(literal, length);
    length = alignUp(length + maxBytes(literal.type), 64);
  }
  const constants = new Uint8Array(Math.max(64, length));
  for (const [{ data, type }, offset] of places) {
    const bytes = data instanceof Uint8Array ? data : await data.read(0, data.length);
    const end = offset + maxBytes(type);
    for (let at = offset; at < end; at += bytes.length) constants.set(bytes, at);
  }
  return { constants, places };
}

const keys = new WeakMap<Kernel, string>();

function keyOf(kernel: Kernel): string {
  const known = keys.get(kernel);
  if (known !== undefined) return known;
  const key = printKernel({ ...kernel, name: '' });
  keys.set(kernel, key);
  return key;
}

/** Of all functions, nested ones too. */
export function* allSteps(plan: Plan): Generator<Step> {
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
      return [...step.memory.values(), ...step.followers.flatMap(({ memory }) => memory)];
    case 'exchange':
      return [...step.operands, ...step.results];
    case 'finish':
      return [];
    case 'branch':
      return [step.choice];
    case 'while':
      return [step.condition];
    default:
      return step satisfies never;
  }
}
