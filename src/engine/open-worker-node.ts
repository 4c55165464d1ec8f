/**
 * Opens a model in a worker thread of its own: reading, compiling and computing happen there, and the thread that asks never
 * waits. Nothing of that is loaded here.
 */
import type { Worker } from 'node:worker_threads';
import { connectEngine, type WorkerPort } from './client.ts';
import type { Engine, LoadHooks } from './engine.ts';
import type { EngineSettings } from './load-node.ts';
import type { ToClient, ToHost } from './messages.ts';
import { takeWorker, type Workers } from './workers-node.ts';

interface OpenWorkerOptions extends Omit<EngineSettings, 'path'>, LoadHooks {
  /** Has the thread, before and after; it starts and ends with the engine if absent. */
  readonly workers?: Workers;
}

/**
 * A model from a GGUF file or a Hugging Face folder, ready to generate. Disposing of the engine ends its worker, or gives it back; an engine
 * that is idle does not keep the process alive.
 * @throws IngotError: whatever the file, its architecture, its vocabulary or the device do wrong, 'Aborted'.
 */
export async function openWorker(
  path: string,
  { signal, onProgress, onLost, workers, ...settings }: OpenWorkerOptions = {},
): Promise<Engine> {
  const port = workers === undefined ? workerPort(takeWorker()) : workerPort(workers.take(), workers);
  const hooks = { ...(signal && { signal }), ...(onProgress && { onProgress }), ...(onLost && { onLost }) };
  return connectEngine<EngineSettings>(port, { path, ...settings }, hooks);
}

/** Gives a worker back to `workers` whose engine was closed well. */
export function workerPort(worker: Worker, workers?: Workers): WorkerPort<ToClient, ToHost<EngineSettings>> {
  let ended = false;
  let receive: (message: ToClient) => void = () => {};
  let onError: (error: Error) => void = () => {};
  let onExit: (code: number) => void = () => {};
  return {
    stays: workers !== undefined,
    send: (message) => worker.postMessage(message),
    listen(given) {
      receive = given;
      worker.on('message', receive);
    },
    hold(on) {
      // Whoever waits for the end is waited for.
      if (on || ended) worker.ref();
      else worker.unref();
    },
    onLost(report) {
      onError = (error) => {
        // It exits after that, which is no news.
        ended = true;
        report(error);
      };
      onExit = (code) => {
        if (!ended) report(`exit code ${code}`);
      };
      worker.once('error', onError);
      worker.once('exit', onExit);
    },
    async end(isWell) {
      ended = true;
      if (workers === undefined || !isWell) {
        await worker.terminate();
        return;
      }
      worker.off('message', receive).off('error', onError).off('exit', onExit).unref();
      await workers.giveBack(worker);
    },
  };
}
