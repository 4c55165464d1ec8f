/**
 * The worker threads of engines. A thread that ends leaves some of the process's memory behind, which neither Node nor what calls native
 * code gives back; where one engine goes and another comes all the time, as in a server of several models, a thread therefore stays for the
 * next one, which starts sooner with it.
 */
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { createEstate, hasThreads } from '../devices/cpu/os/estate.ts';

/** A worker without an engine. What it has left of memory and threads when it ends is given back, however it ends. */
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
 * A worker has the options of its process, and may not be given those of V8 again. The kind of a program that stands on the command line
 * (node --eval) is wrong for a file.
 */
export function inheritedOptions(): Pick<WorkerOptions, 'execArgv'> {
  return process.execArgv.some((option) => option.startsWith('--input-type')) ? { execArgv: [] } : {};
}

let ahead: Worker | undefined;

/** Starts the worker of the next engine: it reads Ingot while this thread is busy otherwise. */
export function startAhead(): void {
  ahead ??= startWorker();
  ahead.unref();
}

/** A worker for an engine. */
export function takeWorker(): Worker {
  const worker = ahead ?? startWorker();
  ahead = undefined;
  return worker;
}

/** Threads that engines have one after another: as many as there were engines at the same time. */
export class Workers implements AsyncDisposable {
  readonly #idle: Worker[] = [];
  #isOver = false;

  take(): Worker {
    return this.#idle.pop() ?? this.#start();
  }

  #start(): Worker {
    const worker = takeWorker();
    // One that ends while it is idle is missed by nobody.
    worker.on('error', () => {});
    worker.once('exit', () => {
      if (this.#idle.includes(worker)) this.#idle.splice(this.#idle.indexOf(worker), 1);
    });
    return worker;
  }

  /** A worker whose engine is closed, and that nobody listens to. */
  async giveBack(worker: Worker): Promise<void> {
    if (this.#isOver) await worker.terminate();
    else this.#idle.push(worker);
  }

  /** Ends those that are idle, and each of the others when it is given back. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#idle.splice(0).map((worker) => worker.terminate()));
  }
}
