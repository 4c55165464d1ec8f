/**
 * Common subexpression elimination: an op that computes what an earlier one in sight has computed is replaced by it, and
 * of functions with equal bodies one is left. Equal means equal text: name, operands, attributes, types and, with their
 * parameters numbered, regions.
 */
import { type Attribute, isLiteralAttribute } from '../ir/attributes.ts';
import type { Func, Op, Program, Region, Value } from '../ir/program.ts';
import { rewriteProgram } from '../ir/rewrite.ts';
import { formatType } from '../ir/types.ts';
import { callee, reachable } from '../ir/walk.ts';

export function cse(program: Program): Program {
  return mergeOps(mergeFunctions(program));
}

/** Numbers for things that are equal only to themselves. */
class Identity {
  readonly #numbers = new Map<object, number>();

  of(thing: object): number {
    let number = this.#numbers.get(thing);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(thing, number);
    }
    return number;
  }
}

/** Bytes of a constant that are compared; larger ones are equal only to themselves. */
const comparedBytes = 256;

class Keys {
  readonly #identity = new Identity();
  readonly #functionName: (name: string) => string;

  constructor(functionName: (name: string) => string = (name) => name) {
    this.#functionName = functionName;
  }

  /** `stand`: the value that counts instead of one from outside the op. */
  op(op: Op, stand: (value: Value) => Value): string {
    return this.#op(op, new Map(), (value) => `%${this.#identity.of(stand(value))}`);
  }

  func(func: Func): string {
    return this.#region(func, new Map(), (value) => `%${this.#identity.of(value)}`);
  }

  #op(op: Op, local: Map<Value, string>, outer: (value: Value) => string): string {
    const regions = op.regions.map((region) => this.#region(region, local, outer));
    const types = op.results.map(({ type }) => formatType(type)).join();
    const operands = op.operands.map((value) => local.get(value) ?? outer(value)).join();
    return `${op.name}(${operands})${this.#attributes(op)}[${regions.join('|')}]:${types}`;
  }

  #region(region: Region, local: Map<Value, string>, outer: (value: Value) => string): string {
    const define = (value: Value) => local.set(value, `$${local.size}`);
    region.parameters.forEach(define);
    const parameters = region.parameters.map(({ type }) => formatType(type)).join();
    const body = region.body.map((op) => {
      const key = this.#op(op, local, outer);
      op.results.forEach(define);
      return key;
    });
    const results = region.results.map((value) => local.get(value) ?? outer(value)).join();
    return `(${parameters}){${body.join(';')}}${results}`;
  }

  #attributes(op: Op): string {
    if (op.name === 'call') return this.#functionName(op.attributes.callee);
    const named: object =
      op.name === 'composite'
        ? { ...op.attributes, decomposition: this.#functionName(op.attributes.decomposition) }
        : op.attributes;
    return JSON.stringify(named, (_, value: Attribute) => {
      if (typeof value === 'bigint') return `${value}n`;
      if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
      if (Object.is(value, -0)) return '-0';
      if (typeof value !== 'object' || !isLiteralAttribute(value)) return value;
      const { data, splat, type } = value;
      const isSmall = data instanceof Uint8Array && data.length <= comparedBytes;
      return `${formatType(type)} ${splat} ${isSmall ? data.join() : `#${this.#identity.of(data)}`}`;
    });
  }
}

function mergeFunctions(program: Program): Program {
  const kept = new Map<string, string>(); // key -> name
  const names = new Map<string, string>(); // name -> name of the function that is left
  const keys = new Keys((name) => names.get(name) ?? name);
  for (const func of reachable(program).toReversed()) {
    if (func === program.main) continue;
    const key = keys.func(func);
    names.set(func.name, kept.get(key) ?? func.name);
    if (!kept.has(key)) kept.set(key, func.name);
  }
  const renamed = (name: string) => names.get(name) ?? name;
  return rewriteProgram(program, (op, { operands, b }) => {
    const types = op.results.map(({ type }) => type);
    const location = op.location === undefined ? {} : { location: op.location };
    if (op.name === 'call' && renamed(op.attributes.callee) !== op.attributes.callee) {
      return b.op('call', operands, { callee: renamed(op.attributes.callee) }, { types, ...location });
    }
    if (op.name === 'composite' && renamed(op.attributes.decomposition) !== op.attributes.decomposition) {
      const decomposition = renamed(op.attributes.decomposition);
      return b.op('composite', operands, { ...op.attributes, decomposition }, { types, ...location });
    }
    return undefined;
  });
}

function mergeOps(program: Program): Program {
  const effectful = new Set<Func>();
  /** Whether two of it are as good as one. */
  const isShareable = (op: Op): boolean => {
    if (op.name === 'optimization_barrier' || (op.name === 'custom_call' && op.attributes.has_side_effect))
      return false;
    const called = callee(program, op);
    if (called !== undefined && effectful.has(called)) return false;
    const nested = op.regions.every((region) => region.body.every(isShareable));
    return nested && op.results.every(({ type }) => type.kind !== 'token');
  };
  for (const func of reachable(program).toReversed()) if (!func.body.every(isShareable)) effectful.add(func);

  const parents = new Map<Region, Region>();
  const regions = new Map<Op, Region>();
  const enter = (region: Region) => {
    for (const op of region.body) {
      regions.set(op, region);
      for (const inner of op.regions) {
        if (op.name === 'if' || op.name === 'case' || op.name === 'while') parents.set(inner, region);
        enter(inner);
      }
    }
  };
  for (const func of [program.main, ...program.functions.values()]) enter(func);

  // Operands by their names in the new program, so that chains of equal ops are found in one go.
  const keys = new Keys();
  const known = new Map<Region, Map<string, Op>>();
  return rewriteProgram(program, (op, { map }) => {
    const home = regions.get(op);
    if (home === undefined || !isShareable(op)) return undefined;
    const key = keys.op(op, map);
    for (let region: Region | undefined = home; region !== undefined; region = parents.get(region)) {
      const earlier = known.get(region)?.get(key);
      if (earlier !== undefined) return earlier.results.map(map);
    }
    const table = known.get(home) ?? new Map<string, Op>();
    known.set(home, table.set(key, op));
    return undefined;
  });
}
