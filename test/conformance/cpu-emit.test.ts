/** Every kernel of StableHLO's own tests as machine code, against the evaluator of the loop language. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkedEvaluator } from '../unit/cpu-emit-checked.ts';
import { skip } from '../unit/cpu-emit-harness.ts';
import { devices } from './devices.ts';
import { createPlanDevice } from './plan-device.ts';
import { runSuite } from './suite.ts';

const data = process.env.INGOT_TEST_DATA;

test('what passes on the reference device passes as machine code', {
  skip: skip || (data === undefined && 'INGOT_TEST_DATA is not set'),
}, async () => {
  const suite = await runSuite(
    { reference: devices.reference, code: () => createPlanDevice(checkedEvaluator) },
    data ?? '',
  );
  const results = new Map((suite.get('code') ?? []).map(({ file, verdict }) => [file, verdict]));
  const lost = (suite.get('reference') ?? []).flatMap(({ file, verdict }) => {
    const mine = results.get(file);
    if (verdict.status !== 'pass' || mine?.status === 'pass') return [];
    return [`${file}: ${mine?.status === 'fail' ? mine.message : mine?.what}`];
  });
  assert.deepEqual(lost, []);
});
