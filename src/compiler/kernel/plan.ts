/**
 * A program as what a device does: for every function a list of steps over memory with fixed places. Kernels are launched
 * in order, each after the one before has ended; branches and loops read what kernels have computed into memory; a call
 * runs the callee's steps on its frame. Nothing here depends on a device: it instantiates the list (once a call, with
 * addresses for places) and emits the kernels.
 */
import { IngotError } from '../../base/errors.ts';
import type { Func, Literal, Op, OpOf, Program, Region, Value } from '../../ir/program.ts';
import { asTensor, maxBytes, type TensorType, type Type } from '../../ir/types.ts';
import { callee, reachable, reads, walk } from '../../ir/walk.ts';
import { align } from '../arena.ts';
import { type Exchange, exchangeOf, isFinish, isStart } from '../exchange.ts';
import { type CanFollow, type Following, follow, type RunGroup } from '../follow.ts';
import { fuse, type Group } from '../fuse.ts';
import { type Frame, type Place, planMemory } from '../plan-memory.ts';
import { planState } from '../state.ts';
import { unsupported } from './element-row.ts';
import { isInline } from './index-maps.ts';
import type { Kernel } from './language.ts';
import type { Launch, MemoryOf } from './launch.ts';
import { lowerByDimension, lowerCopy, lowerGroup, type OpGroup } from './lower.ts';
import type { Follower } from './piece.ts';

/**
 * `frame`: bytes from the base of the function's frame. `parameter`, `result`: memory that the caller gives (whoever runs main: for
 * large results), `offset` bytes into it (parts of tuples). `constant`: data of the program. `scratch`: memory that one launch has for itself.
 */
export type Memory =
  | { readonly kind: 'frame'; readonly offset: number }
  | { readonly kind: 'parameter'; readonly index: number; readonly offset: number }
  | { readonly kind: 'result'; readonly index: number; readonly offset: number }
  | { readonly kind: 'constant'; readonly literal: Literal }
  | { readonly kind: 'scratch'; readonly offset: number };

export type Step =
  /** One memory a buffer of the kernel. */
  | { readonly kind: 'launch'; readonly kernel: Kernel; readonly memory: readonly Memory[] }
  /** A kernel that copies; nothing to do where the two are the same memory. */
  | { readonly kind: 'copy'; readonly kernel: Kernel; readonly memory: readonly [to: Memory, from: Memory] }
  /** The callee's frame starts `frame` bytes into this one. */
  | {
      readonly kind: 'call';
      readonly func: Func;
      readonly frame: number;
      readonly parameters: readonly (Memory | undefined)[];
      readonly results: readonly (Memory | undefined)[];
    }
  /** A composite that the device runs whole, and what follows it in its launch; memory by value. */
  | {
      readonly kind: 'composite';
      readonly op: OpOf<'composite'>;
      readonly memory: ReadonlyMap<Value, Memory>;
      readonly followers: readonly PlacedFollower[];
    }
  /** With other processes: memory of operands, then of results; `types` are theirs. If it `starts` only, a `finish` follows. */
  | {
      readonly kind: 'exchange';
      readonly exchange: Exchange;
      readonly starts: boolean;
      readonly types: readonly TensorType[];
      readonly operands: readonly Memory[];
      readonly results: readonly Memory[];
    }
  /** The second half of the exchange that was started last. */
  | { readonly kind: 'finish' }
  /** `choice`: an i1 of `if` (1 is branch 0), an i32 of `case` (anything outside is the last branch). */
  | {
      readonly kind: 'branch';
      readonly op: 'if' | 'case';
      readonly choice: Memory;
      readonly branches: readonly (readonly Step[])[];
    }
  /** `condition` (an i1) is computed by `before`, before each turn. */
  | {
      readonly kind: 'while';
      readonly before: readonly Step[];
      readonly condition: Memory;
      readonly body: readonly Step[];
    };

/** Memory for each of its buffers that is no inner value. */
export interface PlacedFollower extends Follower {
  readonly memory: readonly (Memory | undefined)[];
}

export interface FunctionPlan {
  readonly func: Func;
  readonly frameBytes: number;
  readonly steps: readonly Step[];
  /** Memory of the parameters, and of the results at the end; tokens have none. */
  readonly parameters: readonly (Memory | undefined)[];
  readonly results: readonly (Memory | undefined)[];
}

export interface Plan {
  readonly main: FunctionPlan;
  readonly functions: ReadonlyMap<Func, FunctionPlan>;
  /** Of each result of main that needs memory of its own; else 0. */
  readonly resultBytes: readonly number[];
  /** Memory that launches use one after another. */
  readonly scratchBytes: number;
}

/**
 * `isKernel`: composites that the device runs whole; all others must be inlined. `canFollow`: what runs in their launches.
 * @throws IngotError 'UnsupportedOp', 'StateWouldCopy'.
 */
export function planProgram(
  program: Program,
  isKernel: (composite: string) => boolean = () => false,
  canFollow: CanFollow = () => false,
): Plan {
  const inPlace = planState(program);
  const groups = new Map<Region, readonly RunGroup[]>();
  for (const [region, list] of fuse(program, isKernel)) {
    groups.set(region, follow(program, region, list.flatMap(pieces), isKernel, inPlace, canFollow));
  }
  const groupsOf = (region: Region) => groups.get(region) ?? [];
  const memory = planMemory(program, isKernel, groupsOf, inPlace);
  const callsOf = callers(program);
  /** Whether result i is a parameter that the function updates: for every caller the two are the same memory. */
  const isInPlace = (func: Func, i: number): boolean => {
    const place = memory.frames.get(func)?.places.get(func.results[i]);
    if (place?.kind !== 'parameter') return false;
    return (callsOf.get(func) ?? []).every(({ caller, op }) => {
      const places = memory.frames.get(caller)?.places;
      const [from, to] = [op.operands[place.index], op.results[i]].map((value) => places?.get(value));
      return from !== undefined && to !== undefined && isSame(placeMemory(from), placeMemory(to));
    });
  };
  const functions = new Map<Func, FunctionPlan>();
  let scratchBytes = 0;
  // What no step calls (decompositions of composites that are kernels) needs no plan.
  const plan = (func: Func): FunctionPlan => {
    let planned = functions.get(func);
    if (planned !== undefined) return planned;
    const frame = memory.frames.get(func);
    if (frame === undefined) throw new IngotError('InvalidProgram', `function ${func.name} is called but not found`);
    const planner = new Planner(program, func, frame, groupsOf, isKernel, (i) => isInPlace(func, i));
    planned = planner.plan();
    functions.set(func, planned);
    scratchBytes = Math.max(scratchBytes, planner.scratchBytes);
    planner.called.forEach(plan);
    return planned;
  };
  const main = plan(program.main);
  return { main, functions, resultBytes: memory.resultBytes, scratchBytes };
}

/** The calls of every function, and where they are. */
function callers(program: Program): ReadonlyMap<Func, readonly { readonly caller: Func; readonly op: Op }[]> {
  const calls = new Map<Func, { caller: Func; op: Op }[]>();
  for (const caller of reachable(program)) {
    for (const op of walk(caller)) {
      const func = op.name === 'call' ? callee(program, op) : undefined;
      if (func !== undefined) calls.set(func, [...(calls.get(func) ?? []), { caller, op }]);
    }
  }
  return calls;
}

const placeMemory = (place: Place): Memory => (place.kind === 'frame' ? place : { ...place, offset: 0 });

/** What feeds a product runs before it: within its loops it would be computed for every column. */
function pieces(group: Group): readonly OpGroup[] {
  const { ops, inputs, outputs } = group;
  if (ops.length === 1) return [{ ops, inputs, outputs: ops[0].results }];
  const product = ops.find(({ name }) => name === 'dot_general');
  if (product === undefined) return [group];
  const needed = new Set(product.operands);
  const before = ops
    .filter((op) => op !== product)
    .toReversed()
    .filter((op) => {
      if (!op.results.some((value) => needed.has(value))) return false;
      for (const value of op.operands) needed.add(value);
      return true;
    })
    .toReversed();
  const parts = [before, ops.filter((op) => !before.includes(op))];
  return parts.flatMap((part, i) => (part.length === 0 ? [] : [piece(part, parts.slice(i + 1).flat(), outputs)]));
}

function piece(ops: readonly Op[], later: readonly Op[], outputs: readonly Value[]): OpGroup {
  const made = new Set(ops.flatMap((op) => op.results));
  const readBy = (list: readonly Op[]) => [...new Set(list.flatMap((op) => [...reads(op)]))];
  const wanted = new Set([...outputs, ...readBy(later)]);
  return {
    ops,
    inputs: readBy(ops).filter((value) => !made.has(value)),
    outputs: [...made].filter((value) => wanted.has(value)),
  };
}

const nothing: Following = { groups: [], inner: new Map() };

class Planner {
  readonly #program: Program;
  readonly #func: Func;
  readonly #frame: Frame;
  readonly #groups: (region: Region) => readonly RunGroup[];
  readonly #isKernel: (composite: string) => boolean;
  readonly #isInPlace: (result: number) => boolean;
  scratchBytes = 0;
  readonly called = new Set<Func>();

  constructor(
    program: Program,
    func: Func,
    frame: Frame,
    groups: (region: Region) => readonly RunGroup[],
    isKernel: (composite: string) => boolean,
    isInPlace: (result: number) => boolean,
  ) {
    this.#isInPlace = isInPlace;
    this.#program = program;
    this.#func = func;
    this.#frame = frame;
    this.#groups = groups;
    this.#isKernel = isKernel;
  }

  plan(): FunctionPlan {
    const func = this.#func;
    const steps = [...this.#region(func)];
    const isMain = func === this.#program.main;
    const results = func.results.map((value, index): Memory | undefined => {
      if (value.type.kind === 'token') return undefined;
      return isMain ? this.#memory(value) : { kind: 'result', index, offset: 0 };
    });
    if (!isMain) {
      const moves = func.results.flatMap((value, i) => (this.#isInPlace(i) ? [] : move(value, results[i], value.type)));
      steps.push(...this.#copies(moves));
    }
    return {
      func,
      frameBytes: this.#frame.bytes,
      steps,
      parameters: func.parameters.map((value) => this.#memory(value)),
      results,
    };
  }

  /** undefined for tokens, and for values that are computed only within a kernel. */
  #memory(value: Value): Memory | undefined {
    const place = this.#frame.places.get(value);
    if (place !== undefined) return placeMemory(place);
    const { owner } = value;
    if (owner.kind === 'op' && owner.name === 'constant') {
      return { kind: 'constant', literal: owner.attributes.value };
    }
    return undefined;
  }

  #place(value: Value): Memory {
    const memory = this.#memory(value);
    if (memory === undefined) throw new IngotError('InvalidProgram', 'a value that has no memory is read');
    return memory;
  }

  #region(region: Region): readonly Step[] {
    return this.#groups(region).flatMap((group) => this.#group(group));
  }

  #group(group: RunGroup): readonly Step[] {
    const [op] = group.ops;
    if (op.name === 'composite' && this.#isKernel(op.attributes.name)) {
      const values = [...op.operands, ...op.results];
      const memory = new Map(
        values.flatMap((value) => {
          const place = this.#memory(value);
          return place === undefined ? [] : [[value, place] as const];
        }),
      );
      return [{ kind: 'composite', op, memory, followers: this.#followers(group.following) }];
    }
    if (group.ops.length > 1) return this.#kernels(group);
    switch (op.name) {
      case 'constant':
        return this.#frame.places.has(op.results[0]) ? this.#store(op) : [];
      case 'call':
      case 'composite':
        return [this.#call(op)];
      case 'if':
      case 'case':
        return [this.#branch(op)];
      case 'while':
        return this.#while(op);
      case 'tuple':
        return this.#copies(
          parts(op.results[0].type).flatMap(({ index, offset, type }) =>
            move(op.operands[index], shifted(this.#place(op.results[0]), offset), type),
          ),
        );
      case 'get_tuple_element': {
        const { index } = op.attributes;
        const part = parts(op.operands[0].type)[index];
        const from = shifted(this.#place(op.operands[0]), part.offset);
        return this.#copies(move(op.results[0], this.#memory(op.results[0]), part.type, from));
      }
      case 'reshape':
      case 'optimization_barrier':
        return this.#copies(op.results.flatMap((value, i) => move(op.operands[i], this.#memory(value), value.type)));
      case 'after_all':
        return [];
      case 'custom_call': {
        if (isFinish(op)) return [{ kind: 'finish' }];
        const exchange = exchangeOf(op);
        if (exchange === undefined) throw unsupported(op, `target ${op.attributes.call_target_name}`);
        return [
          {
            kind: 'exchange',
            exchange,
            starts: isStart(op),
            types: [...op.operands, ...op.results].map(({ type }) => asTensor(type)),
            operands: op.operands.map((value) => this.#place(value)),
            results: op.results.map((value) => this.#place(value)),
          },
        ];
      }
      default:
        return this.#kernels(group);
    }
  }

  #followers({ groups, inner }: Following = nothing): readonly PlacedFollower[] {
    return groups.flatMap((group) =>
      lowerByDimension(this.#program, group, this.#memoryOf).map(({ kernel, args }) => {
        const values = args.map((arg) => ('value' in arg ? arg.value : undefined));
        return {
          kernel,
          inner: values.map((value) => value && inner.get(value)),
          memory: values.map((value) => (value === undefined || inner.has(value) ? undefined : this.#place(value))),
        };
      }),
    );
  }

  readonly #memoryOf: MemoryOf = (value) => {
    const memory = this.#memory(value);
    if (memory === undefined) return value;
    return memory.kind === 'constant' ? memory.literal : JSON.stringify(memory);
  };

  #kernels(group: OpGroup): readonly Step[] {
    return lowerGroup(this.#program, group, this.#memoryOf).map((launch) => this.#launch(launch));
  }

  #launch({ kernel, args, scratchBytes }: Launch): Step {
    this.scratchBytes = Math.max(this.scratchBytes, scratchBytes);
    const memory = args.map(
      (arg): Memory => ('value' in arg ? this.#place(arg.value) : { kind: 'scratch', offset: arg.scratch }),
    );
    return { kind: 'launch', kernel, memory };
  }

  /** A constant that overwrites state. */
  #store(op: OpOf<'constant'>): readonly Step[] {
    const [result] = op.results;
    return this.#copy(result, result.type, { kind: 'constant', literal: op.attributes.value }, this.#place(result));
  }

  #call(op: OpOf<'call'> | OpOf<'composite'>): Step {
    const func = callee(this.#program, op);
    if (func === undefined) throw new IngotError('InvalidProgram', `${op.name} of a function that is not there`);
    this.called.add(func);
    return {
      kind: 'call',
      func,
      frame: this.#frame.calls.get(op) ?? 0,
      parameters: op.operands.map((value) => this.#memory(value)),
      results: op.results.map((value) => this.#memory(value)),
    };
  }

  #branch(op: OpOf<'if'> | OpOf<'case'>): Step {
    return {
      kind: 'branch',
      op: op.name,
      choice: this.#place(op.operands[0]),
      branches: op.regions.map((region) => [...this.#region(region), ...this.#returned(region, op)]),
    };
  }

  #returned(region: Region, op: Op): readonly Step[] {
    return this.#copies(
      region.results.flatMap((value, i) => move(value, this.#memory(op.results[i]), op.results[i].type)),
    );
  }

  #while(op: OpOf<'while'>): readonly Step[] {
    const [condition, body] = op.regions;
    const carried = op.operands.flatMap((value, i) => move(value, this.#memory(op.results[i]), op.results[i].type));
    return [
      ...this.#copies(carried),
      {
        kind: 'while',
        before: this.#region(condition),
        condition: this.#place(condition.results[0]),
        body: [...this.#region(body), ...this.#returned(body, op)],
      },
    ];
  }

  /** All at once: what another copy overwrites is read first. */
  #copies(moves: readonly Move[]): readonly Step[] {
    const real = moves
      .map(({ value, type, to, from }) => ({ value, type, to, from: from ?? this.#place(value) }))
      .filter(({ from, to }) => !isSame(from, to));
    const overwritten = ({ from }: (typeof real)[number], i: number) =>
      real.some(({ to }, j) => i !== j && mayMeet(from, to));
    const staged = real.filter(overwritten);
    let scratch = 0;
    const out: Step[] = [];
    const into = new Map<Move | (typeof real)[number], Memory>();
    for (const each of staged) {
      const place: Memory = { kind: 'scratch', offset: scratch };
      scratch += align(bytesOf(each.type));
      into.set(each, place);
      out.push(...this.#copy(each.value, each.type, each.from, place));
    }
    this.scratchBytes = Math.max(this.scratchBytes, scratch);
    for (const each of real) {
      const from = into.get(each) ?? each.from;
      out.push(...this.#copy(each.value, each.type, from, each.to));
    }
    return out;
  }

  #copy(value: Value, type: Type, from: Memory, to: Memory): readonly Step[] {
    switch (type.kind) {
      case 'token':
        return [];
      case 'tuple':
        return parts(type).flatMap((part) =>
          this.#copy(value, part.type, shifted(from, part.offset), shifted(to, part.offset)),
        );
      case 'tensor': {
        const { owner } = value;
        const fill = from.kind === 'constant' && owner.kind === 'op' && owner.name === 'constant' && isInline(owner);
        const source: Value = fill ? value : { type, owner: this.#func, index: -1 };
        return lowerCopy(this.#program, source, { type, owner: this.#func, index: -2 }).map(
          ({ kernel }): Step =>
            fill ? { kind: 'launch', kernel, memory: [to] } : { kind: 'copy', kernel, memory: [to, from] },
        );
      }
      default:
        return type satisfies never;
    }
  }
}

/** A value (or memory that holds its like) to be copied. */
interface Move {
  readonly value: Value;
  readonly type: Type;
  readonly to: Memory;
  readonly from?: Memory | undefined;
}

function move(value: Value, to: Memory | undefined, type: Type, from?: Memory): readonly Move[] {
  return to === undefined || type.kind === 'token' ? [] : [{ value, type, to, from }];
}

function isSame(a: Memory, b: Memory): boolean {
  if (a.kind === 'constant' || b.kind === 'constant') return false;
  if (a.kind !== b.kind || a.offset !== b.offset) return false;
  return a.kind === 'frame' || a.kind === 'scratch' || ('index' in b && a.index === b.index);
}

/** Results of a function may be the memory of its parameters. */
function mayMeet(a: Memory, b: Memory): boolean {
  if (a.kind === 'constant' || b.kind === 'constant') return false;
  const given = (memory: Memory) => memory.kind === 'parameter' || memory.kind === 'result';
  return isSame(a, b) || (given(a) && given(b));
}

function shifted(memory: Memory, by: number): Memory {
  return memory.kind === 'constant' ? memory : { ...memory, offset: memory.offset + by };
}

/** Where the parts of a tuple lie in its memory. */
function parts(type: Type): readonly { readonly index: number; readonly offset: number; readonly type: Type }[] {
  if (type.kind !== 'tuple') return [];
  let offset = 0;
  return type.parts.map((part, index) => {
    const at = offset;
    offset += align(bytesOf(part));
    return { index, offset: at, type: part };
  });
}

function bytesOf(type: Type): number {
  if (type.kind === 'tensor') return maxBytes(type);
  return type.kind === 'token' ? 0 : parts(type).reduce((sum, part) => sum + align(bytesOf(part.type)), 0);
}
