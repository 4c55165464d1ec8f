/**
 * What the process of a self-test does: runs the tests one after another and says each before it begins, so that whoever waits
 * knows which one a process died of.
 */
import { writeSync } from 'node:fs';
import { createCpuDevice } from '../device.ts';
import { findSystem } from '../os/open.ts';
import type { InstructionSet } from '../target.ts';
import type { SelfTest } from './program-test.ts';

/** Lines on standard output, each whole before the next thing happens. */
export type Report =
  | { readonly kind: 'begin'; readonly kernel: string }
  | { readonly kind: 'wrong'; readonly kernel: string; readonly problem: string }
  | { readonly kind: 'passed'; readonly count: number };

const say = (report: Report) => void writeSync(1, `${JSON.stringify(report)}\n`);

/** Ends with the first that is wrong. */
export async function runTests(set: InstructionSet, tests: Iterable<SelfTest>): Promise<void> {
  const found = findSystem();
  if (!found.usable) throw new Error(found.reason);
  // Kernels are on trial, not the team: threads that wait for each other are slow while the other process compiles.
  await using device = createCpuDevice(found.system, { instructionSet: set, threads: 1 });
  let count = 0;
  for (const { name, run } of tests) {
    say({ kind: 'begin', kernel: name });
    const problem = await run(device).catch((error: unknown) => String(error));
    if (problem !== undefined) return say({ kind: 'wrong', kernel: name, problem });
    count++;
  }
  say({ kind: 'passed', count });
}
