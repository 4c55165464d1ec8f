/**
 * What a plan launches on a target, in the order of its steps: loops and the kernels of composites alike. What several launches want made ready
 * is made once, and rows that are only made for the next launch to prepare go through both at once (kernels/row-chain.ts). Code is made from
 * these lists (code.ts), and arguments are laid out (link.ts).
 */
import type { Cost } from '../../compiler/cost.ts';
import { kernelCost } from '../../compiler/kernel/kernel-cost.ts';
import type { Kernel } from '../../compiler/kernel/language.ts';
import type { Memory, Plan, Step } from '../../compiler/kernel/plan.ts';
import { kernelTitle, printKernel } from '../../compiler/kernel/print.ts';
import { rowOf } from '../../compiler/kernel/row.ts';
import type { Func } from '../../ir/program.ts';
import { type DimSymbol, resolveDim } from '../../ir/types.ts';
import { elementBytes } from '../../numerics/element-types.ts';
import type { CompositeLaunch } from './composites/composite-kernel.ts';
import { compositeKernels } from './composites/table.ts';
import type { EmittedKernel } from './emit/abi.ts';
import { emitKernel } from './emit/emit.ts';
import { type RowPart, rowChainKernel } from './kernels/row-chain.ts';
import type { RunFacts } from './profile.ts';
import type { Target } from './target.ts';

export interface Launch {
  /** Equal for equal kernels of a target. */
  readonly key: string;
  /** What it is made of; otherwise it is written by hand, with loops in it or none. */
  readonly loops?: Kernel;
  readonly loopsWithin: readonly Kernel[];
  emit(): EmittedKernel;
  /** `name`: what it was emitted with. */
  title(name: string): string;
  /** One a buffer. */
  readonly memory: readonly Memory[];
  readonly dims: readonly DimSymbol[];
  cost(run: RunFacts): Cost;
}

export type LaunchStep =
  /** A `copy` is nothing to do where its two memories are one. */
  | { readonly kind: 'launch' | 'copy'; readonly launch: Launch }
  | Extract<Step, { kind: 'call' | 'exchange' | 'finish' }>
  | (Omit<Extract<Step, { kind: 'branch' }>, 'branches'> & { readonly branches: readonly (readonly LaunchStep[])[] })
  | (Omit<Extract<Step, { kind: 'while' }>, 'before' | 'body'> & {
      readonly before: readonly LaunchStep[];
      readonly body: readonly LaunchStep[];
    });

export interface LaunchPlan {
  readonly plan: Plan;
  readonly target: Target;
  readonly steps: ReadonlyMap<Func, readonly LaunchStep[]>;
  /** Memory that launches use one after another. */
  readonly scratchBytes: number;
}

/** @throws IngotError 'UnsupportedOp'. */
export function planLaunches(plan: Plan, target: Target): LaunchPlan {
  let { scratchBytes } = plan;
  const needs = (bytes: number) => {
    scratchBytes = Math.max(scratchBytes, bytes);
  };
  const steps = new Map(
    [...plan.functions].map(([func, { steps }]) => [func, new LaunchList(target, needs).of(steps)] as const),
  );
  return { plan, target, steps, scratchBytes };
}

/** Of all functions, nested ones too. */
export function* allLaunchSteps({ steps }: LaunchPlan): Generator<LaunchStep> {
  for (const list of steps.values()) yield* nested(list);
}

function* nested(steps: readonly LaunchStep[]): Generator<LaunchStep> {
  for (const step of steps) {
    yield step;
    if (step.kind === 'branch') for (const branch of step.branches) yield* nested(branch);
    if (step.kind === 'while') {
      yield* nested(step.before);
      yield* nested(step.body);
    }
  }
}

/** Each kernel of the launches once. */
export function* distinctLaunches(launches: LaunchPlan): Generator<Launch> {
  const seen = new Set<string>();
  for (const step of allLaunchSteps(launches)) {
    if ((step.kind !== 'launch' && step.kind !== 'copy') || seen.has(step.launch.key)) continue;
    seen.add(step.launch.key);
    yield step.launch;
  }
}

/** Bytes of scratch that a launch has made of values. */
type Prepared = { readonly key: string } & NonNullable<CompositeLaunch['prepares']>;

/** The launches of steps that follow one another. */
class LaunchList {
  readonly #target: Target;
  readonly #needs: (scratchBytes: number) => void;
  readonly #list: LaunchStep[] = [];
  /** What lies in scratch as far as that is known: what composites have prepared of values. */
  #prepared: readonly Prepared[] = [];

  constructor(target: Target, needs: (scratchBytes: number) => void) {
    this.#target = target;
    this.#needs = needs;
  }

  of(steps: readonly Step[]): readonly LaunchStep[] {
    for (const step of steps) this.#step(step);
    return this.#list;
  }

  #step(step: Step): void {
    switch (step.kind) {
      case 'launch':
      case 'copy':
        if (step.memory.some(({ kind }) => kind === 'scratch')) this.#prepared = [];
        this.#list.push({ kind: step.kind, launch: loopLaunch(step.kernel, step.memory, this.#target) });
        return;
      case 'composite': {
        const launches = compositeKernels(step.op, this.#target, step.followers);
        const scratch = launches.some(({ buffers }) => buffers.some((buffer) => 'scratch' in buffer));
        if (scratch && launches.every(({ prepares }) => prepares === undefined)) this.#prepared = [];
        for (const launch of launches) {
          const { key, scratchBytes, prepares } = launch;
          this.#needs(scratchBytes);
          if (prepares === undefined || this.#prepare({ key, ...prepares })) this.#composite(launch, step);
        }
        return;
      }
      case 'exchange':
      case 'finish':
        this.#list.push(step);
        return;
      case 'call':
        this.#list.push(step);
        this.#prepared = [];
        return;
      case 'branch':
        this.#list.push({ ...step, branches: step.branches.map((branch) => this.#nested(branch)) });
        this.#prepared = [];
        return;
      case 'while':
        this.#list.push({ ...step, before: this.#nested(step.before), body: this.#nested(step.body) });
        this.#prepared = [];
        return;
      default:
        step satisfies never;
    }
  }

  #nested(steps: readonly Step[]): readonly LaunchStep[] {
    return new LaunchList(this.#target, this.#needs).of(steps);
  }

  #composite({ key, kernel, buffers, dims, cost, row }: CompositeLaunch, step: Extract<Step, { kind: 'composite' }>) {
    const memory = buffers.map((buffer): Memory => {
      if ('scratch' in buffer) return { kind: 'scratch', offset: buffer.scratch };
      const place =
        'value' in buffer ? step.memory.get(buffer.value) : step.followers[buffer.follower]?.memory[buffer.i];
      if (place === undefined) throw new Error('an operand of a composite has no memory');
      return place;
    });
    const title = (name: string) => `${name} [${dims.join(', ')}]`;
    const isLast = buffers.some((buffer) => 'follower' in buffer);
    const loopsWithin = isLast ? step.followers.map((follower) => follower.kernel) : [];
    const launch: Launch = { key, loopsWithin, emit: kernel, title, memory, dims, cost };
    const before = this.#list.at(-1);
    const chain =
      row !== undefined && before?.kind === 'launch' ? chained(before.launch, launch, row, this.#target) : undefined;
    if (chain !== undefined) this.#list.pop();
    this.#list.push({ kind: 'launch', launch: chain ?? launch });
  }

  /** Whether that has to be done: several products of the same activations prepare them once. */
  #prepare(next: Prepared): boolean {
    const isThere = ({ key, of }: Prepared) => key === next.key && of.every((value, i) => value === next.of[i]);
    if (this.#prepared.some(isThere)) return false;
    const kept = this.#prepared.filter(({ from, to }) => to <= next.from || next.to <= from);
    this.#prepared = [...kept, next];
    return true;
  }
}

const keys = new WeakMap<Kernel, string>();

function keyOf(kernel: Kernel): string {
  const known = keys.get(kernel);
  if (known !== undefined) return known;
  const key = printKernel({ ...kernel, name: '' });
  keys.set(kernel, key);
  return key;
}

function loopLaunch(loops: Kernel, memory: readonly Memory[], target: Target): Launch {
  return {
    key: keyOf(loops),
    loops,
    loopsWithin: [],
    emit: () => emitKernel(loops, target),
    title: () => kernelTitle(loops),
    memory,
    dims: loops.dims,
    cost: ({ dims }) => kernelCost(loops, dims),
  };
}

/** What a composite's kernel does to one row of its buffers. */
type RowOfComposite = NonNullable<CompositeLaunch['row']>;

/** Loops over rows and what is prepared of their result, as one launch: undefined where threads would share less than before. */
function chained(first: Launch, second: Launch, row: RowOfComposite, target: Target): Launch | undefined {
  const { loops } = first;
  const own = loops && rowOf(loops);
  const rows = typeof row.tokens === 'number' ? row.tokens : row.tokens.sym;
  if (loops === undefined || own?.rows !== rows || own.kernel.dims.length > 0) return undefined;
  if (first.memory.some(({ kind }) => kind === 'scratch')) return undefined;
  const bytes = loops.buffers.map(({ element }, i) => own.strides[i] * elementBytes(element));
  const made = loops.buffers.findIndex(
    ({ access }, i) => access === 'write' && isSame(first.memory[i], second.memory[0]),
  );
  if (made < 0 || bytes[made] !== row.bytes[0]) return undefined;
  const parts = (): readonly RowPart[] => [
    { kernel: emitKernel(own.kernel, target), bytes },
    { kernel: row.kernel(), bytes: row.bytes },
  ];
  return {
    key: `rows ${first.key}\n${second.key}`,
    loopsWithin: [loops],
    emit: () => rowChainKernel(row.tokens, parts()),
    title: (name) => `${name} [${second.dims.join(', ')}]`,
    memory: [...first.memory, ...second.memory],
    dims: second.dims,
    cost(run) {
      const [a, b] = [first.cost(run), second.cost(run)];
      // The rows are written once, and read while they are in the cache.
      const again = resolveDim(row.tokens, run.dims) * row.bytes[0];
      return { ...a, bytes: a.bytes + b.bytes - again, operations: a.operations + b.operations };
    },
  };
}

const isSame = (a: Memory, b: Memory) => JSON.stringify(a) === JSON.stringify(b);
