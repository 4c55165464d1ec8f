import assert from 'node:assert/strict';
import { test } from 'node:test';
import { devices, groups } from './devices.ts';
import { readKnownFailures, readPassing, readReport } from './files.ts';
import { passingCounts, renderReport } from './report.ts';
import { needsGroup, runSuite, type SuiteResults } from './suite.ts';

const data = process.env.INGOT_TEST_DATA;

test("StableHLO's own tests", { skip: data === undefined && 'INGOT_TEST_DATA is not set' }, async (t) => {
  const suite: SuiteResults = await runSuite(devices, data ?? '', groups);
  const known = readKnownFailures();
  for (const [device, results] of suite) {
    const reasons = known[device] ?? {};
    for (const folder of ['testdata/quantized', 'testdata', 'tests/interpret/chlo', 'tests/interpret']) {
      await t.test(`${device}: ${folder}`, () => {
        const here = results.filter(({ file }) => file.slice(0, file.lastIndexOf('/')) === folder);
        assert.notEqual(here.length, 0);
        const unexpected = here.flatMap(({ file, verdict }) =>
          verdict.status === 'fail' && !(file in reasons) ? [`${file}: ${verdict.message}`] : [],
        );
        assert.deepEqual(unexpected, []);
      });
    }
    await t.test(`${device}: known failures still fail`, () => {
      const failing = results.filter(({ verdict }) => verdict.status === 'fail').map(({ file }) => file);
      assert.deepEqual(
        Object.keys(reasons).filter((file) => !failing.includes(file)),
        [],
      );
    });
    await t.test(`${device}: every file that passes on the reference device passes`, () => {
      const passing = (of: string) =>
        (suite.get(of) ?? []).filter(({ verdict }) => verdict.status === 'pass').map(({ file }) => file);
      const own = new Set([
        ...passing(device),
        ...results.filter(({ verdict }) => needsGroup(verdict)).map(({ file }) => file),
      ]);
      assert.deepEqual(
        passing('reference').filter((file) => !own.has(file)),
        [],
      );
    });
    await t.test(`${device}: as many files pass as before`, () => {
      const passing = passingCounts(suite)[device];
      const before = readPassing()[device];
      assert.equal(
        passing,
        before,
        passing > before ? 'more than before: run npm run op-support' : 'fewer than before',
      );
    });
  }
  await t.test('docs/op-support.md is up to date', () => {
    assert.equal(readReport(), renderReport(suite, known), 'run npm run op-support');
  });
});
