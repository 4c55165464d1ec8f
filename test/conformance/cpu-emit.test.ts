/** Every kernel of StableHLO's own tests as machine code, against the evaluator of the loop language. */
import assert from 'node:assert/strict';
import { checkedOn } from '../unit/cpu-emit-checked.ts';
import { testEmitted } from '../unit/cpu-emit-harness.ts';
import { devices } from './devices.ts';
import { createPlanDevice } from './plan-device.ts';
import { needsGroup, runSuite } from './suite.ts';

const data = process.env.INGOT_TEST_DATA;

let referenceOnce: ReturnType<typeof runSuite> | undefined;

testEmitted('what passes on the reference device passes as machine code', async (machine, t) => {
  if (data === undefined) return t.skip('INGOT_TEST_DATA is not set');
  referenceOnce ??= runSuite({ reference: devices.reference }, data);
  const wanted = (await referenceOnce).get('reference') ?? [];
  const suite = await runSuite({ code: () => createPlanDevice(checkedOn(machine, 8)) }, data);
  const results = new Map((suite.get('code') ?? []).map(({ file, verdict }) => [file, verdict]));
  const lost = wanted.flatMap(({ file, verdict }) => {
    const mine = results.get(file);
    if (verdict.status !== 'pass' || mine?.status === 'pass' || (mine && needsGroup(mine))) return [];
    return [`${file}: ${mine?.status === 'fail' ? mine.message : mine?.what}`];
  });
  assert.deepEqual(lost, []);
});
