/** What the program of one rank asks of a machine in one step, at the bounds of its symbolic dimensions. */

import { type Collective, isCollective } from '../../ir/process-groups.ts';
import type { Func, Op, Program, Region, Value } from '../../ir/program.ts';
import { asTensor, maxDim, maxElements } from '../../ir/types.ts';
import { callee, type Use, uses } from '../../ir/walk.ts';
import { blockFormat } from '../../numerics/quant/formats.ts';
import { type Hardware, opOperations, valueBytes } from '../cost.ts';
import { ruleOf } from './rules/table.ts';

export interface RankCost {
  readonly weightBytes: number;
  /** Of the weights, what a step reads: rows that are taken, experts that are used. */
  readonly readBytes: number;
  readonly stateBytes: number;
  /** Arithmetic, a multiplication and an addition counted as two; loops count as one turn. */
  readonly operations: number;
  /** Collectives, one after another, and the bytes that the rank sends in them. */
  readonly collectives: number;
  readonly sentBytes: number;
}

type Work = Pick<RankCost, 'operations' | 'collectives' | 'sentBytes'>;

const nothing: Work = { operations: 0, collectives: 0, sentBytes: 0 };

export function rankCost(program: Program): RankCost {
  let [weightBytes, readBytes, stateBytes] = [0, 0, 0];
  const walker = new Walker(program);
  program.parameters.forEach(({ role, format, type }, i) => {
    const value = program.main.parameters[i];
    const bytes = format === undefined ? valueBytes(value) : storedBytes(format, maxElements(type));
    if (role === 'state') stateBytes += bytes;
    else weightBytes += bytes;
    if (role === 'weight') readBytes += bytes * walker.shareRead(program.main, value);
  });
  return { weightBytes, readBytes, stateBytes, ...walker.func(program.main) };
}

function storedBytes(format: string, elements: number): number {
  const { blockSize, blockBytes } = blockFormat(format);
  return Math.ceil(elements / blockSize) * blockBytes;
}

/** Seconds of a step; of `hardware` without a link moving data takes no time. */
export function rankSeconds(
  { readBytes, operations, collectives, sentBytes }: RankCost,
  { readBytesPerSecond, operationsPerSecond, link }: Hardware,
): { readonly computing: number; readonly communicating: number } {
  const rate = operationsPerSecond.f32 ?? Number.POSITIVE_INFINITY;
  return {
    computing: Math.max(readBytes / readBytesPerSecond, operations / rate),
    communicating: link === undefined ? 0 : collectives * link.latencySeconds + sentBytes / link.bytesPerSecond,
  };
}

/** A function calls the same others wherever it stands. */
const worked = new WeakMap<Func, Work>();
const used = new WeakMap<Func, ReadonlyMap<Value, readonly Use[]>>();

class Walker {
  readonly #program: Program;

  constructor(program: Program) {
    this.#program = program;
  }

  /** How much of a value its users in a function read, at most. */
  shareRead(func: Func, value: Value): number {
    let read = 0;
    for (const { op, index } of this.#uses(func).get(value) ?? []) {
      if (op === undefined) continue;
      const called = op.name === 'call' ? callee(this.#program, op) : undefined;
      const own = called === undefined ? shareTaken(op, index) : this.shareRead(called, called.parameters[index]);
      read = Math.max(read, own);
    }
    return read;
  }

  #uses(func: Func): ReadonlyMap<Value, readonly Use[]> {
    let found = used.get(func);
    if (found === undefined) {
      found = uses(func);
      used.set(func, found);
    }
    return found;
  }

  func(func: Func): Work {
    const known = worked.get(func);
    if (known !== undefined) return known;
    const work = this.#region(func);
    worked.set(func, work);
    return work;
  }

  #region(region: Region): Work {
    return region.body.map((op) => this.#op(op)).reduce(sum, nothing);
  }

  #op(op: Op): Work {
    const called = callee(this.#program, op);
    if (called !== undefined) return this.func(called);
    if (isCollective(op)) return { operations: 0, collectives: 1, sentBytes: sentBytes(op) };
    if (op.name === 'if' || op.name === 'case') return largest(op.regions.map((region) => this.#region(region)));
    if (op.name === 'while') return op.regions.map((region) => this.#region(region)).reduce(sum, nothing);
    return { ...nothing, operations: opOperations(op) };
  }
}

/** Of an operand whose rows others choose: as many as there can be. */
function shareTaken(op: Op, operand: number): number {
  const factor = ruleOf(op).factors.find((each) => each.index !== undefined && each.operands[operand] !== undefined);
  if (factor?.index === undefined || op.name === 'scatter') return 1;
  const [index, rows] = [op.operands[factor.index], op.operands[operand]];
  return Math.min(1, maxElements(asTensor(index.type)) / maxDim(asTensor(rows.type).shape[0]));
}

function sum(a: Work, b: Work): Work {
  return {
    operations: a.operations + b.operations,
    collectives: a.collectives + b.collectives,
    sentBytes: a.sentBytes + b.sentBytes,
  };
}

/** One of several is done: the dearest to compute, and the cheapest in what it sends, since ranks choose alike. */
function largest(works: readonly Work[]): Work {
  return {
    operations: Math.max(...works.map(({ operations }) => operations)),
    collectives: Math.min(...works.map(({ collectives }) => collectives)),
    sentBytes: Math.min(...works.map(({ sentBytes }) => sentBytes)),
  };
}

/** By algorithms that move least: rings, of which each rank sends to the next. */
function sentBytes(op: Collective): number {
  const ranks = 'replica_groups' in op.attributes ? (op.attributes.replica_groups[0]?.length ?? 1) : 2;
  const of = (values: Op['operands']) =>
    values.filter(({ type }) => type.kind === 'tensor').reduce((bytes, value) => bytes + valueBytes(value), 0);
  const others = (ranks - 1) / ranks;
  switch (op.name) {
    case 'all_reduce':
      return 2 * others * of(op.operands);
    case 'all_gather':
      return others * of(op.results);
    case 'reduce_scatter':
    case 'all_to_all':
      return others * of(op.operands);
    case 'collective_broadcast':
    case 'collective_permute':
    case 'send':
      return of(op.operands);
    case 'recv':
      return 0;
    default:
      return op satisfies never;
  }
}
