/**
 * From a program to its image. All that makes machine code hangs on this file, and is loaded where a program has to be
 * compiled.
 */
import { meetingsOf } from '../../ir/process-groups.ts';
import type { Program } from '../../ir/program.ts';
import { makeCode } from './code.ts';
import type { CodeCache } from './code-cache.ts';
import { planLaunches } from './launches.ts';
import { type Linked, link } from './link.ts';
import { planForCpu } from './plan.ts';
import type { Target } from './target.ts';

/** @throws IngotError 'UnsupportedOp'. */
export async function makeImage(program: Program, target: Target, cache: CodeCache | undefined): Promise<Linked> {
  const launches = planLaunches(planForCpu(program), target);
  return link(launches, await makeCode(launches, cache), meetingsOf(program));
}
