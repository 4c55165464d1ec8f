/**
 * Memory that the next turn of an outer loop will read where an inner one reads now, for loops that have time to ask for it: no
 * prefetch of the processor foresees that a row ends.
 */
import type { Axis, Buffer, Statement } from '../../../compiler/kernel/language.ts';
import { expressionsOf } from '../../../compiler/kernel/walk-kernel.ts';
import { elementBytes } from '../../../numerics/element-types.ts';
import { type Linear, linearKey, linearOf, strideOf } from './index-form.ts';

export interface NextLoad {
  readonly buffer: Buffer;
  readonly index: Linear;
  /** From what is read now. */
  readonly bytes: number;
}

/** Of loads that lie side by side along `inner` and move with one of `outer`, each once. */
export function nextLoads(inner: Axis, outer: readonly Axis[], statements: readonly Statement[]): readonly NextLoad[] {
  // Indices of further loops and of locals mean nothing before them.
  const body = statements.flatMap((s): readonly Statement[] => (s.kind === 'reduce' ? s.body : [s]));
  if (body.some(({ kind }) => kind !== 'let' && kind !== 'store')) return [];
  const found = new Map<string, NextLoad>();
  for (const e of expressionsOf(statements)) {
    if (e.kind !== 'load') continue;
    const { buffer } = e;
    const index = linearOf(e.index, () => undefined);
    const plain = index.terms.every(({ expression: { kind } }) => kind === 'axis' || kind === 'dim');
    const step = outer.map((axis) => strideOf(index, axis)).find((stride) => stride !== 0);
    if (!plain || step === undefined || strideOf(index, inner) !== 1) continue;
    const next = { ...index, constant: index.constant + step };
    found.set(`${buffer.name} ${linearKey(next)}`, { buffer, index: next, bytes: step * elementBytes(buffer.element) });
  }
  return [...found.values()];
}
