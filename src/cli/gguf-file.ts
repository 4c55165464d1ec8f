/** Puts a model, its weights in a format, and a vocabulary together into the contents of a GGUF file. */
import type { Checkpoint, Metadata, MetadataValue } from '../formats/checkpoint.ts';
import { convertTensor } from '../formats/convert-tensor.ts';
import { isGguf } from '../formats/gguf.ts';
import { type GgufType, ggufFileTypes } from '../formats/gguf-types.ts';
import type { GgufContents } from '../formats/gguf-write.ts';
import type { ImportanceMatrix } from '../formats/importance-matrix.ts';
import type { Recoder } from '../formats/recode.ts';
import type { TensorToWrite } from '../formats/tensor-stream.ts';
import type { GgufDescription, Model } from '../models/model.ts';

const quantizationVersion = 2;

export interface ExportOptions {
  readonly name: string;
  /** `tokenizer.*` keys. */
  readonly tokenizer: Metadata;
  /** What becomes of the weights; without it each keeps its format. Vectors are f32. */
  readonly weights?: WeightPlan;
}

export interface WeightPlan {
  /** Of tensors by their names in the file, rows of `numerics/quant/formats.ts`. The others keep what they have. */
  readonly formats: ReadonlyMap<string, string>;
  /** llama.cpp's number of the whole, where it is a mixture with a name. */
  readonly fileType?: number;
  readonly importance?: ImportanceMatrix;
  /** Where weights are recoded; this thread if it is left out. */
  readonly recoder?: Recoder;
}

/**
 * What comes from a GGUF file keeps what that file says, its name and vocabulary too. Tensors stay lazy.
 * @throws IngotError 'UnsupportedFile' for what GGUF cannot say, 'InvalidArgument' for matrices that the format cannot
 * hold.
 */
export function exportGguf(checkpoint: Checkpoint, model: Model, options: ExportOptions): GgufContents {
  const description = model.toGguf();
  const { weights: plan } = options;
  const tensors = description.weights.map(({ name, stored, interleaveHeads }) => {
    const format = stored.shape.length === 1 ? 'f32' : (plan?.formats.get(name) ?? stored.format);
    const importance = plan?.importance?.get(name);
    return convertTensor(stored, {
      name,
      format,
      ...(interleaveHeads !== undefined && { interleaveHeads }),
      ...(importance !== undefined && { importance }),
      ...(plan?.recoder !== undefined && { recoder: plan.recoder }),
    });
  });
  const keys = formatKeys(tensors, plan?.fileType);
  const made = ggufContents(description, tensors, [...keys, ['general.name', options.name], ...options.tokenizer]);
  if (!isGguf(checkpoint)) return made;
  const metadata = new Map(checkpoint.metadata);
  const types = new Map(checkpoint.metadataTypes);
  for (const [key, value] of plan === undefined ? [] : keys) {
    metadata.set(key, value);
    types.set(key, 'uint32');
  }
  return { metadata, types, tensors };
}

/** `more`: keys besides those of the model and of its formats. */
export function ggufContents(
  { metadata, floats }: Pick<GgufDescription, 'metadata' | 'floats'>,
  tensors: readonly TensorToWrite[],
  more: Iterable<readonly [string, MetadataValue]>,
): GgufContents {
  const types = new Map([...floats].map((key): [string, GgufType] => [key, 'float32']));
  return { metadata: new Map([...metadata, ...formatKeys(tensors), ...more]), types, tensors };
}

function formatKeys(tensors: readonly TensorToWrite[], fileType?: number): [string, number][] {
  const format = mostlyFormat(tensors);
  const type = fileType ?? ggufFileTypes.get(format);
  return [
    ...(type === undefined ? [] : [['general.file_type', type] satisfies [string, number]]),
    ...(fileType === undefined && /^(f|bf)\d/.test(format)
      ? []
      : [['general.quantization_version', quantizationVersion] satisfies [string, number]]),
  ];
}

/** The format of most elements of matrices. */
function mostlyFormat(tensors: readonly TensorToWrite[]): string {
  const elements = new Map<string, number>();
  for (const { format, shape } of tensors) {
    const size = shape.length === 1 ? 0 : shape.reduce((product, length) => product * length, 1);
    elements.set(format, (elements.get(format) ?? 0) + size);
  }
  const [most] = [...elements].sort(([, a], [, b]) => b - a);
  return most?.[0] ?? 'f32';
}
