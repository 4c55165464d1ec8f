/**
 * How long the main thread's event loop stands still while an engine in a worker loads, reads a prompt and writes, and what
 * the worker costs: `node dist/bench/event-loop.js MODEL [-p TOKENS] [-n TOKENS]`. A timer of 1 ms is never early, so what a
 * gap has above that is delay. A busy machine delays it too, as the row of nothing shows.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { reportFailure } from '../src/cli/failure.ts';
import { wholeNumber } from '../src/cli/options.ts';
import { openEngine } from '../src/engine/open-node.ts';

interface LoopOptions {
  readonly p: number;
  readonly n: number;
}

/** Watches the event loop while `work` goes on. */
async function watch<T>(what: string, work: () => Promise<T>): Promise<T> {
  const delays: number[] = [];
  let last = performance.now();
  const start = last;
  const timer = setInterval(() => {
    const now = performance.now();
    delays.push(Math.max(0, now - last - 1));
    last = now;
  }, 1);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    const seconds = (performance.now() - start) / 1000;
    delays.sort((a, b) => a - b);
    const at = (share: number) =>
      (delays[Math.min(delays.length - 1, Math.floor(share * delays.length))] ?? 0).toFixed(2);
    console.log(
      `${what.padEnd(24)} ${seconds.toFixed(2).padStart(8)} s   delay ${[0.5, 0.99, 0.999, 1].map((share) => at(share).padStart(8)).join('')} ms`,
    );
  }
}

async function measure(path: string, { p, n }: LoopOptions): Promise<void> {
  console.log(`${''.padEnd(44)}median     99%   99.9%     max`);
  await watch('nothing', () => sleep(2000));
  const engine = await watch('loading', () => openEngine(path, { contextLength: p + n + 1 }));
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
  .action(measure);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, true);
}
