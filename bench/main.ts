/** `npm run bench -- NAME`: comparisons that need more than one command. */
import { Command } from 'commander';
import { reportFailure } from '../src/cli/failure.ts';
import { withInterrupt } from '../src/cli/interrupt.ts';
import { wholeNumber } from '../src/cli/options.ts';
import { benchCpu, type CpuBenchOptions } from './cpu/run.ts';

const program = new Command('bench').description('Comparisons that write docs/results.md.');
program
  .command('cpu')
  .description(
    'the CPU device beside llama.cpp and onnxruntime-node: makes models, runs both in turn, prints the table',
  )
  .argument('[words...]', 'only rows that have all of these words; the table is printed and not written')
  .option(
    '--peer <folder>',
    'of an installed node-llama-cpp, and onnxruntime-node for its rows (default: INGOT_LLAMA_CPP)',
  )
  .option('--install-peers', 'install those packages in a temporary folder')
  .option('-t, --threads <n>', 'threads of both (default: all)', wholeNumber(1, 4096))
  .option('--rounds <n>', 'turns of each side that count', wholeNumber(1, 100), 3)
  .option('--seed <n>', 'of the shape that is drawn (default: any)', wholeNumber(0, 2 ** 31))
  .action((words: readonly string[], options: Omit<CpuBenchOptions, 'only'>) =>
    withInterrupt((signal) => benchCpu({ ...options, only: words }, signal)),
  );

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, true);
}
