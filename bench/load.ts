/**
 * How long a model takes to load and what memory that takes at most: `node dist/bench/load.js MODEL [--context N]`. Bytes that are
 * needed are packed weights and KV pools; the peak is that of the whole process, Node's own included.
 */
import { Command } from 'commander';
import { reportFailure } from '../src/cli/failure.ts';
import { wholeNumber } from '../src/cli/options.ts';
import { formatBytes, formatSeconds, peakMemory } from '../src/cli/report.ts';
import { openDevice } from '../src/devices/open-node.ts';
import { LocalEngine } from '../src/engine/local-engine.ts';
import { openForRunning } from '../src/engine/open-model-node.ts';

async function load(path: string, { context }: { readonly context: number }): Promise<void> {
  const begin = performance.now();
  await using opened = await openForRunning(path);
  await using device = await openDevice('cpu');
  const start = performance.now();
  const before = process.memoryUsage().rss;
  await using engine = await LocalEngine.load(device, opened.model, opened.tokenizer, { contextLength: context });
  const loaded = performance.now();
  for await (const event of engine.generate({ prompt: [1], maxTokens: 1 })) if (event.kind === 'token') break;
  const seconds = (from: number, to: number) => formatSeconds((to - from) / 1000);
  const { weights, state } = device.memory();
  const needed = weights.peak + state.peak;
  const peak = peakMemory();
  console.log(`opened in ${seconds(begin, start)}, loaded in ${seconds(start, loaded)}`);
  console.log(`process to first token ${seconds(0, performance.now())}`);
  console.log(
    `weights ${formatBytes(weights.peak)}, state ${formatBytes(state.peak)}, before loading ${formatBytes(before)}`,
  );
  console.log(`peak ${formatBytes(peak)}: ${(peak / needed).toFixed(3)} of weights and state`);
}

const program = new Command('load')
  .argument('<model>')
  .option('--context <tokens>', 'longest sequence', wholeNumber(1), 256)
  .action(load);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, true);
}
