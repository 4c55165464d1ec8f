/**
 * The machine code of a plan: every distinct kernel emitted once (kernels are equal if they print alike), one after another,
 * and its constants.
 */
import type { Kernel } from '../../compiler/kernel/language.ts';
import type { Literal } from '../../ir/program.ts';
import { maxBytes } from '../../ir/types.ts';
import { alignUp } from './align.ts';
import type { CodeCache } from './code-cache.ts';
import type { EmittedKernel } from './emit/abi.ts';
import type { KernelCode } from './image.ts';
import { allLaunchSteps, distinctLaunches, type LaunchPlan, type LaunchStep } from './launches.ts';
import { keptKernel, kernelCode, type StoredCode } from './machine-code.ts';

export interface PlanCode {
  readonly bytes: Uint8Array;
  readonly constants: Uint8Array;
  /** By the key of its launches. */
  kernel(key: string): KernelCode;
  /** Where in `constants` the elements of a constant lie. */
  constant(literal: Literal): number;
}

/** A kernel in machine code, and as the loops that it was made from where it was, or that are in it. */
export interface Emitted {
  readonly name: string;
  readonly emitted: EmittedKernel;
  readonly code: ReturnType<typeof kernelCode>;
  readonly loops?: Kernel;
  readonly loopsWithin: readonly Kernel[];
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

/** Every kernel, for people; no two have one name. @throws IngotError 'UnsupportedOp'. */
export function emitKernels(launches: LaunchPlan): readonly Emitted[] {
  const nameOf = distinctNames();
  return [...distinctLaunches(launches)].map(({ emit, title, loops, loopsWithin }) => {
    const emitted = emit();
    const code = kernelCode(emitted, launches.target);
    return { name: nameOf(title(emitted.name)), emitted, code, loopsWithin, ...(loops && { loops }) };
  });
}

/** @throws IngotError 'UnsupportedOp' for what cannot be emitted. */
export async function makeCode(launches: LaunchPlan, cache?: CodeCache): Promise<PlanCode> {
  const nameOf = distinctNames();
  const pieces = new Map<string, StoredCode>();
  for (const { key, emit, title } of distinctLaunches(launches)) {
    const code = keptKernel(key, emit, launches.target, cache);
    pieces.set(key, { ...code, name: nameOf(title(code.name)) });
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

  const { constants, places } = await layConstants(launches);
  return {
    bytes: code,
    constants,
    kernel(key) {
      const entry = offsets.get(key);
      if (entry === undefined) throw new Error(`no code was made for ${key}`);
      return entry;
    },
    constant: (literal) => places.get(literal) ?? 0,
  };
}

/** The constants of a plan, each once. */
async function layConstants(launches: LaunchPlan) {
  const literals = new Set<Literal>();
  for (const step of allLaunchSteps(launches)) {
    for (const memory of memoryOf(step)) if (memory?.kind === 'constant') literals.add(memory.literal);
  }
  for (const memory of launches.plan.main.results) if (memory?.kind === 'constant') literals.add(memory.literal);
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

function memoryOf(step: LaunchStep) {
  switch (step.kind) {
    case 'launch':
    case 'copy':
      return step.launch.memory;
    case 'call':
      return [...step.parameters, ...step.results];
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
