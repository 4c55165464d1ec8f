/** `ingot convert IN OUT.gguf`: a model in another format of file, of weights, or of both. */
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, extname, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { IngotError } from '../base/errors.ts';
import { createFile } from '../formats/atomic-write-node.ts';
import type { Checkpoint, Metadata } from '../formats/checkpoint.ts';
import { openFile } from '../formats/file-node.ts';
import { layoutGguf } from '../formats/gguf-write.ts';
import { openCheckpoint } from '../formats/open-node.ts';
import type { ByteSink } from '../formats/tensor-stream.ts';
import { openModel } from '../models/architectures.ts';
import { encodableFormats } from '../numerics/quant/formats.ts';
import { exportTokenizer } from '../tokenizer/gguf-export.ts';
import { usageError } from './failure.ts';
import { exportGguf } from './gguf-file.ts';
import { withInterrupt } from './interrupt.ts';
import { type Progress, showProgress } from './progress.ts';
import { formatBytes } from './report.ts';

export interface ConvertOptions {
  /** Of llama2.c checkpoints, which carry none. */
  readonly tokenizer?: string;
  /** One of `encodableFormats`. */
  readonly type?: string;
  readonly force?: boolean;
}

/** A tokenizer of a quarter of a million tokens takes some 5 MB. */
const maxTokenizerBytes = 64 << 20;

export function addConvert(program: Command): void {
  program
    .command('convert')
    .summary('write a model as a GGUF file')
    .description(
      'Writes a model as a GGUF file, which carries weights, settings and vocabulary together. Weights stay as they ' +
        'are stored unless --type names another format.',
    )
    .argument('<model>', 'a Hugging Face folder, a llama2.c checkpoint, or a GGUF file')
    .argument('<out>', 'the GGUF file to write')
    .option('--tokenizer <file>', 'the tokenizer of a llama2.c checkpoint (tokenizer.bin)')
    .addOption(
      new Option('--type <type>', 'format of the weights').choices(encodableFormats.map((format) => format.name)),
    )
    .option('--force', 'replace a file of this name')
    .action(async (input: string, output: string, options: ConvertOptions) => {
      const bytes = await withInterrupt((signal) => convert(input, output, options, signal));
      console.error(`${output}: ${formatBytes(bytes)}`);
    });
}

/**
 * Writes `output`, whole or not at all; its length in bytes.
 * @throws IngotError 'Usage', 'Aborted', and whatever the files do wrong.
 */
export async function convert(
  input: string,
  output: string,
  options: ConvertOptions,
  signal?: AbortSignal,
): Promise<number> {
  for (const path of [input, options.tokenizer]) {
    if (path !== undefined && (await isSameFile(path, output))) {
      throw usageError(`${output} is what would be read`, 'Choose another name for the result.');
    }
  }
  if (!options.force && existsSync(output)) {
    const hint = 'choose another name, or replace it with --force';
    throw new IngotError('FileExists', `${output} exists already`, { path: output, hint });
  }
  await using checkpoint = await openCheckpoint(input);
  const model = openModel(checkpoint);
  const tokenizer = await readTokenizer(checkpoint, options.tokenizer, model.vocabularySize);
  const name = basename(resolve(input), checkpoint.kind === 'huggingface' ? '' : extname(input));
  const format = options.type === undefined ? {} : { format: options.type };
  const layout = layoutGguf(exportGguf(checkpoint, model, { name, tokenizer, ...format }));
  await using file = await createFile(output, { length: layout.length, overwrite: options.force ?? false });
  using progress = showProgress('Converting');
  await layout.writeTo(counted(file, layout.length, progress), signal);
  await file.commit();
  return layout.length;
}

/** By what the names lead to: links lead to their files. */
async function isSameFile(a: string, b: string): Promise<boolean> {
  const [first, second] = await Promise.all([a, b].map((path) => stat(path, { bigint: true }).catch(() => undefined)));
  if (first === undefined || second === undefined) return false;
  return first.dev === second.dev && first.ino === second.ino;
}

async function readTokenizer(checkpoint: Checkpoint, path: string | undefined, size: number): Promise<Metadata> {
  const { kind, metadata, companions } = checkpoint;
  if (kind !== 'llama2c' && path !== undefined) {
    throw usageError(`--tokenizer is for llama2.c checkpoints; ${checkpoint.path} brings its own`, 'Leave it out.');
  }
  switch (kind) {
    case 'gguf':
      return exportTokenizer({ kind, metadata }, size);
    case 'huggingface':
      return exportTokenizer({ kind, companions }, size);
    case 'llama2c':
      if (path === undefined) {
        throw usageError(
          `${checkpoint.path} is a llama2.c checkpoint, which carries no tokenizer`,
          'Name its tokenizer: --tokenizer tokenizer.bin',
        );
      }
      return exportTokenizer({ kind, bytes: await readTokenizerFile(path), vocabularySize: size }, size);
    case 'safetensors': // `openModel` has refused it.
      return new Map();
    default:
      return kind satisfies never;
  }
}

async function readTokenizerFile(path: string): Promise<Uint8Array> {
  await using file = await openFile(path);
  if (file.length > maxTokenizerBytes) {
    throw new IngotError('InvalidFile', `${path} has ${formatBytes(file.length)}, more than any tokenizer`, { path });
  }
  return file.read(0, file.length);
}

function counted(sink: ByteSink, total: number, progress: Progress): ByteSink {
  let done = 0;
  return {
    async write(bytes) {
      await sink.write(bytes);
      done += bytes.length;
      progress.update(done, total);
    },
  };
}
