/** The loop language, its lowerings and its plans pass StableHLO's own tests as the reference device does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readKnownFailures, readPassing } from './files.ts';
import { createPlanDevice } from './plan-device.ts';
import { needsGroup, runSuite } from './suite.ts';

const data = process.env.INGOT_TEST_DATA;

test("StableHLO's own tests as kernels", { skip: data === undefined && 'INGOT_TEST_DATA is not set' }, async () => {
  const results = (await runSuite({ kernels: createPlanDevice }, data ?? '')).get('kernels') ?? [];
  const known = readKnownFailures().reference ?? {};
  const failing = results.flatMap(({ file, verdict }) =>
    verdict.status === 'fail' && !(file in known) ? [`${file}: ${verdict.message}`] : [],
  );
  assert.deepEqual(failing, []);
  // What meets other processes is for devices.
  const passing = results.filter(({ verdict }) => verdict.status === 'pass' || needsGroup(verdict));
  assert.equal(passing.length, readPassing().reference);
});
