/**
 * What the `bf16` dot numerics (numerics/dot.ts) need of a processor without bf16: rounding to it, and the treatment of
 * subnormals that the tile instructions have.
 */
import type { Assembler } from '../asm/assembler.ts';
import { k, type Mem, masked, rip, type Vec } from '../asm/operands.ts';
import type { PanelVectors } from './product.ts';

/** MXCSR: all exceptions masked, to nearest even; and FTZ and DAZ. */
export const defaultMode = 0x1f80;
export const flushMode = defaultMode | 0x8040;

/** Subnormal operands are zero, and subnormal results, tiny after rounding, become zero. */
export function flushSubnormals(a: Assembler): void {
  a.emit('vldmxcsr', rip(a.constant(Uint32Array.of(flushMode))));
}

export function keepSubnormals(a: Assembler): void {
  a.emit('vldmxcsr', rip(a.constant(Uint32Array.of(defaultMode))));
}

export interface Bf16Constants {
  readonly one: Mem;
  readonly half: Mem;
  readonly lowest: Mem;
  readonly mask: Mem;
}

export function bf16Constants(a: Assembler, { bits }: PanelVectors): Bf16Constants {
  const filled = (word: number) => rip(a.constant(new Uint32Array(bits / 32).fill(word)));
  return { one: filled(0x3f800000), half: filled(0x7fff), lowest: filled(1), mask: filled(0xffff0000) };
}

const UNORDERED = 3;

/** x as bf16, to nearest even, in the high halves of its lanes; the low ones zero, or of a NaN. Subnormals must be flushed. */
export function emitRoundToBf16(
  a: Assembler,
  { bits }: PanelVectors,
  { one, half, lowest, mask }: Bf16Constants,
  x: Vec,
  [t, s]: readonly [Vec, Vec],
): void {
  // Makes subnormals zero and NaNs quiet.
  a.emit('vmulps', x, x, one);
  a.emit('vpsrld', t, x, 16);
  a.emit('vandps', t, t, lowest);
  a.emit('vpaddd', t, t, half);
  a.emit('vpaddd', t, t, x);
  a.emit('vandps', t, t, mask);
  if (bits === 256) {
    a.emit('vcmpps', s, x, x, UNORDERED);
    a.emit('vblendvps', x, t, x, s);
  } else {
    a.emit('vcmpps', k(1), x, x, UNORDERED);
    a.emit('vmovaps', masked(t, k(1)), x);
    a.emit('vmovaps', x, t);
  }
}
