/** What rows of vector instructions are, and the registers that they name. */
import { v } from '../asm/arm64/operands.ts';
import { isVec, type Operand, type Vec } from '../asm/operands.ts';
import { type Context, unsupported } from './context.ts';

export type Row = (t: Context, operands: readonly Operand[]) => void;

export function vector(operand: Operand | undefined): Vec {
  if (!isVec(operand)) throw unsupported('a vector operand of this kind');
  return operand;
}

export const ELEMENT = { 8: 'b', 16: 'h', 32: 's', 64: 'd' } as const;

/** The first element of a register. */
export const scalar = (id: number, bits: number) => v(id, ELEMENT[bits as 32]);
