/** What a profile of a phase says: where its time went, and which kernels lose most against what the machine could do. */
import { type Hardware, leastSeconds } from '../compiler/cost.ts';
import type { KernelProfile, Profile } from '../devices/device.ts';

export interface ProfiledKernel extends KernelProfile {
  /** Of the time of all kernels. */
  readonly share: number;
  /** What memory and arithmetic of the machine would take at least, over `seconds`; where both are known. */
  readonly roofline?: number;
}

/** A kernel that takes longer than the machine needs for it. */
export interface Gap {
  readonly kernel: string;
  /** Of all calls: what it took, and what of it a perfect kernel would save. */
  readonly seconds: number;
  readonly lost: number;
  /** What bounds a perfect one. */
  readonly bound: 'memory' | 'arithmetic';
  /** Tokens a second, were this kernel alone perfect. */
  readonly tokensPerSecond: number;
}

/** What was measured of a phase. `seconds` are `kernelSeconds` + `wakeSeconds` + `javascriptSeconds`. */
export interface Analysis {
  readonly runs: number;
  readonly seconds: number;
  /** In kernels, their barriers included. */
  readonly kernelSeconds: number;
  readonly barrierSeconds: number;
  /** From submission to the first kernel, and from the last one until JavaScript goes on. */
  readonly wakeSeconds: number;
  /** Between runs. */
  readonly javascriptSeconds: number;
  /** By time, descending. */
  readonly kernels: readonly ProfiledKernel[];
  /** The three largest, by what is lost. */
  readonly gaps: readonly Gap[];
}

const shownGaps = 3;

export function analyse(seconds: number, tokens: number, profile: Profile, hardware: Hardware): Analysis {
  const sum = (of: (kernel: KernelProfile) => number) => profile.kernels.reduce((total, each) => total + of(each), 0);
  const kernelSeconds = sum((kernel) => kernel.seconds);
  const kernels = profile.kernels
    .toSorted((a, b) => b.seconds - a.seconds)
    .map((kernel): ProfiledKernel => {
      const bound = kernel.cost === undefined ? 0 : leastSeconds(hardware, kernel.cost);
      const roofline = bound === 0 ? {} : { roofline: bound / kernel.seconds };
      return { ...kernel, share: kernel.seconds / kernelSeconds, ...roofline };
    });
  return {
    runs: profile.runs,
    seconds,
    kernelSeconds,
    barrierSeconds: sum((kernel) => kernel.barrierSeconds),
    wakeSeconds: profile.seconds - kernelSeconds,
    javascriptSeconds: seconds - profile.seconds,
    kernels,
    gaps: gapsOf(kernels, { seconds, tokens }, hardware),
  };
}

function gapsOf(
  kernels: readonly KernelProfile[],
  phase: { readonly seconds: number; readonly tokens: number },
  hardware: Hardware,
): readonly Gap[] {
  return kernels
    .flatMap(({ kernel, seconds, cost }): Gap[] => {
      if (cost === undefined) return [];
      const least = leastSeconds(hardware, cost);
      const lost = seconds - least;
      const bound = least > cost.bytes / hardware.readBytesPerSecond ? 'arithmetic' : 'memory';
      return lost > 0 ? [{ kernel, seconds, lost, bound, tokensPerSecond: phase.tokens / (phase.seconds - lost) }] : [];
    })
    .sort((a, b) => b.lost - a.lost)
    .slice(0, shownGaps);
}
