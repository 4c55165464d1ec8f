/** Between vectors and single numbers: one number in all lanes, all lanes in one number. */
import { FloatCode } from '../emit/float-code.ts';
import type { LaneCode } from '../emit/lane-code.ts';
import { type Address, type Register, view } from '../emit/machine.ts';
import { laneCode } from '../emit/vector-sets.ts';

export const broadcast = (code: LaneCode, from: Address): Register => code.op('vbroadcastss', 32, from);

export const storeFirst = (code: LaneCode, to: Address, x: Register): void =>
  code.machine.emit('vmovss', to, view(x, 128));

/** Lane l with lane l + half until one is left, from vectors that hold 16. */
export function across(
  code: LaneCode,
  parts: readonly Register[],
  fold: (f: FloatCode, a: Register, b: Register) => Register,
) {
  let all = parts.reduce((a, b) => fold(new FloatCode(code, 32), a, b));
  for (let half = code.lanes / 2; half >= 1; half /= 2) {
    const narrow = laneCode(code.machine, half === 8 ? 8 : 4);
    all = fold(new FloatCode(narrow, 32), all, code.upper(32, all, half));
  }
  return all;
}
