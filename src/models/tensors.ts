/**
 * The tensors of a model as rows: GGUF's name, which is the name in programs, Hugging Face's name, and the shape. The
 * same rows serve reading, building and converting.
 */
import { IngotError } from '../base/errors.ts';
import type { Checkpoint, StoredTensor } from '../formats/checkpoint.ts';

/** How a tensor becomes another: see `tensor-views.ts`. */
export type View = (stored: StoredTensor) => StoredTensor;

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
  readonly view?: View | undefined;
  /** What programs of a Hugging Face folder take, as GGUF files have it. */
  readonly ggufView?: View;
  /** What GGUF files have as a tensor and Hugging Face says in its configuration. */
  readonly made?: StoredTensor | undefined;
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

/** Tensors that files carry and nobody needs: frequencies, masks that are the same in every model, BERT's classifier. */
const idle =
  /rotary_emb\.inv_freq$|attn_rot_embd|\bh\.\d+\.attn\.(masked_)?bias$|attention\.(masked_)?bias$|embeddings\.position_ids$|^(bert\.|roberta\.)?pooler\.dense\.(weight|bias)$/;

/**
 * The model's tensors by GGUF name.
 * @throws IngotError 'InvalidFile' for one that is missing or has a wrong shape; 'UnsupportedFile' for ones that no row
 * names: a model that has them is not the model that would be computed without them.
 */
export function takeTensors(checkpoint: Checkpoint, architecture: string, rows: Iterable<TensorRow>): Weights {
  const weights = new Map<string, StoredTensor>();
  const taken = new Set<string>();
  const folder = checkpoint.kind === 'huggingface';
  for (const { gguf, huggingface, shape, optional, view, made } of rows) {
    if (folder && made !== undefined) weights.set(gguf, made);
    const wanted = folder ? huggingface : gguf;
    if (wanted === undefined) continue;
    const name = folder ? nameInFolder(checkpoint, wanted) : wanted;
    const stored = checkpoint.tensors.get(name);
    if (stored === undefined && optional) continue;
    if (stored === undefined) {
      throw new IngotError('InvalidFile', `${architecture} needs the tensor ${wanted}, which is missing`, {
        path: checkpoint.path,
        tensor: wanted,
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

/** Folders that hold a model without its head leave out what all its names begin with ('model.', 'transformer.'). */
function nameInFolder({ tensors }: Checkpoint, name: string): string {
  const bare = name.slice(name.indexOf('.') + 1);
  return !tensors.has(name) && tensors.has(bare) ? bare : name;
}
