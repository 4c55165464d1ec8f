/** Machine code is what it was: a change that means to alter none has altered none, and one that means to says which. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { captureLines } from '../replay/capture.ts';
import { differences, readLines } from '../replay/kernels-file.ts';

test('every captured kernel has the code that was accepted', async () => {
  const changed = differences(readLines(), await captureLines());
  const advice = 'look at them (npm run replay), then accept them (npm run replay -- --write)';
  assert.ok(changed.length === 0, `${changed.length} kernels changed: ${advice}\n${changed.slice(0, 20).join('\n')}`);
});

test('kernels that are others, new or gone are named by set', () => {
  const before = ['add [T: 3]: avx2 10 aa, amx 12 bb', 'old: avx2 5 cc'];
  const after = ['add [T: 3]: avx2 10 ab, amx 12 bb', 'young: avx2 6 cc'];
  assert.deepEqual(differences(before, before), []);
  assert.deepEqual(differences(before, after), [
    'add [T: 3], avx2: 10 bytes, now 10 bytes',
    'old, avx2: gone, 5 bytes',
    'young, avx2: new, 6 bytes',
  ]);
});
