/**
 * A decode step deep in a context, by what keys and values are kept in: `node dist/bench/kv-decode.js MODEL [--depth N] [--threads N]
 * [FORMAT...]`. The context is not computed: pools of zeros take as long to read. The formats take turns, so that all see the same
 * neighbours; the best wall time of a step is shown, and the least time that all threads of the process together worked for it.
 */
import { Argument, Command } from 'commander';
import { reportFailure } from '../src/cli/failure.ts';
import { wholeNumber } from '../src/cli/options.ts';
import { openDevice } from '../src/devices/open-node.ts';
import { openForRunning } from '../src/engine/open-model-node.ts';
import { Runner } from '../src/engine/runner.ts';
import { greedy } from '../src/engine/sampling.ts';
import { stepLimits } from '../src/engine/step-limits.ts';
import { type KvFormat, kvFormats } from '../src/numerics/kv-format.ts';

interface Options {
  readonly depth: number;
  readonly threads?: number;
  readonly rounds: number;
}

interface Measured {
  readonly kv: KvFormat;
  readonly runner: Runner;
  wall: number;
  cpu: number;
}

async function decode(path: string, formats: readonly KvFormat[], { depth, threads, rounds }: Options): Promise<void> {
  await using opened = await openForRunning(path);
  await using device = await openDevice('cpu', { threads });
  const limits = stepLimits(opened.model, { contextLength: depth + 16 });
  const blocks = Array.from({ length: limits.blockCount }, (_, i) => i);
  const tokens = new Array<number>(depth + 1).fill(1);
  const entry = { sequence: { tokens, computed: depth, blocks, row: 0 }, start: depth, count: 1, samples: true };
  const measured: Measured[] = [];
  try {
    for (const kv of formats) {
      const runner = await Runner.load(device, opened.model, { limits, kv });
      measured.push({ kv, runner, wall: Number.POSITIVE_INFINITY, cpu: Number.POSITIVE_INFINITY });
      runner.begin(0, [1]);
    }
    for (let round = 0; round <= rounds; round++) {
      for (const one of measured) {
        const [start, before] = [performance.now(), process.cpuUsage()];
        await (await one.runner.submit([entry], [greedy], false)).result();
        const { user, system } = process.cpuUsage(before);
        if (round === 0) continue;
        one.wall = Math.min(one.wall, performance.now() - start);
        one.cpu = Math.min(one.cpu, (user + system) / 1000);
      }
    }
  } finally {
    for (const { runner } of measured) await runner[Symbol.asyncDispose]();
  }
  for (const { kv, wall, cpu } of measured) {
    const step = `a step at ${depth}: ${wall.toFixed(2)} ms, ${(1000 / wall).toFixed(1)} tokens/s`;
    console.log(
      `${kv}: ${opened.model.kvBytes(kv, { blockCount: 1, blockSize: 1 })} bytes a token; ${step}; threads worked ${cpu.toFixed(2)} ms`,
    );
  }
}

const program = new Command('kv-decode')
  .argument('<model>')
  .addArgument(new Argument('[formats...]').choices(kvFormats).default(kvFormats))
  .option('--depth <tokens>', 'context before the token', wholeNumber(0), 4096)
  .option('--threads <n>', 'threads to use at most', wholeNumber(1))
  .option('--rounds <n>', 'steps of each', wholeNumber(1), 40)
  .action(decode);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, true);
}
