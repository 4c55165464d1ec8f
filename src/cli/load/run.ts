/**
 * Sends the requests of a plan when they are due, however slow the answers are (an open loop), or as fast as a limit of concurrency
 * lets them (a closed loop, for requests without a time). Under a limit those that are due wait, and that counts as queueing.
 */
import type { Reply } from './client.ts';
import type { Sample } from './statistics.ts';
import type { PlannedRequest } from './workload.ts';

export interface LoadOptions {
  /** Requests under way at the same time at most. */
  readonly concurrency?: number;
  /** Ends the load: what is under way is given up, what is not is not sent. */
  readonly signal: AbortSignal;
  readonly onAnswer?: (answered: number) => void;
}

/** In the order of the plan; those that were never sent are left out. */
export async function runLoad(
  plan: readonly PlannedRequest[],
  send: (request: PlannedRequest) => Promise<Reply>,
  { concurrency = Number.POSITIVE_INFINITY, signal, onAnswer }: LoadOptions,
): Promise<readonly Sample[]> {
  const begin = performance.now();
  const now = () => (performance.now() - begin) / 1000;
  const samples: (Sample | undefined)[] = plan.map(() => undefined);
  const due: number[] = [];
  const running = new Set<Promise<void>>();
  let answered = 0;

  const start = async (i: number): Promise<void> => {
    const sent = now();
    const reply = await send(plan[i]);
    const { firstAt, endAt, ...counts } = reply;
    const seconds = (at: number) => (at - begin) / 1000;
    samples[i] = {
      arrival: plan[i].at ?? sent,
      sent,
      ...(firstAt !== undefined && { first: seconds(firstAt) }),
      end: seconds(endAt),
      ...counts,
    };
    onAnswer?.(++answered);
  };
  const dispatch = () => {
    while (due.length > 0 && running.size < concurrency && !signal.aborted) {
      const work: Promise<void> = start(due.shift() ?? 0).finally(() => {
        running.delete(work);
        dispatch();
      });
      running.add(work);
    }
  };

  for (const [i, { at = 0 }] of plan.entries()) {
    await until(begin + at * 1000, signal);
    if (signal.aborted) break;
    due.push(i);
    dispatch();
  }
  while (running.size > 0) await Promise.race(running);
  return samples.filter((sample) => sample !== undefined);
}

/** A moment of `performance.now()`, or the signal. */
function until(moment: number, signal: AbortSignal): Promise<void> {
  const wait = moment - performance.now();
  if (wait <= 0 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', go);
      resolve();
    };
    // A timer is early by the fraction of a millisecond that it is not given.
    const timer = setTimeout(go, Math.ceil(wait));
    signal.addEventListener('abort', go, { once: true });
  });
}
