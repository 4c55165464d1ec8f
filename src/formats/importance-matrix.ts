/**
 * Importance matrices: how much each column of each weight matters, as llama.cpp's `imatrix` measures it. Its GGUF files have
 * two tensors for a weight, sums of squared activations and counts; its older files (.dat) are a list of names, numbers of
 * calls and sums, after `common/imatrix-loader.cpp`.
 */
import type { ByteSource } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';
import type { StoredTensor } from './checkpoint.ts';
import { readGguf } from './gguf.ts';

/** By the GGUF name of the weight; of a stack of matrices, one after another. */
export type ImportanceMatrix = ReadonlyMap<string, Float32Array>;

const sumsEnding = '.in_sum2';
/** More than any model has of columns, times experts. */
const maxBytes = 1 << 28;

/** @throws IngotError 'InvalidFile' for what is no importance matrix, or holds values that are no finite numbers. */
export async function readImportanceMatrix(source: ByteSource): Promise<ImportanceMatrix> {
  const head = await source.read(0, Math.min(4, source.length));
  const matrix = String.fromCharCode(...head) === 'GGUF' ? await readNew(source) : await readOld(source);
  if (matrix.size === 0) throw refusal(source, 'it has no entries');
  for (const [name, weights] of matrix) {
    if (!weights.every((weight) => Number.isFinite(weight))) throw refusal(source, `values of ${name} are not finite`);
  }
  return matrix;
}

function refusal(source: ByteSource, why: string): IngotError {
  return new IngotError('InvalidFile', `${source.name} is no importance matrix: ${why}`, {
    path: source.name,
    hint: "make one with llama.cpp's llama-imatrix",
  });
}

async function readNew(source: ByteSource): Promise<ImportanceMatrix> {
  const { tensors } = await readGguf(source);
  const matrix = new Map<string, Float32Array>();
  for (const [name, sums] of tensors) {
    if (!name.endsWith(sumsEnding)) continue;
    const weight = name.slice(0, -sumsEnding.length);
    const counts = tensors.get(`${weight}.counts`);
    if (counts === undefined) throw refusal(source, `there are no counts for ${weight}`);
    matrix.set(weight, averages(await floatsOf(source, sums), await floatsOf(source, counts)));
  }
  return matrix;
}

async function floatsOf(source: ByteSource, { name, format, bytes }: StoredTensor): Promise<Float32Array> {
  if (format !== 'f32' || bytes.length > maxBytes) throw refusal(source, `${name} is not a list of f32`);
  return new Float32Array((await bytes.read(0, bytes.length)).buffer);
}

/** An expert that nothing passed through has no preference. */
function averages(sums: Float32Array, counts: Float32Array): Float32Array {
  const columns = sums.length / counts.length;
  return sums.map((sum, i) => {
    const count = counts[Math.floor(i / columns)] ?? 0;
    return count > 0 ? sum / count : 1;
  });
}

async function readOld(source: ByteSource): Promise<ImportanceMatrix> {
  if (source.length > maxBytes * 4) throw refusal(source, 'it is too long');
  const bytes = await source.read(0, source.length);
  const view = new DataView(bytes.buffer);
  const text = new TextDecoder();
  let at = 0;
  const take = (length: number): number => {
    if (length < 0 || at + length > bytes.length) throw refusal(source, 'it ends too early, or is something else');
    at += length;
    return at - length;
  };
  const integer = () => view.getInt32(take(4), true);
  const matrix = new Map<string, Float32Array>();
  for (let entries = integer(); entries > 0; entries--) {
    const length = integer();
    const start = take(length);
    const calls = integer();
    const count = integer();
    const from = take(4 * count);
    const sums = new Float32Array(bytes.slice(from, at).buffer);
    matrix.set(text.decode(bytes.subarray(start, start + length)), calls > 0 ? sums.map((sum) => sum / calls) : sums);
  }
  return matrix;
}
