/**
 * A measured phase as a trace for Perfetto (https://ui.perfetto.dev) and Chrome: the JSON object format of the Trace Event
 * Format (https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU), of which complete events (`X`) and
 * metadata (`M`) are used. Times are in microseconds.
 */
import type { Timeline } from '../devices/device.ts';

export interface TracedPhase {
  readonly test: string;
  /** When it was measured, in milliseconds of `performance.now()`. */
  readonly start: number;
  readonly end: number;
  readonly timeline: Timeline;
}

type TraceEvent =
  | { readonly ph: 'M'; readonly name: string; readonly pid: number; readonly tid: number; readonly args: object }
  | {
      readonly ph: 'X';
      readonly name: string;
      readonly cat: string;
      readonly pid: number;
      readonly tid: number;
      readonly ts: number;
      readonly dur: number;
      readonly args?: object;
    };

export interface Trace {
  readonly traceEvents: readonly TraceEvent[];
  readonly displayTimeUnit: 'ms';
  readonly otherData: Readonly<Record<string, string>>;
}

const pid = 1;
const javascript = 0;

export function traceOf(phases: readonly TracedPhase[], about: Readonly<Record<string, string>>): Trace {
  const threads = Math.max(0, ...phases.flatMap(({ timeline }) => timeline.kernels.map(({ thread }) => thread + 1)));
  const named = (name: string, tid: number, value: string): TraceEvent => ({
    ph: 'M',
    name,
    pid,
    tid,
    args: { name: value },
  });
  return {
    traceEvents: [
      named('process_name', javascript, 'ingot profile'),
      named('thread_name', javascript, 'JavaScript and runs'),
      ...Array.from({ length: threads }, (_, thread) =>
        named('thread_name', 1 + thread, `thread ${thread} of the team`),
      ),
      ...phases.flatMap((phase) => [...eventsOf(phase)]),
    ],
    displayTimeUnit: 'ms',
    otherData: about,
  };
}

function* eventsOf({ test, start, end, timeline }: TracedPhase): Generator<TraceEvent> {
  const slice = (
    tid: number,
    cat: string,
    name: string,
    from: number,
    milliseconds: number,
    args?: object,
  ): TraceEvent => {
    return {
      ph: 'X',
      name,
      cat,
      pid,
      tid,
      ts: 1000 * from,
      dur: 1000 * Math.max(0, milliseconds),
      ...(args && { args }),
    };
  };
  const runs = timeline.runs.filter((run) => run.end > start);
  let last = start;
  for (const [i, run] of runs.entries()) {
    const from = Math.max(run.start, last);
    if (from > last) yield slice(javascript, 'javascript', 'JavaScript between runs', last, from - last);
    yield slice(javascript, 'run', `${test}, run ${i + 1} of ${runs.length}`, from, run.end - from);
    last = run.end;
  }
  if (end > last) yield slice(javascript, 'javascript', 'JavaScript after the last run', last, end - last);
  for (const { kernel, thread, start: began, seconds, waited } of timeline.kernels) {
    if (began < start) continue;
    yield slice(1 + thread, 'kernel', kernel, began, 1000 * seconds, { waited_us: 1e6 * waited });
    yield slice(1 + thread, 'barrier', 'barrier', began + 1000 * seconds, 1000 * waited, { after: kernel });
  }
}
