/** A JavaScript thread that waits for a team of its own, as long as `workerData` says. */
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import { createTeam } from '../../src/devices/cpu/team.ts';
import { testKernels } from './cpu-support.ts';

const found = findSystem();
assert.ok(found.usable);
using team = createTeam(found.system, { threads: 1 });
using code = found.system.mapCode(testKernels.spin);
using memory = found.system.mapMemory(4);
new Uint32Array(memory.bytes().buffer)[0] = 3e6; // about 1 ms
const launch = { kind: 'kernel' as const, code, offset: 0, argument: { memory, offset: 0 } };
using list = team.list(new Array(2000).fill(launch));
parentPort?.postMessage('waits');
const start = performance.now();
const outcome = team.wait(team.submit(list), start + Number(workerData));
parentPort?.postMessage([outcome, performance.now() - start >= Number(workerData)]);
