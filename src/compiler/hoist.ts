/**
 * What all calls of a function compute alike, its caller computes once and gives to each: layers are calls of one function, and the angles
 * by which a rotary embedding turns are the same in all of them. What depends on parameters that every call is given the same value for,
 * and on constants, moves (loop-invariant code motion, with calls for turns); what costs less to do again than to keep stays.
 */
import { Builder, createFunc, ProgramBuilder } from '../ir/build.ts';
import { type Func, findFunction, type Op, type OpOf, type Program, type Value } from '../ir/program.ts';
import { copyBody } from '../ir/rewrite.ts';
import { callee, reachable, reads, walk } from '../ir/walk.ts';
import { effects } from './dce.ts';
import { costsLittle } from './prepare.ts';
import { stateValues } from './state-values.ts';

/** Callees before callers: what a caller gets from a function may move on to its own caller. */
export function hoist(program: Program): Program {
  return reachable(program)
    .toReversed()
    .reduce((current, { name }) => hoistOut(current, name), program);
}

function hoistOut(program: Program, name: string): Program {
  const func = findFunction(program, name);
  const site = func && callsOf(program, func);
  if (func === undefined || site === undefined) return program;
  const { caller, calls } = site;
  const state = stateValues(program);
  const [first] = calls;
  const common = func.parameters.filter(
    (parameter, i) => !state.has(parameter) && calls.every(({ operands }) => operands[i] === first.operands[i]),
  );
  const { body, results } = alike(program, func, new Set(common));
  if (results.length === 0) return program;

  const types = func.parameters.map(({ type }) => type);
  const builder = new ProgramBuilder(program.functions);
  const callable = createFunc(name, [...types, ...results.map(({ type }) => type)], (parameters) => {
    const b = new Builder(builder);
    const given = new Map(results.map((value, i) => [value, parameters[types.length + i]]));
    const mapped = new Map(func.parameters.map((value, i) => [value, parameters[i]]));
    const visit = (op: Op) => {
      const values = op.results.map((value) => given.get(value));
      return values.length > 0 && values.every((value) => value !== undefined) ? values : undefined;
    };
    const copied = copyBody(func, b, mapped, visit);
    return { body: b.body, results: copied };
  });
  const calling = createFunc(
    caller.name,
    caller.parameters.map(({ type }) => type),
    (parameters) => {
      const b = new Builder(builder);
      const mapped = new Map(caller.parameters.map((value, i) => [value, parameters[i]]));
      let made: readonly Value[] | undefined;
      const copied = copyBody(caller, b, mapped, (op, { operands }) => {
        if (op.name !== 'call' || op.attributes.callee !== name) return undefined;
        made ??= copyBody(
          { ...func, body, results },
          b,
          new Map(common.map((value) => [value, operands[value.index]])),
        );
        const declared = op.results.map(({ type }) => type);
        const { location } = op;
        return b.op('call', [...operands, ...made], op.attributes, { types: declared, ...(location && { location }) });
      });
      return { body: b.body, results: copied };
    },
  );
  const functions = new Map(program.functions).set(name, callable);
  if (caller === program.main) return { ...program, main: calling, functions };
  return { ...program, functions: functions.set(caller.name, calling) };
}

/** The calls of a function, if there are several, all in the body of one other. */
function callsOf(
  program: Program,
  func: Func,
): { readonly caller: Func; readonly calls: readonly OpOf<'call'>[] } | undefined {
  const calls: OpOf<'call'>[] = [];
  const callers = new Set<Func>();
  for (const caller of reachable(program)) {
    for (const op of walk(caller)) {
      if (callee(program, op) !== func) continue;
      if (op.name !== 'call' || !caller.body.includes(op)) return undefined;
      calls.push(op);
      callers.add(caller);
    }
  }
  const [caller] = callers;
  return callers.size === 1 && calls.length > 1 ? { caller, calls } : undefined;
}

/** Values that follow from these parameters alone and are worth passing on, and what makes them. */
function alike(
  program: Program,
  func: Func,
  common: ReadonlySet<Value>,
): { readonly body: readonly Op[]; readonly results: readonly Value[] } {
  const hasEffect = effects(program);
  const known = new Set(common);
  for (const op of func.body) {
    const isFixed =
      op.name !== 'custom_call' &&
      op.name !== 'optimization_barrier' &&
      !hasEffect(op) &&
      op.results.every(({ type }) => type.kind === 'tensor') &&
      [...reads(op)].every((value) => known.has(value));
    if (isFixed) for (const value of op.results) known.add(value);
  }
  const moved = new Set<Op>();
  const stays = new Set<Op>();
  const visit = (op: Op) => {
    if (stays.has(op) || moved.has(op)) return;
    if (op.results.length > 0 && op.results.every((value) => known.has(value)) && !costsLittle(op)) {
      moved.add(op);
      return;
    }
    stays.add(op);
    reads(op).forEach(demand);
  };
  const demand = ({ owner }: Value) => {
    if (owner.kind === 'op' && func.body.includes(owner)) visit(owner);
  };
  for (const op of func.body) if (!op.results.some((value) => known.has(value))) visit(op);
  func.results.forEach(demand);
  const results = [...moved].flatMap((op) => op.results);
  const needed = new Set<Op>();
  const need = ({ owner }: Value) => {
    if (owner.kind !== 'op' || needed.has(owner)) return;
    needed.add(owner);
    reads(owner).forEach(need);
  };
  results.forEach(need);
  return { body: func.body.filter((op) => needed.has(op)), results };
}
