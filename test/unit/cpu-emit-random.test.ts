/** Kernels of random programs as machine code and as the evaluator of the language runs them. */

import { test } from 'node:test';
import * as fc from 'fast-check';
import { compile } from '../../src/compiler/compile.ts';
import { createPlanDevice } from '../conformance/plan-device.ts';
import { execute } from './compiler-harness.ts';
import { checkedEvaluator } from './cpu-emit-checked.ts';
import { skip } from './cpu-emit-harness.ts';
import { decisions, randomProgram } from './random-program.ts';

test('kernels of random programs', { skip }, async () => {
  await fc.assert(
    fc.asyncProperty(decisions, fc.nat(4), fc.boolean(), async (list, T, simplified) => {
      const program = simplified ? compile(randomProgram(list)) : randomProgram(list);
      await execute(program, 7, { T }, {}, createPlanDevice(checkedEvaluator));
    }),
    { numRuns: 120, seed: 5 },
  );
});
