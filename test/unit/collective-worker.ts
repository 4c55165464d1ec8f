/** A rank on a JavaScript thread of its own, for `collectives.test.ts`: its end comes as data of the worker. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Communicator } from '../../src/devices/device.ts';
import { openCpu } from '../conformance/devices.ts';
import { digests, everyCollective, inputOf, runRank } from './collective-program.ts';

const end = workerData as Communicator;
await using device = openCpu(1);
const results = await runRank(device, end, everyCollective(end.size), inputOf(3)(end.rank), { T: 3 });
parentPort?.postMessage(digests(results));
