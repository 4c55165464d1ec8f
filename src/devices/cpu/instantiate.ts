/**
 * A plan with addresses: the steps of every call, one after another, as launches whose arguments lie in native memory. What
 * depends on the dimensions of a run is patched into those before each submission.
 */

import type { Cost } from '../../compiler/cost.ts';
import { kernelCost } from '../../compiler/kernel/kernel-cost.ts';
import type { Memory as Place, Plan, Step } from '../../compiler/kernel/plan.ts';
import type { Func } from '../../ir/program.ts';
import type { DimSymbol } from '../../ir/types.ts';
import { alignUp } from './align.ts';
import type { KernelCode, ProgramCode } from './code.ts';
import type { CompositeLaunch } from './composites/composite-kernel.ts';
import { compositeKernels } from './composites/table.ts';
import type { Memory, OperatingSystem } from './os/os.ts';
import type { Profiler, RunFacts } from './profile.ts';
import type { Target } from './target.ts';
import type { Launch, LaunchList, Team, Word } from './team.ts';

/** Bytes that a binding needs: the frame of main, what launches have for themselves, what composites have. */
export interface ArenaLayout {
  readonly frame: number;
  readonly scratch: number;
  readonly bytes: number;
}

export function layoutArena(plan: Plan, target: Target): ArenaLayout {
  let composites = 0;
  const measure = (steps: readonly Step[]): void => {
    for (const step of steps) {
      if (step.kind === 'composite') {
        for (const { scratchBytes } of compositeKernels(step.group, target))
          composites = Math.max(composites, scratchBytes);
      }
      if (step.kind === 'branch') step.branches.forEach(measure);
      if (step.kind === 'while') {
        measure(step.before);
        measure(step.body);
      }
    }
  };
  for (const { steps } of plan.functions.values()) measure(steps);
  const frame = alignUp(plan.main.frameBytes, 64);
  const scratch = alignUp(Math.max(plan.scratchBytes, composites), 64);
  return { frame, scratch, bytes: Math.max(64, frame + scratch) };
}

/** Launches of a binding in native memory. */
export interface Instance extends Disposable {
  readonly list: LaunchList;
  /** Before a submission, while none of this instance is running. */
  begin(run: RunFacts): void;
}

type Argument = { readonly kind: 'number'; readonly value: number } | { readonly kind: 'dim'; readonly sym: DimSymbol };

type Entry =
  | {
      readonly kind: 'kernel';
      readonly kernel: KernelCode;
      readonly args: readonly Argument[];
      cost(run: RunFacts): Cost;
    }
  | { readonly kind: 'jump'; to: number; readonly test?: { readonly at: number; readonly equals?: number } };

export interface InstanceMemory {
  readonly arena: Memory;
  /** Addresses of main's weights and states, by index, and the memory that holds them. */
  readonly parameters: ReadonlyMap<number, number>;
  readonly keeps: readonly Memory[];
}

export function instantiate(
  system: OperatingSystem,
  team: Team,
  plan: Plan,
  code: ProgramCode,
  { arena, parameters, keeps }: InstanceMemory,
  profiler: Profiler,
): Instance {
  const layout = layoutArena(plan, code.target);
  const flattener = new Flattener(plan, code, arena.address + layout.frame);
  flattener.call(
    plan.main.func,
    arena.address,
    (index) => parameters.get(index),
    () => undefined,
  );
  const { entries } = flattener;

  const words = entries.reduce((sum, entry) => sum + (entry.kind === 'kernel' ? entry.args.length : 0), 0);
  const block = system.mapMemory(Math.max(8, 8 * words));
  const longs = new BigUint64Array(block.bytes().buffer as ArrayBuffer);
  /** Words that hold a dimension, and what it was in the latest run. */
  const dimWords = new Map<DimSymbol, { value: number; readonly at: number[] }>();
  const wordsOf = (sym: DimSymbol) => {
    const known = dimWords.get(sym) ?? { value: 0, at: [] };
    dimWords.set(sym, known);
    return known;
  };
  const all = [arena, code.constants, ...keeps];
  const wordAt = (address: number): Word => {
    const memory = all.find((each) => address >= each.address && address < each.address + each.length);
    if (memory === undefined) throw new Error('a jump looks at memory that nobody holds');
    return { memory, offset: address - memory.address };
  };
  let at = 0;
  const launches = entries.map((entry): Launch => {
    if (entry.kind === 'jump') {
      const { to, test } = entry;
      if (test === undefined) return { kind: 'jump', to };
      const word = wordAt(test.at);
      if (test.equals === undefined) return { kind: 'jumpIfZero', to, word };
      return { kind: 'jumpUnlessEqual', to, word, value: test.equals };
    }
    const argument = { memory: block, offset: 8 * at };
    for (const arg of entry.args) {
      if (arg.kind === 'number') longs[at] = BigInt(arg.value);
      else wordsOf(arg.sym).at.push(at);
      at++;
    }
    return { kind: 'kernel', code: code.code, offset: entry.kernel.offset, argument, barrier: true };
  });
  const list = team.list(launches, all, profiler.records);
  const facts = entries.map((entry) =>
    entry.kind === 'jump' ? undefined : { kernel: entry.kernel.name, cost: entry.cost },
  );
  const recording = profiler.records ? profiler.recording(list, facts) : undefined;
  return {
    list,
    begin(run) {
      for (const [sym, holder] of dimWords) {
        const value = run.dims[sym] ?? 0;
        // Thousands of words, and from one token to the next they stay.
        if (value !== holder.value) for (const index of holder.at) longs[index] = BigInt(value);
        holder.value = value;
      }
      recording?.begin(run);
    },
    [Symbol.dispose]() {
      recording?.[Symbol.dispose]();
      list[Symbol.dispose]();
      block[Symbol.dispose]();
    },
  };
}

/** Bytes of scratch that a launch has made of a value. */
type Prepared = { readonly key: string } & NonNullable<CompositeLaunch['prepares']>;

type Given = (index: number) => number | undefined;

class Flattener {
  readonly entries: Entry[] = [];
  readonly #plan: Plan;
  readonly #code: ProgramCode;
  readonly #scratch: number;
  /** What lies in scratch as far as that is known: what composites have prepared of values of this call. */
  #prepared: readonly Prepared[] = [];

  constructor(plan: Plan, code: ProgramCode, scratch: number) {
    this.#plan = plan;
    this.#code = code;
    this.#scratch = scratch;
  }

  call(func: Func, frame: number, parameter: Given, result: Given): void {
    const plan = this.#plan.functions.get(func);
    if (plan === undefined) throw new Error(`function ${func.name} has no plan`);
    const addressOf = (place: Place): number => {
      switch (place.kind) {
        case 'frame':
          return frame + place.offset;
        case 'parameter':
          return given(parameter(place.index)) + place.offset;
        case 'result':
          return given(result(place.index)) + place.offset;
        case 'constant':
          return this.#code.constant(place.literal);
        case 'scratch':
          return this.#scratch + place.offset;
        default:
          return place satisfies never;
      }
    };
    this.#prepared = [];
    this.#steps(plan.steps, frame, addressOf);
    this.#prepared = [];
  }

  #steps(steps: readonly Step[], frame: number, addressOf: (place: Place) => number): void {
    for (const step of steps) this.#step(step, frame, addressOf);
  }

  #step(step: Step, frame: number, addressOf: (place: Place) => number): void {
    switch (step.kind) {
      case 'launch':
      case 'copy': {
        const addresses = step.memory.map(addressOf);
        if (step.kind === 'copy' && addresses[0] === addresses[1]) return;
        const args: Argument[] = addresses.map((value) => ({ kind: 'number', value }));
        for (const sym of step.kernel.dims) args.push({ kind: 'dim', sym });
        const cost = ({ dims }: RunFacts) => kernelCost(step.kernel, dims);
        if (step.memory.some(({ kind }) => kind === 'scratch')) this.#prepared = [];
        this.entries.push({ kind: 'kernel', kernel: this.#code.kernel(step.kernel), args, cost });
        return;
      }
      case 'composite': {
        const launches = compositeKernels(step.group, this.#code.target);
        const scratch = launches.some(({ buffers }) => buffers.some((buffer) => 'scratch' in buffer));
        if (scratch && launches.every(({ prepares }) => prepares === undefined)) this.#prepared = [];
        for (const { key, buffers, dims, cost, prepares } of launches) {
          if (prepares !== undefined && !this.#prepare({ key, ...prepares })) continue;
          const args = buffers.map((buffer): Argument => {
            if ('scratch' in buffer) return { kind: 'number', value: this.#scratch + buffer.scratch };
            const place = step.memory.get(buffer.value);
            if (place === undefined) throw new Error('an operand of a composite has no memory');
            return { kind: 'number', value: addressOf(place) };
          });
          for (const sym of dims) args.push({ kind: 'dim', sym });
          this.entries.push({ kind: 'kernel', kernel: this.#code.composite(key), args, cost });
        }
        return;
      }
      case 'call': {
        const at = (places: readonly (Place | undefined)[]): Given => {
          const addresses = places.map((place) => (place === undefined ? undefined : addressOf(place)));
          return (index) => addresses[index];
        };
        this.call(step.func, frame + step.frame, at(step.parameters), at(step.results));
        return;
      }
      case 'branch': {
        const choice = addressOf(step.choice);
        const ends: Extract<Entry, { kind: 'jump' }>[] = [];
        step.branches.forEach((branch, i) => {
          const last = i === step.branches.length - 1;
          const skip = last ? undefined : this.#jump({ at: choice, ...(step.op === 'case' && { equals: i }) });
          this.#steps(branch, frame, addressOf);
          if (!last) ends.push(this.#jump());
          if (skip !== undefined) skip.to = this.entries.length;
        });
        for (const end of ends) end.to = this.entries.length;
        this.#prepared = [];
        return;
      }
      case 'while': {
        this.#prepared = [];
        const start = this.entries.length;
        this.#steps(step.before, frame, addressOf);
        const leave = this.#jump({ at: addressOf(step.condition) });
        this.#steps(step.body, frame, addressOf);
        this.#jump().to = start;
        leave.to = this.entries.length;
        this.#prepared = [];
        return;
      }
      default:
        step satisfies never;
    }
  }

  /** Whether that has to be done: several products of the same activations, as of queries, keys and values, prepare them once. */
  #prepare(next: Prepared): boolean {
    const isThere = ({ key, of }: Prepared) => key === next.key && of.every((value, i) => value === next.of[i]);
    if (this.#prepared.some(isThere)) return false;
    const kept = this.#prepared.filter(({ from, to }) => to <= next.from || next.to <= from);
    this.#prepared = [...kept, next];
    return true;
  }

  #jump(test?: { readonly at: number; readonly equals?: number }): Extract<Entry, { kind: 'jump' }> {
    const entry: Extract<Entry, { kind: 'jump' }> = { kind: 'jump', to: 0, ...(test && { test }) };
    this.entries.push(entry);
    this.#prepared = [];
    return entry;
  }
}

function given(address: number | undefined): number {
  if (address === undefined) throw new Error('a step uses memory that the caller does not give');
  return address;
}
