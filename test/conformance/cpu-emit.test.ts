/** Every kernel of StableHLO's own tests as machine code, against the evaluator of the loop language. */
import assert from 'node:assert/strict';
import { checkedOn } from '../unit/cpu-emit-checked.ts';
import { testEmitted } from '../unit/cpu-emit-harness.ts';
import { devices } from './devices.ts';
import { createPlanDevice } from './plan-device.ts';
import { needsGroup, runSuite } from './suite.ts';

const data = process.env.INGOT_TEST_DATA;

testEmitted('what passes on the reference device passes as machine code', async (machine, t) => {
  if (data === undefined) return t.skip('INGOT_TEST_DATA is not set');
  const suite = await runSuite(
    { reference: devices.reference, code: () => createPlanDevice(checkedOn(machine, 8)) },
    data,
  );
  const results = new Map((suite.get('code') ?? []).map(({ file, verdict }) => [file, verdict]));
  const lost = (suite.get('reference') ?? []).flatMap(({ file, verdict }) => {
    const mine = results.get(file);
    if (verdict.status !== 'pass' || mine?.status === 'pass' || (mine && needsGroup(mine))) return [];
    return [`${file}: ${mine?.status === 'fail' ? mine.message : mine?.what}`];
  });
  assert.deepEqual(lost, []);
});
