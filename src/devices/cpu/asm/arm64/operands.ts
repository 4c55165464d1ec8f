/**
 * What an arm64 instruction works on: registers, memory, immediates, conditions and labels. Plain values, as for x86-64 in
 * ../operands.ts, whose labels these are.
 */
import type { Label } from '../operands.ts';

/** How a vector register is divided into elements: all of it, its lower half, or its first element alone. */
export type Shape = '8b' | '16b' | '4h' | '8h' | '2s' | '4s' | '1d' | '2d' | 'b' | 'h' | 's' | 'd' | 'q';

/** A general register; 31 is the one that is zero, or with `sp` the stack pointer. */
export interface General {
  readonly kind: 'general';
  readonly id: number;
  readonly bits: 32 | 64;
  readonly sp: boolean;
}

export interface Vector {
  readonly kind: 'vector';
  readonly id: number;
  readonly shape: Shape;
  /** One element of it. */
  readonly lane?: number;
  /** So many registers from `id` on, as a table (tbl). */
  readonly count?: number;
}

/** `[base, offset]`, `[base, index, lsl shift]`; `pre` and `post` change the base by the offset before or after. */
export interface Place {
  readonly kind: 'place';
  readonly base: General;
  readonly offset: number;
  readonly index?: General;
  readonly shift?: number;
  readonly mode: 'offset' | 'pre' | 'post';
}

/** What is done to a register operand before it is used. */
export interface Shift {
  readonly kind: 'shift';
  readonly op: 'lsl' | 'lsr' | 'asr';
  readonly amount: number;
}

/** In the order of their codes. */
export const CONDITIONS = [
  ...(['eq', 'ne', 'hs', 'lo', 'mi', 'pl', 'vs', 'vc', 'hi', 'ls', 'ge', 'lt', 'gt', 'le', 'al', 'nv'] as const),
] as const;
export type ConditionName = (typeof CONDITIONS)[number];
export interface Condition {
  readonly kind: 'condition';
  readonly name: ConditionName;
}

export type Operand = General | Vector | Place | Shift | Condition | Label | number | bigint;

export const x = (id: number): General => ({ kind: 'general', id, bits: 64, sp: false });
export const w = (id: number): General => ({ kind: 'general', id, bits: 32, sp: false });
export const general = (id: number, bits: 32 | 64): General => ({ kind: 'general', id, bits, sp: false });
export const sp: General = { kind: 'general', id: 31, bits: 64, sp: true };
export const v = (id: number, shape: Shape): Vector => ({ kind: 'vector', id, shape });
export const lane = (id: number, shape: 'b' | 'h' | 's' | 'd', index: number): Vector => ({
  kind: 'vector',
  id,
  shape,
  lane: index,
});
export const tableOf = (id: number, count: number): Vector => ({ kind: 'vector', id, shape: '16b', count });
export const place = (base: General, offset = 0, mode: Place['mode'] = 'offset'): Place => ({
  kind: 'place',
  base,
  offset,
  mode,
});
export const indexedPlace = (base: General, index: General, shift = 0): Place => ({
  kind: 'place',
  base,
  offset: 0,
  index,
  shift,
  mode: 'offset',
});
export const lsl = (amount: number): Shift => ({ kind: 'shift', op: 'lsl', amount });
export const lsr = (amount: number): Shift => ({ kind: 'shift', op: 'lsr', amount });
export const asr = (amount: number): Shift => ({ kind: 'shift', op: 'asr', amount });
export const when = (name: ConditionName): Condition => ({ kind: 'condition', name });

const ELEMENT_BITS = { b: 8, h: 16, s: 32, d: 64, q: 128 } as const;
export const elementBits = (shape: Shape): number => ELEMENT_BITS[shape.at(-1) as keyof typeof ELEMENT_BITS];
/** Whether a shape is a whole register. */
export const isWhole = (shape: Shape): boolean => Number.parseInt(shape, 10) * elementBits(shape) === 128;

/** As the GNU assembler reads it. */
export function operandText(operand: Operand): string {
  if (typeof operand !== 'object') return `#${operand}`;
  switch (operand.kind) {
    case 'general': {
      const { id, bits, sp: isStack } = operand;
      if (id < 31) return `${bits === 64 ? 'x' : 'w'}${id}`;
      return isStack ? (bits === 64 ? 'sp' : 'wsp') : bits === 64 ? 'xzr' : 'wzr';
    }
    case 'vector': {
      const { id, shape, lane: index, count } = operand;
      if (count !== undefined) {
        const names = Array.from({ length: count }, (_, i) => `v${(id + i) % 32}.${shape}`);
        return `{${names.join(', ')}}`;
      }
      if (index !== undefined) return `v${id}.${shape}[${index}]`;
      return /^\d/.test(shape) ? `v${id}.${shape}` : `${shape}${id}`;
    }
    case 'place': {
      const { base, offset, index, shift = 0, mode } = operand;
      const name = operandText(base);
      if (index !== undefined) return `[${name}, ${operandText(index)}${shift > 0 ? `, lsl #${shift}` : ''}]`;
      if (mode === 'post') return `[${name}], #${offset}`;
      if (mode === 'pre') return `[${name}, #${offset}]!`;
      return offset === 0 ? `[${name}]` : `[${name}, #${offset}]`;
    }
    case 'shift':
      return `${operand.op} #${operand.amount}`;
    case 'condition':
      return operand.name;
    case 'label':
      return operand.name;
    default:
      return operand satisfies never;
  }
}
