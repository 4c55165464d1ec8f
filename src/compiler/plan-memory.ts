/**
 * Memory of a program: one arena per executable with an offset for every value in it, and state updated in place
 * (`state.ts`). A function is planned once, with offsets from the base of its frame; a call puts the callee's frame into
 * the caller's for as long as the call runs, so the frames of all layers are the same memory. What is computed element by element
 * takes the place of a value that nobody needs afterwards. Sizes are those at the bounds of the symbolic dimensions. Large results of main have memory of their own, so that they can be handed on as they lie.
 */
import { elementwise } from '../ir/ops/elementwise.ts';
import type { Func, Op, Program, Region, Value } from '../ir/program.ts';
import { maxBytes, sameType, type Type } from '../ir/types.ts';
import { callee, reachable, reads, walk } from '../ir/walk.ts';
import { align, type Lifetime, packArena } from './arena.ts';
import { exchangeOf, isFinish } from './exchange.ts';
import { type InPlace, planState } from './state.ts';

/** `parameter`, `result`: memory that the caller gives for it. */
export type Place =
  | { readonly kind: 'frame'; readonly offset: number }
  | { readonly kind: 'parameter'; readonly index: number }
  | { readonly kind: 'result'; readonly index: number };

/**
 * Where values of a function are. What a region or function returns is copied at its end where the place of the
 * returned value is not that of the result it becomes, and loops copy what they carry in at their start; all copies of
 * one such moment are parallel.
 */
export interface Frame {
  readonly bytes: number;
  /**
   * Every value that takes memory: constants (unless they overwrite state), tokens, and what reducers and comparators
   * compute have no place.
   */
  readonly places: ReadonlyMap<Value, Place>;
  /** Calls and composites that are not kernels: offset of the callee's frame in this one. */
  readonly calls: ReadonlyMap<Op, number>;
}

export interface MemoryPlan {
  /** The frame of `main` and `resultBytes`: temporaries, inputs, and results that are not state. */
  readonly scratchBytes: number;
  /** Of each result of `main`: 0 where it lies in the frame, or in state. */
  readonly resultBytes: readonly number[];
  readonly inPlace: InPlace;
  readonly frames: ReadonlyMap<Func, Frame>;
}

/** Ops that run at once, in an order of execution; values between them alone take no memory. */
export type Grouping = (
  region: Region,
) => readonly { readonly ops: readonly Op[]; readonly outputs: readonly Value[] }[];

const eachAlone: Grouping = ({ body }) => body.map((op) => ({ ops: [op], outputs: op.results }));

/** `isKernel`: composites that the device runs whole, without the frame of their decomposition. @throws 'StateWouldCopy'. */
export function planMemory(
  program: Program,
  isKernel: (composite: string) => boolean = () => false,
  groups: Grouping = eachAlone,
  inPlace: InPlace = planState(program),
): MemoryPlan {
  const frames = new Map<Func, Frame>();
  const frameBytes = (op: Op): number | undefined => {
    if (op.name === 'composite' && isKernel(op.attributes.name)) return undefined;
    const func = callee(program, op);
    return func === undefined ? undefined : (frames.get(func)?.bytes ?? 0);
  };
  for (const func of reachable(program).toReversed()) {
    frames.set(func, planFrame(func, func === program.main ? program : undefined, inPlace, groups, frameBytes));
  }
  const { main } = program;
  const resultBytes = main.results.map((value, i) => {
    const place = frames.get(main)?.places.get(value);
    return place?.kind === 'result' && place.index === i ? bytesOf(value.type) : 0;
  });
  const scratchBytes = resultBytes.reduce((sum, bytes) => sum + bytes, frames.get(main)?.bytes ?? 0);
  return { scratchBytes, resultBytes, inPlace, frames };
}

/** What a copy of it would cost is no longer little beside what it takes to compute it. */
const LARGE_RESULT = 2 ** 20;

/** Results of main with memory of their own. Processes that exchange with others find everything in the frame. */
function largeResults(program: Program): ReadonlySet<Value> {
  const meets = (func: Func) => [...walk(func)].some((op) => op.name === 'custom_call' && exchangeOf(op) !== undefined);
  if (reachable(program).some(meets)) return new Set();
  return new Set(program.main.results.filter(({ type }) => type.kind === 'tensor' && maxBytes(type) >= LARGE_RESULT));
}

/** Values that share memory, and when it holds something. */
interface Buffer {
  readonly values: Value[];
  bytes: number;
  from: number;
  to: number;
  given?: Exclude<Place, { kind: 'frame' }>;
}

class Buffers {
  readonly #of = new Map<Value, Buffer>();

  get(value: Value): Buffer | undefined {
    return this.#of.get(value);
  }

  all(): ReadonlySet<Buffer> {
    return new Set(this.#of.values());
  }

  /** The buffer of a value, made at its definition. Tokens get none. */
  define(value: Value, at: number): void {
    if (value.type.kind === 'token') return;
    this.#of.set(value, { values: [value], bytes: bytesOf(value.type), from: at, to: at });
  }

  use(value: Value, at: number): void {
    const buffer = this.#of.get(value);
    if (buffer !== undefined) buffer.to = Math.max(buffer.to, at);
  }

  /** One memory for both; nothing if either has none. */
  merge(a: Value, b: Value): void {
    const [keep, gone] = [this.#of.get(a), this.#of.get(b)];
    if (keep === undefined || gone === undefined || keep === gone) return;
    for (const value of gone.values) this.#of.set(value, keep);
    keep.values.push(...gone.values);
    keep.bytes = Math.max(keep.bytes, gone.bytes);
    keep.from = Math.min(keep.from, gone.from);
    keep.to = Math.max(keep.to, gone.to);
    keep.given ??= gone.given;
  }

  /** What is defined as another ends takes its place, if neither has one already. */
  replace(ending: Value, value: Value, at: number): boolean {
    const [old, own] = [this.#of.get(ending), this.#of.get(value)];
    if (old === undefined || own === undefined || old === own) return false;
    if (old.given !== undefined || own.given !== undefined || old.to !== at || own.from !== at) return false;
    this.merge(ending, value);
    return true;
  }
}

/** A result, and the inputs whose elements are read where it is written. */
interface Successor {
  readonly result: Value;
  readonly inputs: readonly Value[];
  readonly at: number;
}

/** What ops that run at once compute element by element, from inputs of the result's own type: each is read before its place is written. */
function successor(ops: readonly Op[], outputs: readonly Value[], at: number): readonly Successor[] {
  const [result, ...others] = outputs;
  if (result === undefined || others.length > 0) return [];
  /** Of all else they read every element, and for all that is known at any time. */
  const anywhere = new Set<Value>();
  const needed = new Set<Value>([result]);
  for (const op of ops.toReversed()) {
    const isPointwise = Object.hasOwn(elementwise, op.name) && needed.has(op.results[0]);
    for (const value of reads(op)) (isPointwise ? needed : anywhere).add(value);
  }
  const made = new Set(ops.flatMap(({ results }) => results));
  const inputs = [...needed].filter(
    (value) => !made.has(value) && !anywhere.has(value) && sameType(value.type, result.type),
  );
  return inputs.length > 0 ? [{ result, inputs, at }] : [];
}

function bytesOf(type: Type): number {
  if (type.kind === 'tensor') return maxBytes(type);
  return type.kind === 'token' ? 0 : type.parts.reduce((sum, part) => sum + align(bytesOf(part)), 0);
}

/** `main` is set for the entry function, whose inputs and small results lie in the arena too. */
function planFrame(
  func: Func,
  main: Program | undefined,
  inPlace: InPlace,
  groups: Grouping,
  frameBytes: (op: Op) => number | undefined,
): Frame {
  const buffers = new Buffers();
  func.parameters.forEach((value, index) => {
    buffers.define(value, 0);
    const buffer = buffers.get(value);
    if (buffer !== undefined && main?.parameters[index].role !== 'input') buffer.given = { kind: 'parameter', index };
  });
  const { end, calls, successors } = trace(func, buffers, inPlace, groups);
  const apart = main === undefined ? new Set(func.results) : largeResults(main);
  func.results.forEach((value, index) => {
    buffers.use(value, end);
    const buffer = buffers.get(value);
    if (buffer !== undefined && apart.has(value)) buffer.given ??= { kind: 'result', index };
  });
  for (const { result, inputs, at } of successors) inputs.find((value) => buffers.replace(value, result, at));

  const own = [...buffers.all()].filter((buffer) => buffer.given === undefined);
  const called = calls.flatMap(({ op, at }) => {
    const bytes = frameBytes(op);
    return bytes === undefined ? [] : [{ op, bytes, from: at, to: at }];
  });
  const arena = packArena([...own, ...called] satisfies Lifetime[]);
  const places = new Map<Value, Place>();
  own.forEach((buffer, i) => {
    for (const value of buffer.values) places.set(value, { kind: 'frame', offset: arena.offsets[i] });
  });
  for (const { given, values } of buffers.all()) {
    if (given !== undefined) for (const value of values) places.set(value, given);
  }
  return {
    bytes: arena.bytes,
    places,
    calls: new Map(called.map(({ op }, i) => [op, arena.offsets[own.length + i]])),
  };
}

/** Numbers the ops of a function, nested ones too, and finds which values share memory and from when to when. */
function trace(func: Func, buffers: Buffers, inPlace: InPlace, groups: Grouping) {
  let now = 0;
  const calls: { readonly op: Op; readonly at: number }[] = [];
  const successors: Successor[] = [];

  const body = (region: Region) => {
    for (const { ops, outputs } of groups(region)) {
      now++;
      const start = now;
      for (const op of ops) step(op, outputs, start);
      successors.push(...successor(ops, outputs, start));
    }
  };

  const step = (op: Op, outputs: readonly Value[], start: number) => {
    for (const value of reads(op)) buffers.use(value, start);
    if (op.name !== 'constant' || inPlace.has(op.results[0])) {
      for (const value of op.results) if (outputs.includes(value)) buffers.define(value, start);
    }
    switch (op.name) {
      case 'call':
      case 'composite':
        calls.push({ op, at: start });
        break;
      case 'if':
      case 'case':
        for (const region of op.regions) branch(op, region);
        break;
      case 'while':
        loop(op, start);
        break;
      case 'reshape':
      case 'optimization_barrier':
        op.results.forEach((value, i) => {
          // Parameters may lie in a layout of the device's own. What overwrites state must not be computed in its memory: others may read it still.
          const apart = inPlace.has(value) || buffers.get(op.operands[i])?.given !== undefined;
          if (!apart) buffers.merge(op.operands[i], value);
        });
        break;
      case 'custom_call':
        if (isFinish(op)) for (const [i, value] of op.results.entries()) buffers.merge(op.operands[i], value);
        break;
      default:
    }
    for (const value of op.results) {
      const target = inPlace.get(value);
      if (target !== undefined) buffers.merge(target, value);
    }
  };

  /** What a branch computes for a result lies where the result does, if it shares no memory with other values. */
  const branch = (op: Op, region: Region) => {
    const before = buffers.all();
    body(region);
    now++;
    region.results.forEach((value, i) => {
      buffers.use(value, now);
      const buffer = buffers.get(value);
      // A second result of the same value is found in `before`, merged with the first; it is a copy.
      if (buffer !== undefined && !before.has(buffer) && !inPlace.has(op.results[i]))
        buffers.merge(op.results[i], value);
    });
  };

  const loop = (op: Op, start: number) => {
    const defined = buffers.all();
    op.results.forEach((result, i) => {
      for (const region of op.regions) {
        buffers.define(region.parameters[i], start);
        buffers.merge(result, region.parameters[i]);
      }
      const target = inPlace.get(result);
      if (target !== undefined) buffers.merge(target, result);
    });
    for (const region of op.regions) {
      body(region);
      now++;
      for (const value of region.results) buffers.use(value, now);
    }
    // What the loop carries, and what it reads from around it, must last until its last turn.
    for (const value of op.results) buffers.use(value, now);
    for (const buffer of defined) if (buffer.to > start) buffer.to = now;
  };

  body(func);
  now++;
  return { end: now, calls, successors };
}
