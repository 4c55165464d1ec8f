/** Writes a model as a GGUF file: what `convert` and `quantize` share. */
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, extname, resolve } from 'node:path';
import { IngotError } from '../base/errors.ts';
import { createFile } from '../formats/atomic-write-node.ts';
import type { Checkpoint, Metadata } from '../formats/checkpoint.ts';
import { openFile } from '../formats/file-node.ts';
import { layoutGguf } from '../formats/gguf-write.ts';
import { openCheckpoint } from '../formats/open-node.ts';
import { openRecodePool } from '../formats/recode-pool-node.ts';
import type { ByteSink, TensorToWrite } from '../formats/tensor-stream.ts';
import { openModel } from '../models/architectures.ts';
import type { GgufDescription } from '../models/model.ts';
import { exportTokenizer } from '../tokenizer/gguf-export.ts';
import { usageError } from './failure.ts';
import { exportGguf, type WeightPlan } from './gguf-file.ts';
import { type Progress, showProgress } from './progress.ts';
import { formatBytes } from './report.ts';

export interface WriteOptions {
  /** Of llama2.c checkpoints, which carry none. */
  readonly tokenizer?: string;
  readonly force?: boolean;
  /** Threads that recode weights; as many as there are cores if it is left out. */
  readonly threads?: number;
}

export interface WrittenModel {
  readonly bytes: number;
  readonly tensors: readonly TensorToWrite[];
}

/** What becomes of the weights of a model; undefined leaves them as they are. */
type PlanWeights = (description: GgufDescription) => Omit<WeightPlan, 'recoder'> | undefined;

/** A tokenizer of a quarter of a million tokens takes some 5 MB. */
const maxTokenizerBytes = 64 << 20;

/**
 * Writes `output`, whole or not at all. `doing` is what the bar says.
 * @throws IngotError 'Usage', 'FileExists', 'Aborted', what `plan` throws, and whatever the files do wrong.
 */
export async function writeModel(
  input: string,
  output: string,
  options: WriteOptions,
  doing: string,
  plan: PlanWeights,
  signal?: AbortSignal,
): Promise<WrittenModel> {
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
  const planned = plan(model.toGguf());
  await using recoder = openRecodePool(options.threads ?? availableParallelism());
  const weights = planned && { ...planned, recoder };
  const contents = exportGguf(checkpoint, model, { name, tokenizer, ...(weights && { weights }) });
  const layout = layoutGguf(contents);
  await using file = await createFile(output, { length: layout.length, overwrite: options.force ?? false });
  using progress = showProgress(doing);
  await layout.writeTo(counted(file, layout.length, progress), signal);
  await file.commit();
  return { bytes: layout.length, tensors: contents.tensors };
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
