/** `ingot quantize IN OUT.gguf --type q4_K_M`: a model in fewer bits, mixed as llama.cpp mixes them. */
import { type Command, InvalidArgumentError } from 'commander';
import { IngotError } from '../base/errors.ts';
import { openFile } from '../formats/file-node.ts';
import { type ImportanceMatrix, readImportanceMatrix } from '../formats/importance-matrix.ts';
import type { TensorToWrite } from '../formats/tensor-stream.ts';
import {
  chooseFormats,
  type FileType,
  type FormatChoice,
  fileTypeNamed,
  fileTypeNames,
  fileTypeNumber,
} from '../models/file-types.ts';
import type { GgufDescription } from '../models/model.ts';
import { blockFormat, encodableFormats } from '../numerics/quant/formats.ts';
import { usageError } from './failure.ts';
import { withInterrupt } from './interrupt.ts';
import { wholeNumber } from './options.ts';
import { formatBytes } from './report.ts';
import { type WriteOptions, writeModel } from './write-model.ts';

type Override = FormatChoice['overrides'][number];

interface QuantizeOptions extends WriteOptions {
  readonly type: FileType;
  readonly tensor?: readonly Override[];
  /** The file of an importance matrix. */
  readonly imatrix?: string;
  readonly requantize?: boolean;
  readonly json?: boolean;
}

export function addQuantize(program: Command): void {
  program
    .command('quantize')
    .summary('write a model as a GGUF file of fewer bits')
    .description(
      "Writes a model as a GGUF file of one of llama.cpp's types, each tensor in the format that llama.cpp's quantize " +
        `gives it: ${fileTypeNames.join(', ')}. Vectors and small matrices keep their precision.`,
    )
    .argument('<model>', 'a GGUF file, a Hugging Face folder, or a llama2.c checkpoint')
    .argument('<out>', 'the GGUF file to write')
    .requiredOption('--type <type>', 'what to make, as q4_K_M', readType)
    .option('--tensor <pattern=format>', 'a format for tensors whose names match; may be repeated', gatherOverrides)
    .option('--imatrix <file>', "an importance matrix (llama.cpp's imatrix): which columns matter how much")
    .option('--requantize', 'accept weights that are quantized already, and what is lost twice')
    .option('--tokenizer <file>', 'the tokenizer of a llama2.c checkpoint (tokenizer.bin)')
    .option('-t, --threads <n>', 'threads; as many as there are cores if left out', wholeNumber(1, 1024))
    .option('--force', 'replace a file of this name')
    .option('--json', 'print what was written as JSON')
    .action(async (input: string, output: string, options: QuantizeOptions) => {
      const summary = await withInterrupt((signal) => quantize(input, output, options, signal));
      if (options.json) console.log(JSON.stringify(summary, undefined, 2));
      else console.error(`${output}: ${formatBytes(summary.bytes)}; ${listFormats(summary.formats)}`);
    });
}

function readType(text: string): FileType {
  const type = fileTypeNamed(text);
  if (type !== undefined) return type;
  throw new InvalidArgumentError(`Choose one of ${fileTypeNames.join(', ')}.${readsOnly(text)}`);
}

/** People ask for what files have. */
function readsOnly(text: string): string {
  return /^iq[123]/i.test(text) ? ` Ingot reads ${text} and has no encoder for it.` : '';
}

function gatherOverrides(text: string, before: readonly Override[] = []): readonly Override[] {
  const [, source, name] = /^(.+)=([^=]+)$/.exec(text) ?? [];
  if (source === undefined || name === undefined) {
    throw new InvalidArgumentError('It must be a pattern and a format, as ffn_down=q6_K.');
  }
  const format = encodableFormats.find((known) => known.name.toLowerCase() === name.toLowerCase());
  if (format === undefined) {
    const names = encodableFormats.map((known) => known.name).join(', ');
    throw new InvalidArgumentError(`${name} is no format of a tensor; choose one of ${names}.${readsOnly(name)}`);
  }
  try {
    return [...before, { pattern: new RegExp(source), format: format.name }];
  } catch {
    throw new InvalidArgumentError(`${source} is no regular expression.`);
  }
}

interface Summary {
  readonly path: string;
  readonly type: FileType;
  readonly bytes: number;
  /** Tensors and bytes by format. */
  readonly formats: Readonly<Record<string, { tensors: number; bytes: number }>>;
}

async function quantize(
  input: string,
  output: string,
  options: QuantizeOptions,
  signal: AbortSignal,
): Promise<Summary> {
  const importance = options.imatrix === undefined ? undefined : await readImportance(options.imatrix);
  const plan = (description: GgufDescription) => {
    const { weights, metadata } = description;
    const overrides = options.tensor ?? [];
    const tensors = weights.map(({ name, stored }) => ({ name, shape: stored.shape }));
    const unused = overrides.find(({ pattern }) => !tensors.some(({ name }) => pattern.test(name)));
    if (unused !== undefined) {
      throw usageError(`no tensor of ${input} matches ${unused.pattern.source}`, 'See their names with ingot inspect.');
    }
    const choice = { type: options.type, metadata, hasImportance: importance !== undefined, overrides };
    const formats = chooseFormats(tensors, choice);
    if (!options.requantize) refuseQuantized(description, formats);
    return { formats, fileType: fileTypeNumber(options.type), ...(importance && { importance }) };
  };
  const { bytes, tensors } = await writeModel(input, output, options, 'Quantizing', plan, signal);
  return { path: output, type: options.type, bytes, formats: countFormats(tensors) };
}

async function readImportance(path: string): Promise<ImportanceMatrix> {
  await using file = await openFile(path);
  return await readImportanceMatrix(file);
}

function refuseQuantized({ weights }: GgufDescription, formats: ReadonlyMap<string, string>): void {
  for (const { name, stored } of weights) {
    const format = formats.get(name) ?? stored.format;
    if (format === stored.format || blockFormat(stored.format).blockSize === 1) continue;
    throw new IngotError('InvalidArgument', `its weights are quantized already, in ${stored.format}`, {
      tensor: name,
      hint: 'quantize from a file of f16, bf16 or f32, or say --requantize and lose precision twice',
    });
  }
}

function countFormats(tensors: readonly TensorToWrite[]): Summary['formats'] {
  const counts: Record<string, { tensors: number; bytes: number }> = {};
  for (const { format, shape } of tensors) {
    const { blockSize, blockBytes } = blockFormat(format);
    const bytes = (shape.reduce((product, size) => product * size, 1) / blockSize) * blockBytes;
    const before = counts[format] ?? { tensors: 0, bytes: 0 };
    counts[format] = { tensors: before.tensors + 1, bytes: before.bytes + bytes };
  }
  return counts;
}

function listFormats(formats: Summary['formats']): string {
  return Object.entries(formats)
    .map(([format, { tensors }]) => `${tensors} tensor${tensors === 1 ? '' : 's'} ${format}`)
    .join(', ');
}
