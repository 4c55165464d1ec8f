/**
 * A decode step deep in a context, by what keys and values are kept in: `node dist/bench/kv-decode.js MODEL [--depth N] [--threads N]
 * [FORMAT...]`. The context is not computed: the pools are filled, or the system might map one page of zeros for all of them, and reading that
 * costs less than memory does. The formats take turns, so that all see the same
 * neighbours, with a read of as many bytes as the weights have, in the quicker of two ways; shown are the best and the median wall time of a step,
 * the read's, the median of what it is of the step beside it, and the least time that all threads of the process together worked for a step.
 */
import { Argument, Command } from 'commander';
import { reportFailure } from '../src/cli/failure.ts';
import { wholeNumber } from '../src/cli/options.ts';
import { readKernel } from '../src/devices/cpu/limit-kernels.ts';
import { loopCode } from '../src/devices/cpu/machine-code.ts';
import { createTeam } from '../src/devices/cpu/team.ts';
import { openDevice } from '../src/devices/open-node.ts';
import { median } from '../src/devices/tuner.ts';
import { openForRunning } from '../src/engine/open-model-node.ts';
import { Runner } from '../src/engine/runner.ts';
import { greedy } from '../src/engine/sampling.ts';
import { stepLimits } from '../src/engine/step-limits.ts';
import { type KvFormat, kvFormats } from '../src/numerics/kv-format.ts';
import { system } from './system.ts';

interface Options {
  readonly depth: number;
  readonly threads?: number;
  readonly rounds: number;
}

/** What is a number near zero in every format if all bytes are this. */
const smallNumber = 0x3c;

interface Measured {
  readonly kv: KvFormat;
  readonly runner: Runner;
  /** Milliseconds of each step. */
  readonly walls: number[];
  cpu: number;
}

/** What reads so many bytes once: milliseconds, in one place of each thread's part or in two. */
function reader(bytes: number, threads: number) {
  const team = createTeam(system, { threads });
  const whole = bytes - (bytes % (2048 * threads));
  const memory = system.mapMemory(whole, { huge: true, prefault: true });
  const words = system.mapMemory(16);
  new BigUint64Array(words.bytes().buffer).set([BigInt(memory.address), BigInt(whole)]);
  const lists = ([1, 2] as const).map((streams) => {
    const source = readKernel({ streams, prefetch: 'none', prefetchBytes: 0 });
    using code = system.mapCode(loopCode(source, system.architecture, system.cpuFeatures().names).bytes);
    return team.list([{ kind: 'kernel', code, offset: 0, argument: { memory: words, offset: 0 } }]);
  });
  return {
    read: () =>
      Math.min(
        ...lists.map((list) => {
          const start = performance.now();
          team.wait(team.submit(list), Number.POSITIVE_INFINITY);
          return performance.now() - start;
        }),
      ),
    [Symbol.dispose]() {
      for (const one of [...lists, team, words, memory]) one[Symbol.dispose]();
    },
  };
}

async function decode(path: string, formats: readonly KvFormat[], { depth, threads, rounds }: Options): Promise<void> {
  await using opened = await openForRunning(path);
  await using device = await openDevice('cpu', { threads });
  const limits = stepLimits(opened.model, { contextLength: depth + 16 });
  const blocks = Array.from({ length: limits.blockCount }, (_, i) => i);
  const tokens = new Array<number>(depth + 1).fill(1);
  const entry = { sequence: { tokens, computed: depth, blocks, row: 0 }, start: depth, count: 1, samples: true };
  const measured: Measured[] = [];
  const reads: number[] = [];
  try {
    for (const kv of formats) {
      const runner = await Runner.load(device, opened.model, { limits, kv });
      measured.push({ kv, runner, walls: [], cpu: Number.POSITIVE_INFINITY });
      runner.begin(0, [1]);
      const contents = new Uint8Array(runner.pools.blockBytes).fill(smallNumber);
      for (const block of blocks) {
        runner.pools.write([block, ...(limits.windows ?? []).map(({ blockCount }) => block % blockCount)], contents);
      }
    }
    // Each runner has weights of its own.
    using reading = reader(device.memory().weights.now / formats.length, device.hardware.threads);
    for (let round = 0; round <= rounds; round++) {
      reads.push(reading.read());
      for (const one of measured) {
        const [start, before] = [performance.now(), process.cpuUsage()];
        await (await one.runner.submit([entry], [greedy], false)).result();
        const { user, system } = process.cpuUsage(before);
        if (round === 0) continue;
        one.walls.push(performance.now() - start);
        one.cpu = Math.min(one.cpu, (user + system) / 1000);
      }
    }
  } finally {
    for (const { runner } of measured) await runner[Symbol.asyncDispose]();
  }
  reads.shift();
  console.log(`reading the weights alone: ${Math.min(...reads).toFixed(2)} ms, median ${median(reads).toFixed(2)}`);
  for (const { kv, walls, cpu } of measured) {
    const wall = Math.min(...walls);
    const step = `a step at ${depth}: ${wall.toFixed(2)} ms, ${(1000 / wall).toFixed(1)} tokens/s, median ${median(walls).toFixed(2)} ms`;
    const share = (100 * median(walls.map((wall, round) => (reads[round] ?? 0) / wall))).toFixed(0);
    const bytes = opened.model.kvBytes(kv, { blockCount: 1, blockSize: 1 });
    console.log(`${kv}: ${bytes} bytes a token; ${step}, ${share}% of it reading; threads worked ${cpu.toFixed(2)} ms`);
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
