/**
 * The tensors of a model as rows: GGUF's name, which is the name in programs, Hugging Face's name, and the shape. The
 * same rows serve reading, building and converting.
 */
import { IngotError } from '../base/errors.ts';
import type { Checkpoint, StoredTensor } from '../formats/checkpoint.ts';
import { stack } from './tensor-views.ts';

/** How a tensor becomes another: see `tensor-views.ts`. */
export type View = (stored: StoredTensor) => StoredTensor;

/** Tensors of a folder that become one. */
interface Source {
  readonly names: readonly string[];
  view(...parts: readonly StoredTensor[]): StoredTensor;
}

export interface TensorRow {
  readonly gguf: string;
  /**
   * Undefined where only GGUF files have it. Where it has a '*', the first dimension counts tensors that have a number in
   * its place.
   */
  readonly huggingface?: string;
  /** Instead of one name: the first of these whose names are all there. */
  readonly sources?: readonly Source[];
  readonly shape: readonly number[];
  /** Taken where the file has it. */
  readonly optional?: boolean;
  /** Stays f32 when a model is converted: in other numbers it would choose other experts. */
  readonly exact?: boolean;
  /** Of the matrices in it, one an expert, those that a token uses. */
  readonly chosen?: number;
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

type Extras = Omit<TensorRow, 'gguf' | 'huggingface' | 'sources' | 'shape'>;

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
  for (const entry of rows) {
    if (checkpoint.kind === 'huggingface' && entry.made !== undefined) weights.set(entry.gguf, entry.made);
    const found = find(checkpoint, entry);
    if (found === undefined) continue;
    const name = found.names.at(-1);
    const { gguf, shape, optional } = entry;
    const { tensor } = found;
    if (tensor === undefined) {
      if (optional) continue;
      throw new IngotError('InvalidFile', `${architecture} needs the tensor ${name}, which is missing`, {
        path: checkpoint.path,
        ...(name !== undefined && { tensor: name }),
      });
    }
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i])) {
      throw new IngotError(
        'InvalidFile',
        `tensor ${name} is [${tensor.shape}], but the model's settings need [${shape}]`,
        { path: checkpoint.path, ...(name !== undefined && { tensor: name }) },
      );
    }
    for (const each of found.names) taken.add(each);
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

/** A tensor and the names of all that it is made of; without it the last name is of one that is missing. */
interface Found {
  readonly names: readonly string[];
  readonly tensor?: StoredTensor;
}

/** Undefined for what such files never have. */
function find(
  { kind, tensors }: Checkpoint,
  { gguf, huggingface, shape, view, sources }: TensorRow,
): Found | undefined {
  if (kind !== 'huggingface') return gather(tensors, [gguf], (stored) => stored);
  const inFolder = (name: string) => nameInFolder(tensors, name);
  if (sources !== undefined) {
    const known = sources.map((source) => ({ ...source, names: source.names.map(inFolder) }));
    const source = known.find(({ names }) => names.every((name) => tensors.has(name))) ?? known[0];
    return source && gather(tensors, source.names, source.view);
  }
  if (huggingface === undefined) return undefined;
  if (!huggingface.includes('*')) return gather(tensors, [inFolder(huggingface)], view ?? ((stored) => stored));
  return gather(tensors, numbered(inFolder(huggingface), shape[0] ?? 0), (...parts) => stack(parts));
}

function* numbered(pattern: string, count: number): Generator<string, void, undefined> {
  for (let i = 0; i < count; i++) yield pattern.replace('*', String(i));
}

/** Stops at the first that is missing: how many there are is what a file says. */
function gather(tensors: Checkpoint['tensors'], wanted: Iterable<string>, view: Source['view']): Found {
  const names: string[] = [];
  const parts: StoredTensor[] = [];
  for (const name of wanted) {
    names.push(name);
    const part = tensors.get(name);
    if (part === undefined) return { names };
    parts.push(part);
  }
  return { names, tensor: view(...parts) };
}

/** Folders that hold a model without its head leave out what all its names begin with ('model.', 'transformer.'). */
function nameInFolder(tensors: Checkpoint['tensors'], name: string): string {
  const bare = name.slice(name.indexOf('.') + 1);
  const has = (whole: string) => tensors.has(whole.replace('*', '0'));
  return !has(name) && has(bare) ? bare : name;
}
