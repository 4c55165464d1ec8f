/** Which code is written for which vectors. One lane is written in AVX2 always: scalars have no use for masks. */
import type { Target } from '../target.ts';
import type { LaneCode, LaneCount } from './lane-code.ts';
import { Avx2Lanes } from './lanes-avx2.ts';
import { Avx512Lanes } from './lanes-avx512.ts';
import { d, k, type Machine, type Register } from './machine.ts';

/** Numbers of lanes to try for a loop, the most first; the last is 1. */
export const laneCounts: Readonly<Record<Target['vectorBits'], readonly LaneCount[]>> = {
  256: [8, 4, 1],
  512: [16, 8, 1],
};

/** @param active where not all lanes have an element; only with `masksMemory`. */
export function laneCode(machine: Machine, lanes: LaneCount, active?: Register): LaneCode {
  if (lanes === 1 || machine.vectorBits === 256) return new Avx2Lanes(machine, lanes);
  return new Avx512Lanes(machine, lanes, active);
}

/** A mask of the lanes l where first + l < count, which is below 32. */
export function lanesBelow(machine: Machine, lanes: LaneCount, count: Register, first = 0): Register {
  const bits = machine.register('gp');
  const mask = machine.register('mask');
  machine.emit('mov', d(bits), -1);
  machine.emit('bzhi', d(bits), d(bits), d(count));
  if (first > 0) machine.emit('shr', d(bits), first);
  machine.emit('and', d(bits), 2 ** lanes - 1);
  machine.emit('kmovw', k(mask), d(bits));
  return mask;
}

/** Whether what is left of a loop can be done in lanes that are not all active. */
export const masksMemory = ({ vectorBits }: Machine): boolean => vectorBits === 512;
