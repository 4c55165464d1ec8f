/** What a JavaScript thread leaves outside of JavaScript when it is ended from outside: threads of teams end, memory is freed. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { freeOrphans } from '../../src/devices/cpu/orphans.ts';
import { createEstate, hasThreads, possessions } from '../../src/devices/cpu/os/estate.ts';
import { noCpu } from '../conformance/devices.ts';
import { processStatus } from './cpu-support.ts';

const skip = process.platform === 'linux' ? (noCpu ?? false) : 'written down on Linux only';

test('teams that work and memory outlive their thread, and are ended and freed', { skip }, async () => {
  const tasks = () => new Set(readdirSync('/proc/self/task'));
  const estate = createEstate();
  assert.ok(await freeOrphans(estate), 'nothing is there yet');
  const before = tasks();
  const worker = new Worker(new URL('./cpu-orphans-worker.js', import.meta.url), { workerData: estate });
  await new Promise((resolve, reject) => worker.on('error', reject).once('message', resolve));
  await worker.terminate();
  const left = possessions(estate);
  assert.ok(hasThreads(estate));
  assert.equal(left.threads.length, 3);
  assert.equal(left.mappings.filter(({ length }) => length >= 2 ** 30).length, 1);
  const orphans = [...tasks()].filter((task) => !before.has(task));
  assert.ok(orphans.length >= 3, `${orphans.length} threads`);
  // Waiting for them keeps no process alive.
  const alive = setInterval(() => {}, 1000);
  const size = processStatus('VmSize');
  assert.ok(await freeOrphans(estate));
  clearInterval(alive);
  const now = tasks();
  assert.ok(orphans.filter((task) => now.has(task)).length <= orphans.length - 3);
  const freed = size - processStatus('VmSize');
  assert.ok(freed > 2 ** 19, `${freed} KiB`);
});
