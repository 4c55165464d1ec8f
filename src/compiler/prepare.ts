/**
 * Splits off what depends on weights and constants alone: a program that runs once, and a main program that takes its
 * results as weights. Prepared is the result of every op that computes or moves data. What only names data or repeats
 * it (constants, iota, reshape, broadcast) costs less to do again than to keep, and stays in the main program.
 */
import { ProgramBuilder } from '../ir/build.ts';
import type { Op, Parameter, Program, Value } from '../ir/program.ts';
import { copyBody } from '../ir/rewrite.ts';
import { asTensor, isStatic } from '../ir/types.ts';
import { reads } from '../ir/walk.ts';
import { dce, dropUncalled } from './dce.ts';
import { weightsOnly } from './weights-only.ts';

export interface Prepared {
  /** Results named as the weights of `main` that they become; absent if nothing is worth it. */
  readonly prepare: Program | undefined;
  /** Weights that only `prepare` reads are no parameters of it any more. */
  readonly main: Program;
}

const cheap: ReadonlySet<Op['name']> = new Set(['broadcast_in_dim', 'constant', 'iota', 'reshape']);

/** Whether an op only names data or repeats it. */
export const costsLittle = ({ name }: Op): boolean => cheap.has(name);

export function splitPrepare(source: Program): Prepared {
  const program = dce(source);
  const { prepared, needed, kept } = choose(program);
  if (prepared.size === 0) return { prepare: undefined, main: program };

  const names = new Set(program.parameters.map(({ name }) => name));
  const results: { readonly value: Value; readonly parameter: Parameter }[] = [];
  for (const op of prepared) {
    for (const value of op.results) {
      let name = `prepared.${results.length}`;
      while (names.has(name)) name = `${name}'`;
      results.push({ value, parameter: { name, type: asTensor(value.type), role: 'weight' } });
    }
  }
  return {
    prepare: prepareProgram(program, results),
    main: mainProgram(program, results, needed, kept),
  };
}

/** Ops of main's body that are prepared, those that stay, and every value that the ones that stay use. */
function choose(program: Program) {
  const fixed = weightsOnly(program);
  const prepared = new Set<Op>();
  const needed = new Set<Op>();
  const kept = new Set<Value>();
  const demand = (value: Value) => {
    kept.add(value);
    if (value.owner.kind === 'op') visit(value.owner);
  };
  const visit = (op: Op) => {
    if (needed.has(op) || prepared.has(op)) return;
    const isFixed = op.results.length > 0 && op.results.every((value) => fixed.has(value));
    if (isFixed && !costsLittle(op) && op.results.every(isPreparable)) {
      prepared.add(op);
      return;
    }
    needed.add(op);
    reads(op).forEach(demand);
  };
  program.main.results.forEach(demand);
  // Effects have no results to be asked for.
  for (const op of program.main.body) if (!op.results.some((value) => fixed.has(value))) visit(op);
  return { prepared, needed, kept };
}

function isPreparable({ type }: Value): boolean {
  return type.kind === 'tensor' && isStatic(type);
}

type Results = readonly { readonly value: Value; readonly parameter: Parameter }[];

function prepareProgram({ main, parameters, functions }: Program, results: Results): Program {
  const needed = new Set<Op>();
  const used = new Set<Value>();
  const demand = (value: Value) => {
    used.add(value);
    if (value.owner.kind !== 'op' || needed.has(value.owner)) return;
    needed.add(value.owner);
    reads(value.owner).forEach(demand);
  };
  for (const { value } of results) demand(value);
  const region = {
    ...main,
    body: main.body.filter((op) => needed.has(op)),
    results: results.map(({ value }) => value),
  };
  const values = main.parameters.filter((value) => used.has(value));
  const weights = values.map(({ index }) => parameters[index]);
  const program = new ProgramBuilder(functions).program(weights, (b, byName) => {
    const mapped = new Map(values.map((value, i) => [value, byName[weights[i].name]]));
    const copied = copyBody(region, b, mapped);
    return Object.fromEntries(results.map(({ parameter }, i) => [parameter.name, copied[i]]));
  });
  return dropUncalled(program);
}

function mainProgram(
  { main, parameters, results, aliases, functions }: Program,
  prepared: Results,
  needed: ReadonlySet<Op>,
  kept: ReadonlySet<Value>,
): Program {
  const values = main.parameters.filter((value, i) => parameters[i].role !== 'weight' || kept.has(value));
  const stay = [...values.map(({ index }) => parameters[index]), ...prepared.map(({ parameter }) => parameter)];
  const region = { ...main, body: main.body.filter((op) => needed.has(op)) };
  const aliased = Object.fromEntries(
    aliases.map(({ result, parameter }) => [results[result].name, parameters[parameter].name]),
  );
  const program = new ProgramBuilder(functions).program(
    stay,
    (b, byName) => {
      const mapped = new Map(values.map((value, i) => [value, byName[stay[i].name]]));
      for (const { value, parameter } of prepared) mapped.set(value, byName[parameter.name]);
      const copied = copyBody(region, b, mapped);
      return Object.fromEntries(results.map(({ name }, i) => [name, copied[i]]));
    },
    aliased,
  );
  return dropUncalled(program);
}
