/** The loop language, its lowerings and its plans against StableHLO's own tests, as the reference device. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { devices } from './devices.ts';
import { createPlanDevice } from './plan-device.ts';
import { runSuite } from './suite.ts';

const data = process.env.INGOT_TEST_DATA;

test('what passes on the reference device passes as kernels', {
  skip: data === undefined && 'INGOT_TEST_DATA is not set',
}, async () => {
  const suite = await runSuite({ reference: devices.reference, kernels: createPlanDevice }, data ?? '');
  const kernels = new Map((suite.get('kernels') ?? []).map(({ file, verdict }) => [file, verdict]));
  const lost = (suite.get('reference') ?? []).flatMap(({ file, verdict }) => {
    const mine = kernels.get(file);
    if (verdict.status !== 'pass' || mine?.status === 'pass') return [];
    return [`${file}: ${mine?.status === 'fail' ? mine.message : mine?.what}`];
  });
  assert.deepEqual(lost, []);
});
