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
  const m = code.machine;
  let all = parts.reduce((a, b) => fold(new FloatCode(code, 32), a, b));
  const narrow = new FloatCode(laneCode(m, 4), 32);
  if (code.lanes === 8) {
    const high = m.register('vec');
    m.emit('vextractf128', view(high, 128), view(all, 256), 1);
    all = fold(narrow, all, high);
  }
  for (const order of [0xee, 0x55]) {
    const high = m.register('vec');
    m.emit('vpshufd', view(high, 128), view(all, 128), order);
    all = fold(narrow, all, high);
  }
  return all;
}
