/**
 * What prompts cost the answers that run: `node dist/bench/pace.js MODEL [--streams N] [--pace X]`. The gap between two tokens of
 * an answer while prompts of several lengths are computed, over the gap without any.
 */
import { Command } from 'commander';
import { reportFailure } from '../src/cli/failure.ts';
import { wholeNumber } from '../src/cli/options.ts';
import { randomTokens } from '../src/cli/random-tokens.ts';
import { formatTable } from '../src/cli/report.ts';
import { openDevice } from '../src/devices/open-node.ts';
import { LocalEngine } from '../src/engine/local-engine.ts';
import { openForRunning } from '../src/engine/open-model-node.ts';
import type { StepRecord } from '../src/engine/step-trace.ts';

interface Options {
  readonly streams: number;
  readonly pace: number;
  readonly lengths: string;
}

const idleTokens = 24;

async function measure(path: string, { streams, pace, lengths }: Options): Promise<void> {
  await using opened = await openForRunning(path);
  await using device = await openDevice('cpu');
  const prompts = lengths.split(',').map(Number);
  const steps: StepRecord[] = [];
  await using engine = await LocalEngine.load(device, opened.model, opened.tokenizer, {
    ...{ contextLength: Math.max(1024, ...prompts.map((length) => length + 1)), sequences: streams + 1, pace },
    onStep: (record) => steps.push(record),
  });
  let gaps: number[] = [];
  const request = (length: number, maxTokens: number) => ({
    prompt: randomTokens(length, engine.model.vocabularySize),
    maxTokens,
    ignoreEnd: true,
    cacheOwner: String(Math.random()),
  });
  let isOver = false;
  const stream = async () => {
    let last: number | undefined;
    for await (const _ of engine.generate(request(8, 1000))) {
      if (isOver) return;
      const now = performance.now();
      if (last !== undefined) gaps.push(now - last);
      last = now;
    }
  };
  const running = Array.from({ length: streams }, stream);
  const until = async (count: number) => {
    while (gaps.length < count) await new Promise((resolve) => setTimeout(resolve, 1));
    return gaps.slice(-count).sort((a, b) => a - b);
  };
  await until(idleTokens * streams);
  gaps = [];
  const alone = await until(idleTokens * streams);
  const idle = alone[alone.length >> 1];
  const at = (sorted: readonly number[], part: number) =>
    `${(sorted[Math.floor(part * (sorted.length - 1))] / idle).toFixed(2)}x`;
  const spread = (sorted: readonly number[]) => [at(sorted, 0.5), at(sorted, 0.95), at(sorted, 1)];
  const rows = [['prompt', 'seconds', 'steps', 'tokens a step', 'median gap', '95th', 'largest', 'prediction off by']];
  // How even they are without any prompt.
  rows.push(['none', '', '', '', ...spread(alone), '']);
  for (const length of prompts) {
    gaps = [];
    steps.length = 0;
    const begin = performance.now();
    for await (const _ of engine.generate(request(length, 1)));
    const seconds = (performance.now() - begin) / 1000;
    const sorted = [...gaps].sort((a, b) => a - b);
    // The answers are the first requests.
    const mixed = steps.filter(({ entries }) => entries.some(({ request }) => request >= streams));
    const off = mixed.map(({ took, predicted }) => Math.abs(took / predicted - 1)).sort((a, b) => a - b);
    rows.push([
      ...[String(length), seconds.toFixed(2), String(mixed.length), (length / mixed.length).toFixed(1)],
      ...[...spread(sorted), `${(100 * (off[off.length >> 1] ?? 0)).toFixed(0)} %`],
    ]);
  }
  isOver = true;
  await Promise.all(running);
  console.log(
    `${streams} answers, ${idle.toFixed(1)} ms between two tokens of each while nothing else runs, pace ${pace}`,
  );
  console.log(formatTable(rows));
}

const program = new Command('pace')
  .argument('<model>')
  .option('--streams <n>', 'answers that run', wholeNumber(1), 1)
  .option('--pace <x>', 'as of ingot serve', Number, 1.75)
  .option('--lengths <tokens>', 'of the prompts', '16,128,512,2048')
  .action(measure);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, true);
}
