/**
 * What code is made for: an instruction set and a schedule. Instruction sets are in ascending order, each has all that is before
 * it; a device makes code for the last one that its processor has, or for one that it is told to use. All give the same bits.
 */
import type { CpuFeatures } from './os/os.ts';
import { type Schedule, schedules } from './schedule.ts';

export const instructionSets = ['avx2', 'avx512', 'vnni', 'amx'] as const;
export type InstructionSet = (typeof instructionSets)[number];

export interface Target {
  readonly name: InstructionSet;
  /** Bits of a vector register. */
  readonly vectorBits: 256 | 512;
  readonly schedule: Schedule;
}

export const targets: Readonly<Record<InstructionSet, Target>> = {
  avx2: { name: 'avx2', vectorBits: 256, schedule: schedules.avx2 },
  avx512: { name: 'avx512', vectorBits: 512, schedule: schedules.avx512 },
  vnni: { name: 'vnni', vectorBits: 512, schedule: schedules.vnni },
  amx: { name: 'amx', vectorBits: 512, schedule: schedules.amx },
};

/** What code that is kept depends on, besides what it is the code of. */
export const targetKey = ({ name, schedule }: Target): string => `${name} ${JSON.stringify(schedule)}`;

/** What a set needs besides those before it; names as in `CpuFeatures`. */
const needs: Readonly<Record<InstructionSet, readonly string[]>> = {
  avx2: ['avx2', 'fma', 'f16c', 'bmi2'],
  avx512: ['avx512f', 'avx512bw', 'avx512dq', 'avx512vl', 'avx512cd'],
  vnni: ['avx512_vnni'],
  amx: ['avx512_bf16', 'amx_tile', 'amx_int8', 'amx_bf16'],
};

/** Features that the processor lacks for a set; none if it has the set. */
export function missing({ names }: Pick<CpuFeatures, 'names'>, set: InstructionSet): readonly string[] {
  const upTo = instructionSets.slice(0, instructionSets.indexOf(set) + 1);
  return upTo.flatMap((each) => needs[each]).filter((name) => !names.has(name));
}

/** The sets that the processor has, ascending; none where it lacks AVX2. */
export function usableTargets(features: Pick<CpuFeatures, 'names'>): readonly Target[] {
  return instructionSets.filter((set) => missing(features, set).length === 0).map((set) => targets[set]);
}
