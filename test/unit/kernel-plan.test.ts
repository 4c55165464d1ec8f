/** Random programs as kernels give the bits of the reference device, fused or not, at every value of a symbolic dimension. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { compile } from '../../src/compiler/compile.ts';
import { createPlanDevice } from '../conformance/plan-device.ts';
import { execute } from './compiler-harness.ts';
import { decisions, randomProgram } from './random-program.ts';

test('random programs have the bits of the reference device', async () => {
  await fc.assert(
    fc.asyncProperty(decisions, fc.nat(4), fc.boolean(), async (list, T, simplified) => {
      const program = simplified ? compile(randomProgram(list)) : randomProgram(list);
      const expected = await execute(program, 7, { T });
      assert.deepEqual(await execute(program, 7, { T }, {}, createPlanDevice()), expected);
    }),
    { numRuns: 300, seed: 5 },
  );
});
