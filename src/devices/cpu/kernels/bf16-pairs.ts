/**
 * Pairs of bf16 in lanes of 32 bits, the first in the low half: what products in the numerics `bf16` (numerics/dot.ts) take.
 * Subnormals of f32 are zero before they are rounded, in the default mode of the processor too.
 */
import { FloatCode } from '../emit/float-code.ts';
import type { LaneCode } from '../emit/lane-code.ts';
import type { Register } from '../emit/machine.ts';
import { narrow } from '../emit/small-floats.ts';

/** f32 lanes rounded, in the low halves of the lanes. */
export function bf16Bits(code: LaneCode, x: Register): Register {
  const f = new FloatCode(code, 32);
  return narrow(code, 'bf16', f.blend(f.compare('LT', f.abs(x), f.number(2 ** -126)), f.number(0), x));
}

/** Of what is in the low halves of two. */
export const joinPair = (code: LaneCode, low: Register, high: Register): Register =>
  code.op('vpor', 32, code.op('vpslld', 32, high, 16), low);

/** Of f32 lanes, two at a time. */
export function* pairsOf(code: LaneCode, values: Iterable<Register>): Generator<Register> {
  let low: Register | undefined;
  for (const value of values) {
    const bits = bf16Bits(code, value);
    if (low !== undefined) yield joinPair(code, low, bits);
    low = low === undefined ? bits : undefined;
  }
}
