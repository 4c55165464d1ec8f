/** Reading a program: every op in order, who uses a value, what a function calls. */
import type { Func, Op, OpOf, Program, Region, Value } from './program.ts';
import { findFunction } from './program.ts';

/** Every op of a region in program order, an op before those in its regions. */
export function* walk(region: Region): Generator<Op> {
  for (const op of region.body) {
    yield op;
    for (const inner of op.regions) yield* walk(inner);
  }
}

/** An operand of an op, or (without `op`) a result of a region. */
export interface Use {
  readonly op: Op | undefined;
  readonly region: Region;
  readonly index: number;
}

/** Uses of every value that is used in the region or in those nested in it, in program order. */
export function uses(root: Region): ReadonlyMap<Value, readonly Use[]> {
  const found = new Map<Value, Use[]>();
  const add = (value: Value, use: Use) => {
    const list = found.get(value);
    if (list === undefined) found.set(value, [use]);
    else list.push(use);
  };
  const visit = (region: Region) => {
    for (const op of region.body) {
      op.operands.forEach((value, index) => {
        add(value, { op, region, index });
      });
      op.regions.forEach(visit);
    }
    region.results.forEach((value, index) => {
      add(value, { op: undefined, region, index });
    });
  };
  visit(root);
  return found;
}

/** Values that the op reads: its operands, then what its regions capture from around it; each once. */
export function reads(op: Op): ReadonlySet<Value> {
  const read = new Set(op.operands);
  const own = new Set<Value>();
  const visit = (region: Region) => {
    for (const value of region.parameters) own.add(value);
    for (const inner of region.body) {
      for (const value of inner.operands) if (!own.has(value)) read.add(value);
      inner.regions.forEach(visit);
      for (const value of inner.results) own.add(value);
    }
    for (const value of region.results) if (!own.has(value)) read.add(value);
  };
  op.regions.forEach(visit);
  return read;
}

/** The function that a call, or a composite by its decomposition, stands for; undefined for every other op. */
export function callee(program: Program, op: Op): Func | undefined {
  if (op.name === 'call') return findFunction(program, op.attributes.callee);
  if (op.name === 'composite') return findFunction(program, op.attributes.decomposition);
  return undefined;
}

/** The op that computes the value, if it is one of that name. */
export function definedBy<N extends Op['name']>(value: Value, name: N): OpOf<N> | undefined {
  const { owner } = value;
  return owner.kind === 'op' && owner.name === name ? (owner as OpOf<N>) : undefined;
}

/** Functions that `main` reaches, callers before callees; `main` is the first. */
export function reachable(program: Program): readonly Func[] {
  const done = new Set<Func>();
  const postorder: Func[] = [];
  const visit = (func: Func) => {
    if (done.has(func)) return;
    done.add(func);
    for (const op of walk(func)) {
      const called = callee(program, op);
      if (called !== undefined) visit(called);
    }
    postorder.push(func);
  };
  visit(program.main);
  return postorder.reverse();
}
