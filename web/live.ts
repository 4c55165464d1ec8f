/** What the server does now: its metrics, read once a second while somebody looks. */
import { signal } from '@preact/signals';
import { metrics } from './api.ts';
import { type Failure, failureOf } from './failure.ts';
import { firstBetween, type Reading, readMetrics, speedBetween } from './metrics.ts';

const interval = 1000;
/** Between two looks at a server that keeps its numbers from this page. */
const refusedInterval = 30_000;
/** Readings that the panel looks back on: a minute. */
const kept = 61;

export const readings = signal<readonly Reading[]>([]);
export const liveFailure = signal<Failure | undefined>(undefined);

/** Tokens a second, from one reading to the next. */
export const speeds = (list: readonly Reading[]): readonly number[] =>
  list.slice(1).map((after, i) => speedBetween(list[i] ?? after, after));

/** Mean time to the first token in the last minute. */
export function meanFirst(list: readonly Reading[]): number | undefined {
  const [first, last] = [list[0], list.at(-1)];
  return first !== undefined && last !== undefined ? firstBetween(first, last) : undefined;
}

/** Whether the server keeps its numbers for another key. */
export const isRefused = (failure: Failure | undefined): boolean =>
  failure?.kind === 'key' || failure?.kind === 'refused';

/** Reads until the function that it gives is called. A page that nobody sees asks nothing. */
export function watchServer(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let ended = false;
  async function tick(): Promise<void> {
    if (!document.hidden) await read();
    if (!ended) timer = setTimeout(tick, isRefused(liveFailure.value) ? refusedInterval : interval);
  }
  tick();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

async function read(): Promise<void> {
  try {
    const reading = readMetrics(await metrics(), Date.now());
    const last = readings.value.at(-1);
    // After a pause, or a new start of the server, the past says nothing about now.
    const goesOn = last !== undefined && reading.at - last.at < 5 * interval && reading.generated >= last.generated;
    readings.value = goesOn ? [...readings.value, reading].slice(-kept) : [reading];
    liveFailure.value = undefined;
  } catch (error) {
    liveFailure.value = failureOf(error, false);
  }
}
