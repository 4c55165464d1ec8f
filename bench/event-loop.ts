/**
 * How long the main thread's event loop stands still while an engine in a worker loads, reads a prompt and writes, and how much of that it
 * works: `node dist/bench/event-loop.js MODEL [-p TOKENS] [-n TOKENS] [-t THREADS]`. A timer of 1 ms is never early, so what a gap has above
 * that is delay. The thread's own clock (clock_gettime(2), Linux) says for how long it had a processor in the gap: no task of it took longer.
 * What else a gap has is the machine's, as the row of nothing shows.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { reportFailure } from '../src/cli/failure.ts';
import { wholeNumber } from '../src/cli/options.ts';
import { openForeign } from '../src/devices/cpu/os/foreign.ts';
import { openEngine } from '../src/engine/open-node.ts';

interface LoopOptions {
  readonly p: number;
  readonly n: number;
  readonly threads?: number;
}

const CLOCK_THREAD_CPUTIME_ID = 3;

/** Milliseconds for which this thread has had a processor; undefined where nothing says so. */
function threadClock(): () => number | undefined {
  if (process.platform !== 'linux') return () => undefined;
  const read = openForeign().load(null).function('clock_gettime', ['i32', 'bytes'], 'i32');
  const time = new BigInt64Array(2);
  const bytes = new Uint8Array(time.buffer);
  return () => {
    read(CLOCK_THREAD_CPUTIME_ID, bytes);
    return 1000 * Number(time[0]) + Number(time[1]) / 1e6;
  };
}

const worked = threadClock();

/** Watches the event loop while `work` goes on. */
async function watch<T>(what: string, work: () => Promise<T>): Promise<T> {
  const delays: number[] = [];
  const own: number[] = [];
  let last = performance.now();
  let lastOwn = worked();
  const start = last;
  const timer = setInterval(() => {
    const now = performance.now();
    delays.push(Math.max(0, now - last - 1));
    last = now;
    const nowOwn = worked();
    if (nowOwn !== undefined && lastOwn !== undefined) own.push(nowOwn - lastOwn);
    lastOwn = nowOwn;
  }, 1);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    const seconds = (performance.now() - start) / 1000;
    console.log(
      `${what.padEnd(24)} ${seconds.toFixed(2).padStart(8)} s   delay ${spread(delays)}   of it work ${spread(own)} ms`,
    );
  }
}

/** Median, 99%, 99.9% and the most. */
function spread(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number | undefined;
  return [0.5, 0.99, 0.999, 1].map((share) => (at(share)?.toFixed(2) ?? '-').padStart(8)).join('');
}

async function measure(path: string, { p, n, threads }: LoopOptions): Promise<void> {
  const head = ['median', '99%', '99.9%', 'max'].map((word) => word.padStart(8)).join('');
  console.log(`${''.padEnd(44)}${head}${''.padEnd(14)}${head}`);
  await watch('nothing', () => sleep(2000));
  const engine = await watch('loading', () =>
    openEngine(path, { contextLength: p + n + 1, ...(threads !== undefined && { threads }) }),
  );
  const prompt = Array.from({ length: p }, (_, i) => (i * 7919) % engine.model.vocabularySize);
  const events = engine.generate({ prompt, maxTokens: n + 1, ignoreEnd: true });
  await watch(`prompt of ${p}`, () => events.next());
  await watch(`${n} tokens`, async () => {
    for await (const event of events) {
      if (event.kind === 'end') console.log(`${event.statistics.decodeTokensPerSecond?.toFixed(1)} tokens/s`);
    }
  });
  await engine[Symbol.asyncDispose]();
}

const program = new Command('event-loop')
  .argument('<model>')
  .option('-p <tokens>', 'tokens of the prompt', wholeNumber(1), 128)
  .option('-n <tokens>', 'tokens to write', wholeNumber(1), 64)
  .option('-t, --threads <n>', 'threads that compute', wholeNumber(1))
  .action(measure);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, true);
}
