/** What the program of one rank asks of a machine in one step, at the bounds of its symbolic dimensions. */

import { type Collective, isCollective } from '../../ir/process-groups.ts';
import type { Func, Op, Program, Region } from '../../ir/program.ts';
import { maxElements } from '../../ir/types.ts';
import { callee } from '../../ir/walk.ts';
import { blockFormat } from '../../numerics/quant/formats.ts';
import { type Hardware, opOperations, valueBytes } from '../cost.ts';

export interface RankCost {
  readonly weightBytes: number;
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
  let [weightBytes, stateBytes] = [0, 0];
  program.parameters.forEach(({ role, format, type }, i) => {
    const bytes =
      format === undefined ? valueBytes(program.main.parameters[i]) : storedBytes(format, maxElements(type));
    if (role === 'state') stateBytes += bytes;
    else weightBytes += bytes;
  });
  return { weightBytes, stateBytes, ...new Walker(program).func(program.main) };
}

function storedBytes(format: string, elements: number): number {
  const { blockSize, blockBytes } = blockFormat(format);
  return Math.ceil(elements / blockSize) * blockBytes;
}

/** Seconds of a step; of `hardware` without a link moving data takes no time. */
export function rankSeconds(
  { weightBytes, operations, collectives, sentBytes }: RankCost,
  { readBytesPerSecond, operationsPerSecond, link }: Hardware,
): { readonly computing: number; readonly communicating: number } {
  const rate = operationsPerSecond.f32 ?? Number.POSITIVE_INFINITY;
  return {
    computing: weightBytes / readBytesPerSecond + operations / rate,
    communicating: link === undefined ? 0 : collectives * link.latencySeconds + sentBytes / link.bytesPerSecond,
  };
}

/** A function calls the same others wherever it stands. */
const worked = new WeakMap<Func, Work>();

class Walker {
  readonly #program: Program;

  constructor(program: Program) {
    this.#program = program;
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
