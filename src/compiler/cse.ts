/**
 * Common subexpression elimination: an op that computes what an earlier one in sight has computed is replaced by it, and
 * of functions with equal bodies one is left. Equal means equal text: name, operands, attributes, types and, with their
 * parameters numbered, regions.
 */
import { type Attribute, isLiteralAttribute } from '../ir/attributes.ts';
import { isCollective } from '../ir/process-groups.ts';
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

  /** Unequal only for unequal ops: without what they contain. */
  outline(op: Op, stand: (value: Value) => Value): string {
    return `${op.name}(${op.operands.map((value) => this.#identity.of(stand(value))).join()})`;
  }

  func(func: Func): string {
    return this.#region(func, new Map(), (value) => `%${this.#identity.of(value)}`);
  }

  #op(op: Op, local: Map<Value, string>, outer: (value: Value) => string): string {
    const regions = op.regions.map((region) => this.#region(region, local, outer));
    const types = op.results.map(({ type }) => typeText(type)).join();
    const operands = op.operands.map((value) => local.get(value) ?? outer(value)).join();
    return `${op.name}(${operands})${this.#attributes(op)}[${regions.join('|')}]:${types}`;
  }

  #region(region: Region, local: Map<Value, string>, outer: (value: Value) => string): string {
    const define = (value: Value) => local.set(value, `$${local.size}`);
    region.parameters.forEach(define);
    const parameters = region.parameters.map(({ type }) => typeText(type)).join();
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
    if (op.name === 'composite') {
      const { name, version, decomposition, composite_attributes } = op.attributes;
      return `${name} ${version} ${this.#functionName(decomposition)} ${attributeText(composite_attributes)}`;
    }
    return attributeText(op.attributes);
  }
}

/** A text for each object, written once: copies of an op share its attributes and types. */
function written<T extends object>(write: (thing: T) => string): (thing: T) => string {
  const texts = new WeakMap<T, string>();
  return (thing) => {
    let text = texts.get(thing);
    if (text === undefined) {
      text = write(thing);
      texts.set(thing, text);
    }
    return text;
  };
}

const typeText = written(formatType);

let largeData = 0;
const dataText = written((data: object) =>
  data instanceof Uint8Array && data.length <= comparedBytes ? data.join() : `#${largeData++}`,
);

/** Equal for equal attributes. */
const attributeText = written((attributes: object) =>
  JSON.stringify(attributes, (_, value: Attribute) => {
    if (typeof value === 'bigint') return `${value}n`;
    if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
    if (Object.is(value, -0)) return '-0';
    if (typeof value !== 'object' || !isLiteralAttribute(value)) return value;
    return `${formatType(value.type)} ${value.splat} ${dataText(value.data)}`;
  }),
);

/** Unequal only for unequal functions. */
const outline = written((func: Func) => func.body.map(({ name }) => name).join());

function mergeFunctions(program: Program): Program {
  const kept = new Map<string, string>(); // key -> name
  const names = new Map<string, string>(); // name -> name of the function that is left
  const renamed = (name: string) => names.get(name) ?? name;
  const keys = new Keys(renamed);
  const functions = reachable(program).filter((func) => func !== program.main);
  const outlines = new Map<string, number>();
  for (const func of functions) outlines.set(outline(func), (outlines.get(outline(func)) ?? 0) + 1);
  for (const func of functions.toReversed()) {
    if (outlines.get(outline(func)) === 1) continue;
    const key = keys.func(func);
    const same = kept.get(key);
    if (same === undefined) kept.set(key, func.name);
    else names.set(func.name, same);
  }
  if (names.size === 0) return program;
  return rewriteProgram(program, (op, { operands, b }) => {
    const types = op.results.map(({ type }) => type);
    const location = op.location === undefined ? {} : { location: op.location };
    if (op.name === 'call' && names.has(op.attributes.callee)) {
      return b.op('call', operands, { callee: renamed(op.attributes.callee) }, { types, ...location });
    }
    if (op.name === 'composite' && names.has(op.attributes.decomposition)) {
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
    if (isCollective(op)) return false;
    const called = callee(program, op);
    if (called !== undefined && effectful.has(called)) return false;
    const nested = op.regions.every((region) => region.body.every(isShareable));
    return nested && op.results.every(({ type }) => type.kind !== 'token');
  };
  for (const func of reachable(program).toReversed()) if (!func.body.every(isShareable)) effectful.add(func);

  // Operands count as what stands for them, so that chains of equal ops are found in one go.
  const keys = new Keys();
  const instead = new Map<Value, Value>();
  const replaced = new Map<Op, Op>();
  const stand = (value: Value) => instead.get(value) ?? value;
  const visit = (region: Region, outer: readonly ReadonlyMap<string, readonly Op[]>[]) => {
    const known = new Map<string, Op[]>();
    const inSight = [known, ...outer];
    for (const op of region.body) {
      if (isShareable(op)) {
        // Bodies are written as text only where there are two to compare.
        const isWhole = op.regions.length === 0;
        const key = isWhole ? keys.op(op, stand) : keys.outline(op, stand);
        const alike = inSight.flatMap((table) => table.get(key) ?? []);
        const earlier = alike.find((other) => isWhole || keys.op(other, stand) === keys.op(op, stand));
        if (earlier !== undefined) {
          replaced.set(op, earlier);
          op.results.forEach((value, i) => {
            instead.set(value, earlier.results[i]);
          });
          continue;
        }
        known.set(key, [...(known.get(key) ?? []), op]);
      }
      const seesOut = op.name === 'if' || op.name === 'case' || op.name === 'while';
      for (const inner of op.regions) visit(inner, seesOut ? inSight : []);
    }
  };
  for (const func of [program.main, ...program.functions.values()]) visit(func, []);
  if (replaced.size === 0) return program;
  return rewriteProgram(program, (op, { map }) => replaced.get(op)?.results.map(map));
}
