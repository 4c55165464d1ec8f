/** `ingot convert IN OUT.gguf`: a model in another format of file, of weights, or of both. */
import { type Command, Option } from 'commander';
import type { GgufDescription } from '../models/model.ts';
import { encodableFormats } from '../numerics/quant/formats.ts';
import { withInterrupt } from './interrupt.ts';
import { formatBytes } from './report.ts';
import { type WriteOptions, writeModel } from './write-model.ts';

export interface ConvertOptions extends WriteOptions {
  /** One of `encodableFormats`. */
  readonly type?: string;
}

export function addConvert(program: Command): void {
  program
    .command('convert')
    .summary('write a model as a GGUF file')
    .description(
      'Writes a model as a GGUF file, which carries weights, settings and vocabulary together. Weights stay as they ' +
        'are stored unless --type names one format for all matrices; quantize mixes formats.',
    )
    .argument('<model>', 'a Hugging Face folder, a llama2.c checkpoint, or a GGUF file')
    .argument('<out>', 'the GGUF file to write')
    .option('--tokenizer <file>', 'the tokenizer of a llama2.c checkpoint (tokenizer.bin)')
    .addOption(
      new Option('--type <type>', 'format of the matrices').choices(encodableFormats.map((format) => format.name)),
    )
    .option('--force', 'replace a file of this name')
    .action(async (input: string, output: string, options: ConvertOptions) => {
      const bytes = await withInterrupt((signal) => convert(input, output, options, signal));
      console.error(`${output}: ${formatBytes(bytes)}`);
    });
}

/** Writes `output`; its length in bytes. @throws IngotError as `writeModel` does. */
export async function convert(
  input: string,
  output: string,
  options: ConvertOptions,
  signal?: AbortSignal,
): Promise<number> {
  const { type } = options;
  const plan = ({ weights }: GgufDescription) =>
    type === undefined ? undefined : { formats: new Map(weights.map(({ name }) => [name, type])) };
  return (await writeModel(input, output, options, 'Converting', plan, signal)).bytes;
}
