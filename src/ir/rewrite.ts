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

/** The function with every op visited, nested ones included; the same object if the visitor left every op alone. */
export function rewriteFunc(func: Func, visit: Visitor, program: ProgramBuilder): Func {
  const mapped = new Map<Value, Value>();
  let changed = false;

  const map = (value: Value): Value => {
    const found = mapped.get(value);
    if (found === undefined) throw new IngotError('InvalidProgram', 'a dropped or undefined value is used');
    return found;
  };

  const copyBody = (region: Region, b: Builder): readonly Value[] => {
    for (const op of region.body) {
      const site: Site = {
        b,
        map,
        // Not before it is asked for: an op that is dropped may have operands that were.
        get operands() {
          return op.operands.map(map);
        },
        inline(inner, values) {
          inner.parameters.forEach((parameter, i) => {
            mapped.set(parameter, values[i]);
          });
          return copyBody(inner, b);
        },
      };
      const replaced = visit(op, site);
      if (replaced !== undefined) changed = true;
      const results = replaced ?? copyOp(op, op.operands.map(map), b);
      results.forEach((value, i) => {
        mapped.set(op.results[i], value);
      });
    }
    return region.results.map(map);
  };

  const copyOp = <N extends OpName>(op: OpOf<N>, operands: readonly Value[], b: Builder): readonly Value[] => {
    const regions = op.regions.map((region) =>
      createRegion(
        region.parameters.map((value) => value.type),
        (parameters) => fill(region, parameters),
      ),
    );
    const types = op.results.map((value) => value.type);
    return b.op(op.name, operands, op.attributes, { regions, types, ...(op.location && { location: op.location }) });
  };

  const fill = (region: Region, parameters: readonly Value[]) => {
    region.parameters.forEach((old, i) => {
      mapped.set(old, parameters[i]);
    });
    const b = new Builder(program);
    const results = copyBody(region, b);
    return { body: b.body, results };
  };

  const copy = createFunc(
    func.name,
    func.parameters.map((value) => value.type),
    (parameters) => fill(func, parameters),
  );
  return changed ? copy : func;
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
