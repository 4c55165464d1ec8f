/**
 * The tensors of a model as rows: GGUF's name, which is the name in programs, Hugging Face's name, and the shape. The
 * same rows serve reading, building and converting.
 */
import { IngotError } from '../base/errors.ts';
import type { Checkpoint, StoredTensor } from '../formats/checkpoint.ts';

/** How a tensor becomes another: see `tensor-views.ts`. */
type View = (stored: StoredTensor) => StoredTensor;

export interface TensorRow {
  readonly gguf: string;
  /** Undefined where only GGUF files have it. */
  readonly huggingface?: string;
  readonly shape: readonly number[];
  /** Taken where the file has it. */
  readonly optional?: boolean;
  /** A layer reads it and it is of no layer: its names are whole. */
  readonly shared?: boolean;
  /** Hugging Face's tensor as programs take it, where that is another than what lies in the file. */
  readonly view?: View;
  /** What lies in programs of a Hugging Face folder as GGUF files have it. */
  readonly ggufView?: View;
}

export type Weights = ReadonlyMap<string, StoredTensor>;

type Extras = Omit<TensorRow, 'gguf' | 'huggingface' | 'shape'>;

export function row(gguf: string, huggingface: string, shape: readonly number[], extras: Extras = {}): TensorRow {
  return { gguf, huggingface, shape, ...extras };
}

/** `<name>.weight` of a matrix product, with a bias that the files may have. */
export function linearRows(
  gguf: string,
  huggingface: string,
  [rows, columns]: readonly [number, number],
  extras: Extras = {},
): readonly TensorRow[] {
  return [
    row(`${gguf}.weight`, `${huggingface}.weight`, [rows, columns], extras),
    row(`${gguf}.bias`, `${huggingface}.bias`, [rows], { ...extras, optional: true }),
  ];
}

/** Tensors that files carry and nobody needs. */
const idle = /rotary_emb\.inv_freq$|attn_rot_embd/;

/**
 * The model's tensors by GGUF name.
 * @throws IngotError 'InvalidFile' for one that is missing or has a wrong shape; 'UnsupportedFile' for ones that no row
 * names: a model that has them is not the model that would be computed without them.
 */
export function takeTensors(checkpoint: Checkpoint, architecture: string, rows: Iterable<TensorRow>): Weights {
  const weights = new Map<string, StoredTensor>();
  const taken = new Set<string>();
  for (const { gguf, huggingface, shape, optional, view } of rows) {
    const folder = checkpoint.kind === 'huggingface';
    const name = folder ? huggingface : gguf;
    const stored = name === undefined ? undefined : checkpoint.tensors.get(name);
    if (name === undefined || (stored === undefined && optional)) continue;
    if (stored === undefined) {
      throw new IngotError('InvalidFile', `${architecture} needs the tensor ${name}, which is missing`, {
        path: checkpoint.path,
        tensor: name,
      });
    }
    const tensor = folder && view !== undefined ? view(stored) : stored;
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i])) {
      throw new IngotError(
        'InvalidFile',
        `tensor ${name} is [${tensor.shape}], but the model's settings need [${shape}]`,
        { path: checkpoint.path, tensor: name },
      );
    }
    taken.add(name);
    weights.set(gguf, tensor);
  }
  const unknown = [...checkpoint.tensors.keys()].filter((name) => !taken.has(name) && !idle.test(name));
  if (unknown.length > 0) {
    throw new IngotError(
      'UnsupportedFile',
      `${architecture} has no place for ${unknown.length} tensors of this file: ${unknown.slice(0, 4).join(', ')}`,
      { path: checkpoint.path, tensor: unknown[0] },
    );
  }
  return weights;
}
