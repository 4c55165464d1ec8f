/** Kernels of random programs as machine code and as the evaluator of the language runs them. */

import * as fc from 'fast-check';
import { compile } from '../../src/compiler/compile.ts';
import { createPlanDevice } from '../conformance/plan-device.ts';
import { execute } from './compiler-harness.ts';
import { checkedOn } from './cpu-emit-checked.ts';
import { testEmitted } from './cpu-emit-harness.ts';
import { decisions, randomProgram } from './random-program.ts';

testEmitted('kernels of random programs', async (machine) => {
  await fc.assert(
    fc.asyncProperty(decisions, fc.nat(4), fc.boolean(), async (list, T, simplified) => {
      const program = simplified ? compile(randomProgram(list)) : randomProgram(list);
      await execute(program, 7, { T }, {}, createPlanDevice(checkedOn(machine, 4)));
    }),
    { numRuns: 120, seed: 5 },
  );
});
