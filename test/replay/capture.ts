/**
 * Every kernel that the CPU device makes of the captured programs, for every instruction set of x86-64, as lines of a small file: the
 * name, then each set with the bytes of code and a part of their SHA-256. Code does not depend on the machine that makes it.
 */
import { createHash } from 'node:crypto';
import type { EmittedKernel } from '../../src/devices/cpu/emit/abi.ts';
import { distinctLaunches, planLaunches } from '../../src/devices/cpu/launches.ts';
import { planForCpu } from '../../src/devices/cpu/plan.ts';
import { targets } from '../../src/devices/cpu/target.ts';
import { programs } from './programs.ts';

export interface Captured {
  readonly set: string;
  /** Of one set; kernels of one name are numbered. */
  readonly name: string;
  readonly kernel: EmittedKernel;
}

/** Code for arm64 is translated from that for AVX2. */
const sets = Object.values(targets).filter(({ architecture }) => architecture === 'x64');

export async function* captured(): AsyncGenerator<Captured> {
  const names = new Map<string, number>();
  const seen = new Set<string>();
  for await (const { program } of programs()) {
    const plan = planForCpu(program);
    for (const target of sets) {
      const set = target.name;
      for (const { key, loops, emit, title } of distinctLaunches(planLaunches(plan, target))) {
        // Of loops one set is taken of each length of vectors.
        const identity = `${loops === undefined ? set : target.vectorBits} ${key}`;
        if (seen.has(identity)) continue;
        seen.add(identity);
        const kernel = emit();
        const name = title(kernel.name);
        const count = (names.get(`${set} ${name}`) ?? 0) + 1;
        names.set(`${set} ${name}`, count);
        yield { set, name: count === 1 ? name : `${name} #${count}`, kernel };
      }
    }
  }
}

export function digest({ bytes }: EmittedKernel): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 12);
}

/** The lines of the file, in alphabetical order so that merges are simple. */
export async function captureLines(): Promise<readonly string[]> {
  const kernels = new Map<string, string[]>();
  for await (const { set, name, kernel } of captured()) {
    const cells = kernels.get(name) ?? [];
    kernels.set(name, cells);
    cells.push(`${set} ${kernel.bytes.length} ${digest(kernel)}`);
  }
  return [...kernels].map(([name, cells]) => `${name}: ${cells.join(', ')}`).sort();
}
