/**
 * Opens a model in a worker thread of its own: reading, compiling and computing happen there, and the thread that asks never
 * waits. Nothing of that is loaded here.
 */
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { createEstate, hasThreads } from '../devices/cpu/os/estate.ts';
import { connectEngine, type WorkerPort } from './client.ts';
import type { Engine, LoadHooks } from './engine.ts';
import type { EngineSettings } from './load-node.ts';
import type { ToClient, ToHost } from './messages.ts';

let early: Worker | undefined;

/** Starts the worker of the next engine before it is known which that will be. It keeps no process alive. */
export function startEarly(): void {
  early ??= startWorker();
  early.unref();
}

/** A worker for one engine. What it has left of memory and threads when it ends is given back, however it ends. */
export function startWorker(): Worker {
  const estate = createEstate();
  const worker = new Worker(new URL('./worker-node.js', import.meta.url), {
    name: 'ingot engine',
    workerData: estate,
    // What a worker makes is soon garbage; each of its two halves costs so much memory.
    resourceLimits: { maxYoungGenerationSizeMb: 6 },
    ...inheritedOptions(),
  });
  // Who closes its device leaves no thread, and a thread is what all needs that is worth to be freed.
  worker.once('exit', async () => {
    if (!hasThreads(estate)) return;
    const { freeOrphans } = await import('../devices/cpu/orphans.ts');
    await freeOrphans(estate);
  });
  return worker;
}

/**
 * A model from a GGUF file or a Hugging Face folder, ready to generate. Disposing of the engine ends its worker; an engine that
 * is idle does not keep the process alive.
 * @throws IngotError: whatever the file, its architecture, its vocabulary or the device do wrong, 'Aborted'.
 */
export async function openWorker(
  path: string,
  { signal, onProgress, onLost, ...settings }: Omit<EngineSettings, 'path'> & LoadHooks = {},
): Promise<Engine> {
  const worker = early ?? startWorker();
  early = undefined;
  worker.ref();
  const hooks = { ...(signal && { signal }), ...(onProgress && { onProgress }), ...(onLost && { onLost }) };
  return connectEngine<EngineSettings>(workerPort(worker), { path, ...settings }, hooks);
}

/**
 * A worker has the options of its process, and may not be given those of V8 again. The kind of a program that stands on the command line
 * (node --eval) is wrong for a file.
 */
export function inheritedOptions(): Pick<WorkerOptions, 'execArgv'> {
  return process.execArgv.some((option) => option.startsWith('--input-type')) ? { execArgv: [] } : {};
}

export function workerPort(worker: Worker): WorkerPort<ToClient, ToHost<EngineSettings>> {
  let ended = false;
  return {
    send: (message) => worker.postMessage(message),
    listen: (receive) => worker.on('message', receive),
    hold(on) {
      // Whoever waits for the end is waited for.
      if (on || ended) worker.ref();
      else worker.unref();
    },
    onLost(report) {
      worker.once('error', (error) => {
        // It exits after that, which is no news.
        ended = true;
        report(error);
      });
      worker.once('exit', (code) => {
        if (!ended) report(`exit code ${code}`);
      });
    },
    async end() {
      ended = true;
      await worker.terminate();
    },
  };
}
