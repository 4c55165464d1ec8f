/**
 * Exchanges in two halves with work between them, as XLA's asynchronous collectives are (https://openxla.org/xla/async_ops): products, calls and
 * composites of the same region that neither wait for what an exchange brings nor make what it sends. It starts as soon as its operands are there,
 * and is finished when something needs it.
 *
 * Exchanges keep their order, and none starts before the one before it is finished. So ranks meet in one order whatever each of them
 * computes meanwhile, and cannot wait for each other in a circle. Nothing moves across an update of state or an effect.
 */
import type { Op, Program, Region, Value } from '../ir/program.ts';
import { rewriteProgram } from '../ir/rewrite.ts';
import { reads } from '../ir/walk.ts';
import { effects } from './dce.ts';
import { finishExchange, isDivisible, startOf } from './exchange.ts';
import { planState } from './state.ts';

/** @throws IngotError 'StateWouldCopy'. */
export function overlapExchanges(program: Program): Program {
  const inPlace = planState(program);
  const updates = (op: Op) => op.results.some((value) => inPlace.has(value));
  const hasEffect = effects(program);
  const isFixed = (op: Op) => hasEffect(op) || (op.name !== 'reshape' && updates(op));
  /** First halves, by the exchange. */
  const starts = new Map<Op, Op>();

  const ordered = <R extends Region>(region: R): R => {
    const body = region.body.map((op): Op => {
      const regions = op.regions.map(ordered);
      return regions.some((inner, i) => inner !== op.regions[i]) ? ({ ...op, regions } as Op) : op;
    });
    const usersOf = users(region, body);
    const order: Op[] = [];
    const moved = new Set<Op>();
    let from = 0;
    for (const [at, op] of body.entries()) {
      if (!isFixed(op)) continue;
      const before = body.slice(from, at).filter((each) => !moved.has(each));
      from = at + 1;
      if (op.name !== 'custom_call' || !isDivisible(op) || updates(op)) {
        order.push(...before, op);
        continue;
      }
      const next = body.findIndex((each, i) => i > at && isFixed(each));
      const meanwhile = besides(op, before, body.slice(at + 1, next < 0 ? body.length : next), usersOf);
      for (const each of meanwhile) moved.add(each);
      order.push(...before.filter((each) => !moved.has(each)));
      if (meanwhile.length > 0) {
        const start = startOf(op);
        starts.set(op, start);
        order.push(start, ...meanwhile);
      }
      order.push(op);
    }
    order.push(...body.slice(from).filter((each) => !moved.has(each)));
    return order.every((op, i) => op === region.body[i]) ? region : { ...region, body: order };
  };

  const functions = new Map([...program.functions].map(([name, func]) => [name, ordered(func)]));
  return rewriteProgram({ ...program, main: ordered(program.main), functions }, (op, { b, operands, map }) => {
    const start = starts.get(op);
    return start && finishExchange(b, start.results.map(map), operands);
  });
}

type Users = ReadonlyMap<Value, ReadonlySet<Op | undefined>>;

/** Ops of the region that read a value, also within themselves; undefined: it is a result. */
function users(region: Region, body: readonly Op[]): Users {
  const found = new Map<Value, Set<Op | undefined>>();
  const add = (value: Value, user: Op | undefined) => {
    const known = found.get(value);
    if (known === undefined) found.set(value, new Set([user]));
    else known.add(user);
  };
  for (const op of body) for (const value of reads(op)) add(value, op);
  for (const value of region.results) add(value, undefined);
  return found;
}

/** What can be computed during an exchange, of ops before and after it: work, what that makes of itself, and what it alone needs. */
function besides(exchange: Op, before: readonly Op[], after: readonly Op[], usersOf: Users): readonly Op[] {
  const needed = new Set(reads(exchange));
  const waiting = new Set(exchange.results);
  const early = before.toReversed().filter((op) => {
    const isNeeded = op.results.some((value) => needed.has(value));
    if (isNeeded) for (const value of reads(op)) needed.add(value);
    return !isNeeded;
  });
  const late = after.filter((op) => {
    const waits = [...reads(op)].some((value) => waiting.has(value));
    if (waits) for (const value of op.results) waiting.add(value);
    return !waits;
  });
  const free = [...early.toReversed(), ...late];
  const made = new Set<Value>();
  const chosen = new Set(
    free.filter((op) => {
      const takes = isWork(op) || [...reads(op)].some((value) => made.has(value));
      if (takes) for (const value of op.results) made.add(value);
      return takes;
    }),
  );
  for (const op of free.toReversed()) {
    const readers = op.results.flatMap((value) => [...(usersOf.get(value) ?? [])]);
    const chosenReads = (user: Op | undefined) => user !== undefined && chosen.has(user);
    // What stands before the exchange may stay there; from behind it all that is needed comes along.
    const comes = late.includes(op) ? readers.some(chosenReads) : readers.length > 0 && readers.every(chosenReads);
    if (comes) chosen.add(op);
  }
  return free.filter((op) => chosen.has(op));
}

/** What takes long, as far as its name says, and is a kernel of its own. */
function isWork({ name }: Op): boolean {
  return name === 'dot_general' || name === 'composite' || name === 'call';
}
