/**
 * What every program keeps to, between all passes: ops that their rows infer anew with the stated types, values defined
 * before use, callees that exist, fit and do not recurse, state that is updated through aliases, and symbolic
 * dimensions that lead, alone, with one bound each.
 */
import { IngotError } from '../base/errors.ts';
import type { OpName } from './attributes.ts';
import { fail, formatTypes } from './ops/row.ts';
import { ops } from './ops/table.ts';
import type { Func, Op, OpOf, Program, Region, Value } from './program.ts';
import { type DimSymbol, formatType, sameType, type Type } from './types.ts';
import { callee, walk } from './walk.ts';

/** Their regions may use values from around them; all others see their parameters alone. */
const capturing: ReadonlySet<OpName> = new Set(['case', 'if', 'while']);

/** @throws IngotError 'InvalidProgram' naming the op. */
export function verify(program: Program): void {
  const bounds = new Map<DimSymbol, number>();
  const functions = [program.main, ...program.functions.values()];
  for (const [name, func] of program.functions) {
    if (func.name !== name) invalid(`function ${func.name} is listed as ${name}`);
    if (func.name === program.main.name) invalid(`function ${name} is defined twice`);
  }
  const seen = new Set<Op>();
  for (const func of functions) {
    try {
      verifyRegion(program, func, new Set(), seen, bounds);
    } catch (error) {
      if (error instanceof IngotError) throw inFunction(error, func);
      throw error;
    }
  }
  verifyCallGraph(program, functions);
  verifyInterface(program);
}

function invalid(message: string, op?: string): never {
  throw new IngotError('InvalidProgram', message, op === undefined ? {} : { op });
}

function inFunction(error: IngotError, func: Func): IngotError {
  return new IngotError(error.code, `in ${func.name}: ${error.message}`, { ...error.place, cause: error });
}

/** `visible` are the values that the region may use besides its own. */
function verifyRegion(
  program: Program,
  region: Region,
  visible: ReadonlySet<Value>,
  seen: Set<Op>,
  bounds: Map<DimSymbol, number>,
): void {
  const defined = new Set(visible);
  const define = (value: Value, owner: Op | Region, index: number) => {
    if (value.owner !== owner || value.index !== index) invalid('a value does not name the op or region that makes it');
    verifyDims(value.type, bounds);
    defined.add(value);
  };
  region.parameters.forEach((value, i) => {
    define(value, region, i);
  });
  for (const op of region.body) {
    if (seen.has(op)) fail(op, 'stands at two places');
    seen.add(op);
    op.operands.forEach((value, i) => {
      if (!defined.has(value)) fail(op, `operand ${i} is not defined before it`);
    });
    const inner = capturing.has(op.name) ? defined : new Set<Value>();
    for (const nested of op.regions) verifyRegion(program, nested, inner, seen, bounds);
    verifyTypes(op);
    verifyCallee(program, op);
    op.results.forEach((value, i) => {
      define(value, op, i);
    });
  }
  region.results.forEach((value, i) => {
    if (!defined.has(value)) invalid(`returned value ${i} is not defined in its region`);
  });
}

const typesOf = (values: readonly Value[]): readonly Type[] => values.map((value) => value.type);

function sameTypes(a: readonly Type[], b: readonly Type[]): boolean {
  return a.length === b.length && a.every((type, i) => sameType(type, b[i]));
}

function verifyTypes<N extends OpName>(op: OpOf<N>): void {
  const { name, operands, attributes, regions } = op;
  const stated = typesOf(op.results);
  const inferred = ops[name].infer({ name, operands, attributes, regions, declared: stated });
  if (!sameTypes(inferred, stated)) {
    fail(op, `states ${formatTypes(stated)} where its row infers ${formatTypes(inferred)}`);
  }
}

function verifyCallee(program: Program, op: Op): void {
  if (op.name !== 'call' && op.name !== 'composite') return;
  const name = op.name === 'call' ? op.attributes.callee : op.attributes.decomposition;
  const func = callee(program, op);
  if (func === undefined) fail(op, `there is no function ${name}`);
  const [takes, returns] = [typesOf(func.parameters), typesOf(func.results)];
  if (!sameTypes(takes, typesOf(op.operands))) {
    fail(op, `passes ${formatTypes(typesOf(op.operands))} to ${name}, which takes ${formatTypes(takes)}`);
  }
  if (!sameTypes(returns, typesOf(op.results))) {
    fail(op, `expects ${formatTypes(typesOf(op.results))} of ${name}, which returns ${formatTypes(returns)}`);
  }
}

function verifyDims(type: Type, bounds: Map<DimSymbol, number>): void {
  if (type.kind === 'tuple') for (const part of type.parts) verifyDims(part, bounds);
  if (type.kind !== 'tensor') return;
  type.shape.forEach((dim, i) => {
    if (typeof dim === 'number') return;
    if (i !== 0) invalid(`symbolic dimension ${dim.sym} of ${formatType(type)} does not lead`);
    const bound = bounds.get(dim.sym) ?? dim.max;
    if (bound !== dim.max) invalid(`dimension ${dim.sym} is bounded by ${bound} and by ${dim.max}`);
    bounds.set(dim.sym, bound);
  });
}

function verifyCallGraph(program: Program, functions: readonly Func[]): void {
  const state = new Map<Func, 'open' | 'done'>();
  const visit = (func: Func) => {
    if (state.get(func) === 'done') return;
    state.set(func, 'open');
    for (const op of walk(func)) {
      const called = callee(program, op);
      if (called === undefined) continue;
      if (state.get(called) === 'open') fail(op, `${called.name} calls itself`);
      visit(called);
    }
    state.set(func, 'done');
  };
  functions.forEach(visit);
}

/** Parameters, results and aliases against `main`. */
function verifyInterface({ main, parameters, results, aliases }: Program): void {
  const agree = (
    what: string,
    stated: readonly { readonly name: string; readonly type: Type }[],
    values: readonly Value[],
  ) => {
    if (stated.length !== values.length) invalid(`the program has ${stated.length} ${what}s, main ${values.length}`);
    const names = new Set<string>();
    stated.forEach(({ name, type }, i) => {
      if (names.has(name)) invalid(`two ${what}s are named ${name}`);
      names.add(name);
      if (!sameType(type, values[i].type)) {
        invalid(`${what} ${name} is ${formatType(type)}, in main ${formatType(values[i].type)}`);
      }
    });
  };
  agree('parameter', parameters, main.parameters);
  agree('result', results, main.results);
  for (const { name, role, format } of parameters) {
    if (format !== undefined && role !== 'weight') invalid(`${role} ${name} has a block format; only weights may`);
  }

  const [aliasedResults, aliasedParameters] = [new Set<number>(), new Set<number>()];
  for (const { result, parameter } of aliases) {
    const target = parameters.at(parameter);
    const source = results.at(result);
    if (result < 0 || parameter < 0 || target === undefined || source === undefined) {
      invalid(`alias of result ${result} and parameter ${parameter}: there is no such pair`);
    }
    if (target.role !== 'state') invalid(`result ${source.name} is aliased to ${target.role} ${target.name}`);
    if (!sameType(target.type, source.type)) {
      invalid(
        `result ${source.name} is ${formatType(source.type)}, its state ${target.name} ${formatType(target.type)}`,
      );
    }
    if (aliasedResults.has(result)) invalid(`result ${source.name} is aliased twice`);
    if (aliasedParameters.has(parameter)) invalid(`state ${target.name} is aliased twice`);
    aliasedResults.add(result);
    aliasedParameters.add(parameter);
  }
  for (const op of walk(main)) {
    if (op.name !== 'dynamic_update_slice' && op.name !== 'scatter') continue;
    const updated = op.name === 'scatter' ? op.operands.slice(0, op.results.length) : op.operands.slice(0, 1);
    for (const value of updated) {
      const index = main.parameters.indexOf(value);
      if (index >= 0 && parameters[index].role === 'state' && !aliasedParameters.has(index)) {
        fail(op, `updates state ${parameters[index].name}, to which no result is aliased`);
      }
    }
  }
}
