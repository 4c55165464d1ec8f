/** What a worker thread of `recode-pool-node.ts` runs: recodes slices, one after another. */
import { parentPort } from 'node:worker_threads';
import { IngotError } from '../base/errors.ts';
import { type RecodeTask, recode } from './recode.ts';
import type { RecodeAnswer } from './recode-pool-node.ts';

const port = parentPort;
if (port === null) throw new Error('this file runs in a worker thread only');
port.on('message', (task: RecodeTask) => {
  try {
    const bytes = recode(task);
    port.postMessage({ bytes } satisfies RecodeAnswer, [bytes.buffer as ArrayBuffer]);
  } catch (error) {
    // What is not of ours ends the worker, and with it the work.
    if (!(error instanceof IngotError)) throw error;
    const { code, message, place, hint } = error;
    port.postMessage({
      refused: { code, message, ...place, ...(hint !== undefined && { hint }) },
    } satisfies RecodeAnswer);
  }
});
