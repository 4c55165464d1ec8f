/** What the worker thread of an engine runs under Node. */
import { parentPort, workerData } from 'node:worker_threads';
import { keepEstate } from '../devices/cpu/os/estate.ts';
import { unmapAll } from '../devices/cpu/os/mapping.ts';
import { serveEngine } from './host.ts';
import { type EngineSettings, loadEngine } from './load-node.ts';
import type { WorkerFacts } from './workers-node.ts';

const port = parentPort;
if (port === null) throw new Error('this file runs in a worker thread only');
const { estate, stays } = workerData as WorkerFacts;
keepEstate(estate);
// A thread that stays calls machine code again.
const leave = stays ? () => {} : unmapAll;
serveEngine<EngineSettings>(
  {
    send: (message) => port.postMessage(message),
    listen: (receive) => port.on('message', receive),
  },
  async (settings, hooks) => {
    // The thread ends with its engine, and with one that cannot be loaded, unless it stays.
    try {
      const loaded = await loadEngine(settings, hooks);
      return {
        engine: loaded.engine,
        async [Symbol.asyncDispose]() {
          await loaded[Symbol.asyncDispose]();
          leave();
        },
      };
    } catch (error) {
      leave();
      throw error;
    }
  },
);
