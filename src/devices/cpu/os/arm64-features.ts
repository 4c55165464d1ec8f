/** What an arm64 processor can do, from the bits that Linux hands to programs (arch/arm64/include/uapi/asm/hwcap.h). */
import type { CpuFeatures } from './os.ts';

/** Bits of AT_HWCAP and AT_HWCAP2, with the names that /proc/cpuinfo has for them. */
const HWCAP: readonly (readonly [bit: number, name: string])[] = [
  [0, 'fp'],
  [1, 'asimd'],
  [8, 'atomics'],
  [9, 'fphp'],
  [10, 'asimdhp'],
  [20, 'asimddp'],
  [22, 'sve'],
];
const HWCAP2: readonly (readonly [bit: number, name: string])[] = [
  [1, 'sve2'],
  [13, 'i8mm'],
  [14, 'bf16'],
];

/** @param cpuinfo the text of /proc/cpuinfo, whose processors have numbers instead of names. */
export function arm64Features(hwcap: number, hwcap2: number, cpuinfo: string): CpuFeatures {
  const has = (word: number, bit: number) => Math.floor(word / 2 ** bit) % 2 === 1;
  const names = [...HWCAP.filter(([bit]) => has(hwcap, bit)), ...HWCAP2.filter(([bit]) => has(hwcap2, bit))].map(
    ([, name]) => name,
  );
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(\\S+)$`, 'm').exec(cpuinfo)?.[1];
  const [implementer, part] = [field('CPU implementer'), field('CPU part')];
  const known = implementer !== undefined && part !== undefined;
  return {
    model: known ? `arm64 processor ${implementer}:${part}` : 'arm64 processor',
    names: new Set(names),
    withheld: [],
  };
}
