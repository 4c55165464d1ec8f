/** Worker threads that recode slices of tensors. */
import { Worker } from 'node:worker_threads';
import { type ErrorCode, type ErrorPlace, IngotError } from '../base/errors.ts';
import type { Recoder, RecodeTask } from './recode.ts';

export type RecodeAnswer =
  | { readonly bytes: Uint8Array }
  | { readonly refused: ErrorPlace & { readonly code: ErrorCode; readonly message: string; readonly hint?: string } };

interface Waiting {
  readonly task: RecodeTask;
  resolve(bytes: Uint8Array): void;
  reject(error: unknown): void;
}

export interface RecodePool extends Recoder, AsyncDisposable {}

/** `threads` workers. Disposing ends them, whatever they do; what waits then ends with 'Aborted'. */
export function openRecodePool(threads: number): RecodePool {
  const queue: Waiting[] = [];
  const idle: Worker[] = [];
  const busy = new Map<Worker, Waiting>();
  let failure: unknown;

  const fail = (error: unknown) => {
    failure ??= error;
    for (const { reject } of [...busy.values(), ...queue.splice(0)]) reject(failure);
    busy.clear();
  };
  const next = () => {
    while (idle.length > 0 && queue.length > 0) {
      const [worker, waiting] = [idle.pop(), queue.shift()];
      if (worker === undefined || waiting === undefined) return;
      busy.set(worker, waiting);
      const { task } = waiting;
      // An importance is a view of a longer list, which would be copied whole.
      const importance = task.importance?.slice();
      worker.postMessage({ ...task, ...(importance && { importance }) }, [task.bytes.buffer as ArrayBuffer]);
    }
  };
  const workers = Array.from({ length: threads }, () => {
    const worker = new Worker(new URL('./recode-worker-node.js', import.meta.url), { name: 'ingot recode' });
    worker.on('message', (answer: RecodeAnswer) => {
      const waiting = busy.get(worker);
      busy.delete(worker);
      idle.push(worker);
      if ('bytes' in answer) waiting?.resolve(answer.bytes);
      else waiting?.reject(new IngotError(answer.refused.code, answer.refused.message, answer.refused));
      next();
    });
    worker.on('error', fail);
    idle.push(worker);
    return worker;
  });
  return {
    ahead: 2 * threads,
    recode: (task) =>
      new Promise((resolve, reject) => {
        if (failure !== undefined) return reject(failure);
        queue.push({ task, resolve, reject });
        next();
      }),
    async [Symbol.asyncDispose]() {
      fail(new IngotError('Aborted', 'the work was cancelled'));
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
