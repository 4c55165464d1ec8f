/**
 * The tool with which passes make new programs from old ones: ops are copied in order with their operands mapped, and a
 * visitor may put other values in their place.
 */
import { IngotError } from '../base/errors.ts';
import type { OpName } from './attributes.ts';
import { Builder, createFunc, createRegion, ProgramBuilder } from './build.ts';
import type { Func, Op, OpOf, Program, Region, Value } from './program.ts';

/** Where the visitor stands. */
export interface Site {
  /** Operands of the visited op in the new program. */
  readonly operands: readonly Value[];
  /** Emits ops before the place of the visited one; what it emits is not visited. */
  readonly b: Builder;
  /** What a value of the old program, defined before this place, is in the new one. */
  map(value: Value): Value;
  /** Copies the body of a region or function to this place, visited, with `values` for its parameters; its results. */
  inline(region: Region, values: readonly Value[]): readonly Value[];
}

/**
 * Values to use instead of the op's results, which is then not copied; undefined to copy it. An op whose results nobody
 * uses is dropped by `[]`.
 */
export type Visitor = (op: Op, site: Site) => readonly Value[] | undefined;

/**
 * Copies the body of a region to the end of `b`, visited; its results. `mapped` says what stands for values from outside
 * of the body, parameters included, and is told of all that are copied.
 */
export function copyBody(
  region: Region,
  b: Builder,
  mapped: Map<Value, Value>,
  visit: Visitor = () => undefined,
): readonly Value[] {
  const map = mapping(mapped);
  for (const op of region.body) {
    const replaced = visit(op, siteOf(op, b, mapped, visit));
    bind(mapped, op.results, replaced ?? copyOp(op, op.operands.map(map), b, mapped, visit));
  }
  return region.results.map(map);
}

/** Whether the visitor has other values for any op; what it emits goes to a builder that nobody reads. */
function changes(region: Region, b: Builder, mapped: Map<Value, Value>, visit: Visitor): boolean {
  bind(mapped, region.parameters, region.parameters);
  return region.body.some((op) => {
    if (visit(op, siteOf(op, b, mapped, visit)) !== undefined) return true;
    bind(mapped, op.results, op.results);
    return op.regions.some((inner) => changes(inner, b, mapped, visit));
  });
}

function mapping(mapped: ReadonlyMap<Value, Value>): (value: Value) => Value {
  return (value) => {
    const found = mapped.get(value);
    if (found === undefined) throw new IngotError('InvalidProgram', 'a dropped or undefined value is used');
    return found;
  };
}

function bind(mapped: Map<Value, Value>, values: readonly Value[], to: readonly Value[]): void {
  to.forEach((value, i) => {
    mapped.set(values[i], value);
  });
}

function siteOf(op: Op, b: Builder, mapped: Map<Value, Value>, visit: Visitor): Site {
  const map = mapping(mapped);
  return {
    b,
    map,
    // Not before it is asked for: an op that is dropped may have operands that were.
    get operands() {
      return op.operands.map(map);
    },
    inline(inner, values) {
      bind(mapped, inner.parameters, values);
      return copyBody(inner, b, mapped, visit);
    },
  };
}

function copyOp<N extends OpName>(
  op: OpOf<N>,
  operands: readonly Value[],
  b: Builder,
  mapped: Map<Value, Value>,
  visit: Visitor,
): readonly Value[] {
  const regions = op.regions.map((region) =>
    createRegion(
      region.parameters.map(({ type }) => type),
      (parameters) => fill(region, parameters, b.program, mapped, visit),
    ),
  );
  // Types follow from types: where those of the operands are the same objects, so are those of the results.
  if (regions.length === 0 && operands.every(({ type }, i) => type === op.operands[i].type))
    return b.copy(op, operands);
  const types = op.results.map(({ type }) => type);
  return b.op(op.name, operands, op.attributes, { regions, types, ...(op.location && { location: op.location }) });
}

function fill(
  region: Region,
  parameters: readonly Value[],
  program: ProgramBuilder,
  mapped: Map<Value, Value>,
  visit: Visitor,
) {
  region.parameters.forEach((old, i) => {
    mapped.set(old, parameters[i]);
  });
  const b = new Builder(program);
  const results = copyBody(region, b, mapped, visit);
  return { body: b.body, results };
}

/**
 * The function with every op visited, nested ones included; the same object if the visitor left every op alone. What a
 * visitor says of an op may depend on ops before it, not on how often it was asked.
 */
export function rewriteFunc(func: Func, visit: Visitor, program: ProgramBuilder): Func {
  const trial = new Builder(new ProgramBuilder(program.functions));
  if (!changes(func, trial, new Map(), visit)) return func;
  return createFunc(
    func.name,
    func.parameters.map(({ type }) => type),
    (parameters) => fill(func, parameters, program, new Map(), visit),
  );
}

/**
 * The program with every function visited. The visitor may define functions through its builder. The same object if
 * nothing changed.
 */
export function rewriteProgram(program: Program, visit: Visitor): Program {
  const builder = new ProgramBuilder(program.functions);
  const main = rewriteFunc(program.main, visit, builder);
  const rewritten = [...program.functions].map(([name, func]) => [name, rewriteFunc(func, visit, builder)] as const);
  const functions = new Map([...builder.functions, ...rewritten]);
  const same = main === program.main && rewritten.every(([name, func]) => program.functions.get(name) === func);
  return same ? program : { ...program, main, functions };
}
