/** A JavaScript thread that is ended while its team works, for `cpu-orphans.test.ts`: `workerData` is where it writes down what it has. */
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { keepEstate } from '../../src/devices/cpu/os/estate.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import { createTeam } from '../../src/devices/cpu/team.ts';
import { testKernels } from './cpu-support.ts';

keepEstate(workerData);
const found = findSystem();
assert.ok(found.usable);
const { system } = found;
const teams = [1, 2].map((threads) => createTeam(system, { threads }));
using code = system.mapCode(testKernels.spin);
using memory = system.mapMemory(2 ** 30);
// What is given back is written down no more.
for (let i = 0; i < 3; i++) system.mapMemory(100)[Symbol.dispose]();
new Uint32Array(memory.bytes(0, 4).buffer)[0] = 3e6; // about 1 ms
const launch = { kind: 'kernel' as const, code, offset: 0, argument: { memory, offset: 0 } };
const lists = teams.map((team) => team.list(new Array(100_000).fill(launch)));
lists.forEach((list, i) => {
  teams[i].submit(list);
});
parentPort?.postMessage('works');
setInterval(() => {}, 1000);
