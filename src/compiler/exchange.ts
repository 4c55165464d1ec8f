/**
 * Collectives as messages and arithmetic. Devices whose runs meet others in native code know one thing: an *exchange*, of
 * whole tensors with at most one message from a process to another. This pass makes custom calls `ingot.exchange` of all
 * collectives, and plain ops of what they do besides: slices, concatenations, and sums, in the order of the group, which then
 * are fused with their neighbours. An exchange says for all processes at once what each does; `transfersOf` is the part of
 * one.
 */
import { IngotError } from '../base/errors.ts';
import { type Attribute, isListAttribute } from '../ir/attributes.ts';
import { type Builder, createOp } from '../ir/build.ts';
import { plainFold } from '../ir/plain-fold.ts';
import { type Collective, isCollective, processGrid, processGroups } from '../ir/process-groups.ts';
import type { Op, OpOf, Program, Region, Value } from '../ir/program.ts';
import { copyBody, rewriteProgram } from '../ir/rewrite.ts';
import { asTensor, maxBytes, maxDim, sameDim, type Type, tensor } from '../ir/types.ts';
import { elementBytes } from '../numerics/element-types.ts';
import { joinedBytes, usualLink, wholeBytes } from './cost.ts';

/** What every process of the grid does. Groups and pairs are of processes. */
export type Exchange =
  /** One operand goes to all of the group; result i is that of member i. */
  | { readonly kind: 'gather'; readonly groups: readonly (readonly number[])[] }
  /** Operand i goes to member i of the group; result i comes from there. */
  | { readonly kind: 'swap'; readonly groups: readonly (readonly number[])[] }
  /** From the first of each pair to the second; zeros where nobody sends. */
  | { readonly kind: 'move'; readonly groups: readonly (readonly number[])[] }
  /** As `move`, but each end stands in a program of its own; without pairs whoever uses the channel. */
  | { readonly kind: 'send' | 'recv'; readonly channel: number; readonly groups: readonly (readonly number[])[] }
  /** A number of the process, an ui32: its partition, its replica, or how many there are in its group. */
  | { readonly kind: 'partition' | 'replica' | 'members'; readonly groups: readonly (readonly number[])[] }
  /** How many rows the operand has in this run, an ui32. */
  | { readonly kind: 'rows'; readonly groups: readonly (readonly number[])[] };

/** A tensor of a call by its index; `peer` undefined: whoever uses the channel. */
interface Message {
  readonly peer: number | undefined;
  readonly index: number;
}

/** What one process does in an exchange. */
export interface Transfers {
  readonly channel: number;
  /** Operands that go to peers, and results that come from them. */
  readonly sends: readonly Message[];
  readonly receives: readonly Message[];
  /** Results that are an operand, zero, a number, or how many rows an operand has. */
  readonly copies: readonly { readonly from: number; readonly to: number }[];
  readonly zeros: readonly number[];
  readonly numbers: readonly { readonly to: number; readonly value: number }[];
  readonly counts: readonly { readonly to: number; readonly from: number }[];
}

const nothing: Transfers = { channel: 0, sends: [], receives: [], copies: [], zeros: [], numbers: [], counts: [] };
const exchangeTarget = 'ingot.exchange';
const finishTarget = 'ingot.finish';

/** `results`: how many the exchange has. */
export function transfersOf(exchange: Exchange, rank: number, partitions: number, results: number): Transfers {
  const { kind, groups } = exchange;
  const group = groups.find((members) => members.includes(rank)) ?? [rank];
  switch (kind) {
    case 'gather':
    case 'swap': {
      const own = group.indexOf(rank);
      const peers = group.flatMap((peer, index) => (peer === rank ? [] : [{ peer, index }]));
      const from = (index: number) => (kind === 'gather' ? 0 : index);
      return {
        ...nothing,
        sends: peers.map(({ peer, index }) => ({ peer, index: from(index) })),
        receives: peers,
        copies: [{ from: from(own), to: own }],
        // Of larger groups: what is not there.
        zeros: Array.from({ length: results - group.length }, (_, i) => group.length + i),
      };
    }
    case 'move': {
      const source = groups.find(([, target]) => target === rank)?.[0];
      const targets = groups.flatMap(([from, to]) => (from === rank && to !== rank ? [to] : []));
      return {
        ...nothing,
        sends: targets.map((peer) => ({ peer, index: 0 })),
        receives: source === undefined || source === rank ? [] : [{ peer: source, index: 0 }],
        copies: source === rank ? [{ from: 0, to: 0 }] : [],
        zeros: source === undefined ? [0] : [],
      };
    }
    case 'send': {
      const to = groups.find(([from]) => from === rank)?.[1];
      return { ...nothing, channel: exchange.channel, sends: [{ peer: to, index: 0 }] };
    }
    case 'recv': {
      const from = groups.find(([, to]) => to === rank)?.[0];
      return { ...nothing, channel: exchange.channel, receives: [{ peer: from, index: 0 }] };
    }
    case 'partition':
      return { ...nothing, numbers: [{ to: 0, value: rank % partitions }] };
    case 'replica':
      return { ...nothing, numbers: [{ to: 0, value: Math.floor(rank / partitions) }] };
    case 'members':
      return { ...nothing, numbers: [{ to: 0, value: group.length }] };
    case 'rows':
      return { ...nothing, counts: [{ to: 0, from: 0 }] };
    default:
      return kind satisfies never;
  }
}

/** What a call of the pass says; undefined of any other custom call. */
export function exchangeOf({ attributes: { call_target_name, extra } }: OpOf<'custom_call'>): Exchange | undefined {
  if (call_target_name !== exchangeTarget) return undefined;
  const list = (value: Attribute | undefined) => (value !== undefined && isListAttribute(value) ? value : []);
  const groups = list(extra.groups).map((group) => list(group).map(Number));
  return { kind: extra.kind, channel: Number(extra.channel ?? 0), groups } as Exchange;
}

/** Whether a call exchanges messages that may be under way while something else is done. */
export function isDivisible(op: OpOf<'custom_call'>): boolean {
  const kind = exchangeOf(op)?.kind;
  return kind === 'gather' || kind === 'swap' || kind === 'move';
}

/** The first half of an exchange: its results are there when `finishExchange` has had them, and its operands stay until then. */
export function startOf(op: OpOf<'custom_call'>): Op {
  const extra = { ...op.attributes.extra, starts: true };
  const types = op.results.map(({ type }) => type);
  return createOp('custom_call', op.operands, { ...op.attributes, extra }, { types }) as Op;
}

export function isStart({ attributes: { extra } }: OpOf<'custom_call'>): boolean {
  return extra.starts === true;
}

export function finishExchange(b: Builder, started: readonly Value[], operands: readonly Value[]): readonly Value[] {
  const attributes = { call_target_name: finishTarget, has_side_effect: true, extra: {} };
  return b.op('custom_call', [...started, ...operands], attributes, { types: started.map(({ type }) => type) });
}

/** Whether a call is the second half: its results are its first operands, in the same memory. */
export function isFinish({ attributes: { call_target_name } }: OpOf<'custom_call'>): boolean {
  return call_target_name === finishTarget;
}

function exchange(b: Builder, what: Exchange, operands: readonly Value[], types: readonly Type[]): readonly Value[] {
  const extra: { [key: string]: Attribute } = { kind: what.kind, groups: what.groups };
  if ('channel' in what) extra.channel = what.channel;
  const attributes = { call_target_name: exchangeTarget, has_side_effect: true, extra };
  return b.op('custom_call', operands, attributes, { types });
}

/** The program without collectives. */
export function lowerCollectives(program: Program): Program {
  const grid = processGrid(program);
  return rewriteProgram(program, (op, { b, operands }) => {
    if (op.name === 'partition_id' || op.name === 'replica_id') {
      const kind = op.name === 'partition_id' ? 'partition' : 'replica';
      return exchange(b, { kind, groups: [] }, [], [op.results[0].type]);
    }
    return isCollective(op) ? lower(b, op, operands, processGroups(op, grid)) : undefined;
  });
}

type Groups = readonly (readonly number[])[];

function lower(b: Builder, op: Collective, operands: readonly Value[], groups: Groups): readonly Value[] {
  const largest = Math.max(1, ...groups.map(({ length }) => length));
  switch (op.name) {
    case 'all_reduce':
      return allReduces(b, operands, op, groups, largest);
    case 'all_gather':
      return operands.map((x) => b.concatenate(gather(b, x, groups, largest), op.attributes.all_gather_dim));
    case 'reduce_scatter': {
      const parts = split(b, operands[0], op.attributes.scatter_dimension, largest);
      return [fold(b, swap(b, parts, groups), op, groups)];
    }
    case 'all_to_all': {
      const { split_dimension, concat_dimension, split_count } = op.attributes;
      return operands.map((x) => {
        return b.concatenate(swap(b, split(b, x, split_dimension, split_count), groups), concat_dimension);
      });
    }
    case 'collective_broadcast': {
      if (op.attributes.has_dynamic_root) return dynamicBroadcast(b, operands, groups, largest);
      const pairs = groups.flatMap((group) => group.map((target) => [group[0], target]));
      return operands.map((x) => move(b, x, pairs));
    }
    case 'collective_permute':
      return [move(b, operands[0], groups)];
    case 'send': {
      const { channel_id: channel } = op.attributes;
      for (const x of operands.slice(0, -1)) exchange(b, { kind: 'send', channel, groups }, [x], []);
      return b.op('after_all', [], {});
    }
    case 'recv': {
      const { channel_id: channel } = op.attributes;
      const types = op.results.slice(0, -1).map(({ type }) => type);
      const tensors = types.flatMap((type) => exchange(b, { kind: 'recv', channel, groups }, [], [type]));
      return [...tensors, ...b.op('after_all', [], {})];
    }
    default:
      return op satisfies never;
  }
}

/** Short operands go in one message: side by side, a row for each of their rows. */
function allReduces(
  b: Builder,
  operands: readonly Value[],
  op: OpOf<'all_reduce'>,
  groups: Groups,
  count: number,
): readonly Value[] {
  const types = operands.map(({ type }) => asTensor(type));
  const bytes = types.reduce((sum, type) => sum + maxBytes(type), 0);
  const [
    {
      shape: [rows = 1],
      element,
    },
  ] = types;
  const alike = types.every(
    ({ shape, element: own }) => shape.length > 0 && sameDim(shape[0], rows) && own === element,
  );
  if (operands.length === 1 || !alike || bytes > joinedBytes(usualLink)) {
    return operands.map((x) => allReduce(b, x, op, groups, count));
  }
  const widths = types.map(({ shape }) => shape.slice(1).reduce<number>((product, size) => product * maxDim(size), 1));
  const joined = b.concatenate(
    operands.map((x, i) => b.reshape(x, [rows, widths[i]])),
    1,
  );
  const sums = allReduce(b, joined, op, groups, count);
  let at = 0;
  return types.map(({ shape }, i) => {
    const start = at;
    at += widths[i];
    return b.reshape(b.slice(sums, 1, start, at), shape);
  });
}

/** What goes whole to everybody is there soonest; of more bytes each member folds a part, and all gather the parts. */
function allReduce(b: Builder, x: Value, op: OpOf<'all_reduce'>, groups: Groups, count: number): Value {
  if (count === 2 && groups.every(({ length }) => length === 2) && plainFold(op.regions[0]) === 'add') {
    // The one order has the bits of the other, so nobody copies what is its own.
    const pairs = groups.flatMap(([first, second]) => [
      [first, second],
      [second, first],
    ]);
    return b.add(x, move(b, x, pairs));
  }
  const whole = (inner: Builder) => [fold(inner, gather(inner, x, groups, count), op, groups)];
  const { element, shape } = asTensor(x.type);
  const dim = shape.findLastIndex((size) => typeof size === 'number' && size % count === 0);
  const isEven = groups.every(({ length }) => length === count);
  if (dim < 0 || !isEven) return whole(b)[0];
  const inParts = (inner: Builder) => {
    const own = fold(inner, swap(inner, split(inner, x, dim, count), groups), op, groups);
    return [inner.concatenate(gather(inner, own, groups, count), dim)];
  };
  const [rows] = shape;
  const rowBytes = shape.slice(1).reduce<number>((product, size) => product * maxDim(size), elementBytes(element));
  const fewRows = Math.floor(wholeBytes(count, usualLink) / rowBytes);
  if (fewRows >= maxDim(rows)) return whole(b)[0];
  if (typeof rows === 'number') return inParts(b)[0];
  const [now] = exchange(b, { kind: 'rows', groups: [] }, [x], [tensor('ui32')]);
  return b.if(b.compare('GT', now, b.scalar('ui32', fewRows)), inParts, whole)[0];
}

function gather(b: Builder, x: Value, groups: Groups, count: number): readonly Value[] {
  const types = Array.from({ length: count }, () => x.type);
  return exchange(b, { kind: 'gather', groups }, [x], types);
}

function swap(b: Builder, parts: readonly Value[], groups: Groups): readonly Value[] {
  const types = parts.map(({ type }) => type);
  return exchange(b, { kind: 'swap', groups }, parts, types);
}

function move(b: Builder, x: Value, pairs: Groups): Value {
  return exchange(b, { kind: 'move', groups: pairs }, [x], [x.type])[0];
}

function split(b: Builder, x: Value, dim: number, count: number): readonly Value[] {
  const extent = maxDim(asTensor(x.type).shape[dim]) / count;
  return Array.from({ length: count }, (_, i) => b.slice(x, dim, i * extent, (i + 1) * extent));
}

/** In the order of the group, so that all members get the same bits. */
function fold(
  b: Builder,
  parts: readonly Value[],
  op: OpOf<'all_reduce'> | OpOf<'reduce_scatter'>,
  groups: Groups,
): Value {
  const combine = combination(b, op.regions[0], op);
  const isRagged = groups.some(({ length }) => length !== parts.length);
  if (!isRagged) return parts.reduce((sum, part) => combine(sum, part));
  const members = exchange(b, { kind: 'members', groups }, [], [tensor('ui32')])[0];
  return parts.reduce((sum, part, i) => {
    return b.select(b.compare('LT', b.scalar('ui32', i), members), combine(sum, part), sum);
  });
}

/** What a region says of two scalars, of two tensors. */
function combination(b: Builder, region: Region, op: Op): (x: Value, y: Value) => Value {
  const plain = plainFold(region);
  if (plain !== undefined) return (x, y) => b.binary(plain, x, y);
  return (x, y) => {
    const copy = b.region(
      region.parameters.map(({ type }) => type),
      (inner, ...values) => copyBody(region, inner, new Map(region.parameters.map((value, i) => [value, values[i]]))),
    );
    const dimensions = asTensor(x.type).shape.map((_, d) => d);
    const [result] = b.op('map', [x, y], { dimensions }, { regions: [copy] });
    if (result === undefined) throw new IngotError('InvalidProgram', `${op.name}: its region gives nothing`);
    return result;
  };
}

function dynamicBroadcast(b: Builder, operands: readonly Value[], groups: Groups, count: number): readonly Value[] {
  const roots = operands[operands.length - 1];
  return operands.slice(0, -1).map((x, i) => {
    const root = b.reshape(b.slice(roots, 0, i, i + 1), []);
    const parts = gather(b, x, groups, count);
    // Out of range clamps.
    return parts.reduce((chosen, part, at) => b.select(b.compare('GE', root, b.scalar('i32', at)), part, chosen));
  });
}
