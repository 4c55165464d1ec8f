/**
 * Memory that later turns of an outer loop will read where an inner one reads now, for loops that have time to ask for it: no
 * prefetch of the processor foresees that a row ends.
 */
import type { Axis, Buffer, Statement } from '../../../compiler/kernel/language.ts';
import { expressionsOf } from '../../../compiler/kernel/walk-kernel.ts';
import { elementBytes } from '../../../numerics/element-types.ts';
import { type Linear, linearKey, linearOf, strideOf } from './index-form.ts';
import { type Machine, sizedAt } from './machine.ts';
import type { Scope } from './scope.ts';

const LINE = 64;
/** A longer row would drive the present one out of a second-level cache. */
const LONG_ROW = 2 ** 17;
/** Rows up to this length end before the processor has got ahead in them. */
const SHORT_ROW = 2 ** 12;
/** How far ahead short rows are asked for. */
const DISTANCE = 2 ** 11;
/** A buffer of less is likely in a cache. */
const LARGE = 2 ** 20;

export interface NextLoad {
  readonly buffer: Buffer;
  readonly index: Linear;
  /** Elements from one turn of the outer loop to the next. */
  readonly step: number;
}

/** What is read now: of loads that lie side by side along `inner` and move with one of `outer`, each once. */
function rowsOf(inner: Axis, outer: readonly Axis[], statements: readonly Statement[]): readonly NextLoad[] {
  // Indices of further loops and of locals mean nothing before them.
  const body = statements.flatMap((s): readonly Statement[] => (s.kind === 'reduce' ? s.body : [s]));
  if (body.some(({ kind }) => kind !== 'let' && kind !== 'set' && kind !== 'store')) return [];
  const found = new Map<string, NextLoad>();
  for (const e of expressionsOf(statements)) {
    if (e.kind !== 'load') continue;
    const index = linearOf(e.index, () => undefined);
    const plain = index.terms.every(({ expression: { kind } }) => kind === 'axis' || kind === 'dim');
    const step = outer.map((axis) => strideOf(index, axis)).find((stride) => stride !== 0);
    if (!plain || step === undefined || strideOf(index, inner) !== 1) continue;
    found.set(`${e.buffer.name} ${linearKey(index)}`, { buffer: e.buffer, index, step });
  }
  return [...found.values()];
}

function later({ buffer, index, step }: NextLoad, turns: number): NextLoad {
  return { buffer, step, index: { ...index, constant: index.constant + turns * step } };
}

/** What the next turn of one of `outer` reads. */
export function nextLoads(inner: Axis, outer: readonly Axis[], statements: readonly Statement[]): readonly NextLoad[] {
  return rowsOf(inner, outer, statements).map((row) => later(row, 1));
}

/** The same for rows that a later loop reads from the cache while it computes at length. */
export function nextRows(inner: Axis, outer: readonly Axis[], statements: readonly Statement[]): readonly NextLoad[] {
  return nextLoads(inner, outer, statements).filter(({ buffer, step }) => {
    const bytes = Math.abs(step) * elementBytes(buffer.element);
    return bytes >= LINE && bytes <= LONG_ROW;
  });
}

/** For rows that are short and not one behind the other; `width`: elements of a row, if not the whole loop. */
export function nextShortRows(
  inner: Axis,
  outer: readonly Axis[],
  statements: readonly Statement[],
  width?: number,
): readonly NextLoad[] {
  const whole = linearOf(inner.extent, () => undefined);
  if (width === undefined && whole.terms.length > 0) return [];
  const extent = width ?? whole.constant;
  return rowsOf(inner, outer, statements).flatMap((row) => {
    const size = elementBytes(row.buffer.element);
    const bytes = extent * size;
    const apart = row.step !== extent && row.buffer.elements * size >= LARGE;
    return apart && bytes >= LINE && bytes <= SHORT_ROW ? [later(row, Math.ceil(DISTANCE / bytes))] : [];
  });
}

/** Asks for what a turn of so many lanes will read then. */
export function askFor(m: Machine, scope: Scope, loads: readonly NextLoad[], lanes: number): void {
  for (const { buffer, index } of loads) {
    for (let lane = 0; lane < lanes; lane += LINE / elementBytes(buffer.element)) {
      const at = scope.address(buffer, { ...index, constant: index.constant + lane });
      m.emit('prefetcht1', sizedAt(at, 8));
    }
  }
}
