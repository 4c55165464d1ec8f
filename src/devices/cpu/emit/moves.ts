/**
 * Loops that only move neighbours of one or two bytes: whole registers of them, as they lie in memory, where lanes would take each
 * by itself.
 */
import { strideAlong } from '../../../compiler/kernel/affine.ts';
import type { Axis, Expression, Statement } from '../../../compiler/kernel/language.ts';
import { elementBytes, elementTypes } from '../../../numerics/element-types.ts';
import { type Address, type Register, view } from './machine.ts';
import type { Bound, Statements } from './statements.ts';

export interface Move {
  readonly load: Extract<Expression, { kind: 'load' }>;
  readonly store: Extract<Statement, { kind: 'store' }>;
}

/** Undefined where the body of a loop does more, or lanes are as good. */
export function moveOf(body: readonly Statement[]): Move | undefined {
  const [first] = body;
  const store = body.at(-1);
  if (store?.kind !== 'store' || store.where !== undefined || body.length > 2) return undefined;
  const { value } = store;
  const named = first?.kind === 'let' && value.kind === 'local' && value.local === first.local;
  const load = named ? first.value : value;
  if (load.kind !== 'load' || (body.length === 2 && !named)) return undefined;
  // Others have bits that a load or a store does not take.
  const whole = elementTypes[load.type].bits >= 8 && elementBytes(load.type) <= 2;
  return whole && load.type === store.buffer.element ? { load, store } : undefined;
}

/** Whether turns of the axis are neighbours. The locals that there are stand outside of its loop. */
export const isAlong = (axis: Axis, index: Expression) => strideAlong(index, axis, () => 0) === 1;

/** Turns from `start` on, registers of `bits` at a time; the first that is left. `source`: where a turn's elements lie. */
export function moveRegisters(
  writer: Statements,
  axis: Axis,
  start: Bound,
  end: Bound,
  bits: 128 | 256 | 512,
  { store }: Move,
  source: () => Address,
): Register {
  const { machine: m, scope } = writer;
  const bytes = bits / 8;
  const turns = bytes / elementBytes(store.buffer.element);
  const level = writer.open(axis, start);
  writer.turns(level, axis, turns, end, () => {
    const index = scope.linear(store.index);
    const moved = view(m.register('vec'), bits);
    m.emit('vmovups', moved, source());
    const streamed = writer.streams?.take(store.buffer, index, bytes, scope.level);
    m.emit(streamed ? 'vmovntdq' : 'vmovups', scope.address(store.buffer, index), moved);
    writer.advance(level, axis, turns);
  });
  return level.counters.get(axis) as Register;
}
