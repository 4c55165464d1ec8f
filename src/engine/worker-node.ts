/** What the worker thread of an engine runs under Node. */
import { parentPort, workerData } from 'node:worker_threads';
import { keepEstate } from '../devices/cpu/os/estate.ts';
import { unmapAll } from '../devices/cpu/os/mapping.ts';
import { serveEngine } from './host.ts';
import { type EngineSettings, loadEngine } from './load-node.ts';

const port = parentPort;
if (port === null) throw new Error('this file runs in a worker thread only');
if (workerData instanceof SharedArrayBuffer) keepEstate(workerData);
serveEngine<EngineSettings>(
  {
    send: (message) => port.postMessage(message),
    listen: (receive) => port.on('message', receive),
  },
  loadEngine,
  unmapAll,
);
