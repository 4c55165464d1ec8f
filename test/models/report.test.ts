/** docs/models.md says what the tests go through, and every name of an architecture has a fixture. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { namesWithoutFixture, renderReport, reportPath } from './report.ts';

test('docs/models.md is what `npm run models-table` writes', () => {
  assert.equal(readFileSync(reportPath, 'utf8'), renderReport());
});

test('every architecture is held to transformers', () => {
  assert.deepEqual(namesWithoutFixture(), []);
});
