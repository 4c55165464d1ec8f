/**
 * What code is made for: an instruction set and a schedule. Instruction sets are in ascending order, each has all that is before
 * it; a device makes code for the last one that its processor has, or for one that it is told to use. All give the same bits.
 */
import type { Architecture, CpuFeatures, OperatingSystem } from './os/os.ts';
import { type Schedule, schedules } from './schedule.ts';

/** Of each architecture, in ascending order. */
const setsOf = {
  x64: ['avx2', 'avx512', 'vnni', 'amx'],
  arm64: ['neon', 'dotprod', 'i8mm', 'bf16'],
} as const satisfies Record<Architecture, readonly string[]>;
export type InstructionSet = (typeof setsOf)[Architecture][number];

export interface Target {
  readonly architecture: Architecture;
  readonly name: InstructionSet;
  /** Bits of a vector register; on arm64 of two of them (arm64/translate.ts). */
  readonly vectorBits: 256 | 512;
  readonly schedule: Schedule;
}

export const targets: Readonly<Record<InstructionSet, Target>> = {
  avx2: { architecture: 'x64', name: 'avx2', vectorBits: 256, schedule: schedules.avx2 },
  avx512: { architecture: 'x64', name: 'avx512', vectorBits: 512, schedule: schedules.avx512 },
  vnni: { architecture: 'x64', name: 'vnni', vectorBits: 512, schedule: schedules.vnni },
  amx: { architecture: 'x64', name: 'amx', vectorBits: 512, schedule: schedules.amx },
  neon: { architecture: 'arm64', name: 'neon', vectorBits: 256, schedule: schedules.neon },
  dotprod: { architecture: 'arm64', name: 'dotprod', vectorBits: 256, schedule: schedules.dotprod },
  i8mm: { architecture: 'arm64', name: 'i8mm', vectorBits: 256, schedule: schedules.i8mm },
  bf16: { architecture: 'arm64', name: 'bf16', vectorBits: 256, schedule: schedules.bf16 },
};

/** What code that is kept depends on, besides what it is the code of. */
export const targetKey = ({ name, schedule }: Target): string => `${name} ${JSON.stringify(schedule)}`;

/** What code needs at least. */
export const lowestSet = (architecture: Architecture): InstructionSet => setsOf[architecture][0];

/** The sets of a processor's architecture, ascending, whether it has them or not. */
export const setsFor = ({ names }: Pick<CpuFeatures, 'names'>): readonly InstructionSet[] =>
  setsOf[names.has('asimd') ? 'arm64' : 'x64'];

/** What a set needs besides those before it; names as in `CpuFeatures`. */
const needs: Readonly<Record<InstructionSet, readonly string[]>> = {
  avx2: ['avx2', 'fma', 'f16c', 'bmi2'],
  avx512: ['avx512f', 'avx512bw', 'avx512dq', 'avx512vl', 'avx512cd'],
  vnni: ['avx512_vnni'],
  amx: ['avx512_bf16', 'amx_tile', 'amx_int8', 'amx_bf16'],
  neon: ['asimd'],
  dotprod: ['asimddp'],
  i8mm: ['i8mm'],
  bf16: ['bf16'],
};

/** What a set needs; names as in `CpuFeatures`. */
export function featuresOf(set: InstructionSet): readonly string[] {
  const family: readonly InstructionSet[] = setsOf[targets[set].architecture];
  return family.slice(0, family.indexOf(set) + 1).flatMap((each) => needs[each]);
}

/** Features that the processor lacks for a set; none if it has the set. */
export function missing({ names }: Pick<CpuFeatures, 'names'>, set: InstructionSet): readonly string[] {
  return featuresOf(set).filter((name) => !names.has(name));
}

/** The sets that the processor has, ascending; none where it lacks AVX2, on arm64 Advanced SIMD. */
export function usableTargets(features: Pick<CpuFeatures, 'names'>): readonly Target[] {
  return setsFor(features)
    .filter((set) => missing(features, set).length === 0)
    .map((set) => targets[set]);
}

/** Why this processor cannot be used; undefined if it can. */
export function whyNot(system: OperatingSystem): string | undefined {
  const features = system.cpuFeatures();
  const lacks = missing(features, lowestSet(system.architecture));
  return lacks.length === 0 ? undefined : `${features.model} lacks ${lacks.join(', ')}`;
}
