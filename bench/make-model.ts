/** Writes a GGUF file of a real model's shape with random weights: `node dist/bench/make-model.js OUT.gguf --shape ...`. */
import { Command, Option } from 'commander';
import { reportFailure } from '../src/cli/failure.ts';
import { withInterrupt } from '../src/cli/interrupt.ts';
import { wholeNumber } from '../src/cli/options.ts';
import { formatBytes } from '../src/cli/report.ts';
import { createFile } from '../src/formats/atomic-write-node.ts';
import { layoutGguf } from '../src/formats/gguf-write.ts';
import { randomModel, type ShapeName, shapes, type WeightType, weightTypes } from './random-model.ts';

interface MakeOptions {
  readonly shape: ShapeName;
  readonly type: WeightType;
  readonly seed: number;
  readonly force?: boolean;
}

async function makeModel(output: string, options: MakeOptions, signal: AbortSignal): Promise<void> {
  const layout = layoutGguf(randomModel(options.shape, options.type, options.seed));
  await using file = await createFile(output, { length: layout.length, overwrite: options.force ?? false });
  await layout.writeTo(file, signal);
  await file.commit();
  console.error(`${output}: ${formatBytes(layout.length)}`);
}

const program = new Command('make-model')
  .description('Writes a GGUF file with random weights.')
  .argument('<out>')
  .addOption(new Option('--shape <name>').choices(Object.keys(shapes)).makeOptionMandatory())
  .addOption(new Option('--type <type>').choices(weightTypes).default('q8_0'))
  .option('--seed <n>', 'the same seed gives the same file', wholeNumber(0, 2 ** 31), 1)
  .option('--force', 'replace a file of this name')
  .action((output: string, options: MakeOptions) => withInterrupt((signal) => makeModel(output, options, signal)));

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, true);
}
