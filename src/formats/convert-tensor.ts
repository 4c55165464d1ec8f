/** A stored tensor on its way into a file of another format: other blocks, other order of rows, a slice at a time. */
import { IngotError } from '../base/errors.ts';
import type { BlockFormat } from '../numerics/quant/format.ts';
import { blockFormat, encodableFormat } from '../numerics/quant/formats.ts';
import type { StoredTensor } from './checkpoint.ts';
import { inline, type Recoder } from './recode.ts';
import { copyTensor, type TensorToWrite } from './tensor-stream.ts';

export interface Conversion {
  readonly name: string;
  /** Of the result: a row of `numerics/quant/formats.ts`, or what the tensor is stored in, whatever that is. */
  readonly format: string;
  /**
   * Rows are heads of this many dimensions; from rotary pairs (i, i + half) to (2i, 2i + 1). As llama.cpp's
   * `convert_hf_to_gguf` permutes queries and keys.
   */
  readonly interleaveHeads?: number;
  /** How much each column matters; of a stack of matrices, one after another. */
  readonly importance?: Float32Array;
  /** Where slices are recoded; this thread if it is left out. */
  readonly recoder?: Recoder;
}

/** Values of one slice. Whole rows, and whole heads where those move. */
const sliceValues = 1 << 17;

/**
 * @throws IngotError naming the tensor: 'UnsupportedFile' if its format cannot be decoded or the new one not encoded,
 * 'InvalidArgument' if its rows are not whole blocks of the new one, or have another number of columns than `importance`;
 * later, from `chunks`, 'InvalidArgument' for values that the new format cannot hold.
 */
export function convertTensor(stored: StoredTensor, conversion: Conversion): TensorToWrite {
  const { name, format, interleaveHeads, importance, recoder = inline } = conversion;
  if (format === stored.format && interleaveHeads === undefined) return { ...copyTensor(stored), name };
  const from = named(stored, () => blockFormat(stored.format));
  if (format !== stored.format) named(stored, () => checkEncodable(stored, format, importance));
  const size = stored.shape.reduce((product, length) => product * length, 1);
  const lastDimension = stored.shape.at(-1) ?? 1;
  // The entries of a bias move as the rows of its matrix do.
  const columns = stored.shape.length === 1 && interleaveHeads !== undefined ? 1 : lastDimension;
  const rows = size / columns;
  const rowsOfMatrix = importance === undefined ? rows : rows / (importance.length / columns);
  const step = interleaveHeads ?? Math.max(1, Math.floor(sliceValues / columns));
  const rowBytes = bytesOf(from, columns);

  const recodeRows = async (row: number, count: number): Promise<Uint8Array> => {
    const read = await stored.bytes.read(row * rowBytes, count * rowBytes);
    const bytes = interleaveHeads === undefined ? read : interleave(read, rowBytes);
    if (format === stored.format) return bytes;
    const matrix = Math.floor(row / rowsOfMatrix);
    const weights = importance?.subarray(matrix * columns, (matrix + 1) * columns);
    const task = { bytes, from: stored.format, to: format, ...(weights !== undefined && { importance: weights }) };
    try {
      return await recoder.recode(task);
    } catch (error) {
      throw placed(stored, error);
    }
  };
  return {
    name,
    format,
    shape: stored.shape,
    async *chunks() {
      const pending: Promise<Uint8Array>[] = [];
      for (let row = 0; row < rows; ) {
        const count = Math.min(step, rowsOfMatrix - (row % rowsOfMatrix));
        const slice = recodeRows(row, count);
        // If it fails before its turn, that is told when its turn comes.
        slice.catch(() => {});
        pending.push(slice);
        row += count;
        const first = pending.length > recoder.ahead ? pending.shift() : undefined;
        if (first !== undefined) yield await first;
      }
      for (const slice of pending) yield await slice;
    },
  };
}

function checkEncodable(stored: StoredTensor, format: string, importance: Float32Array | undefined): void {
  const { blockSize } = encodableFormat(format);
  const columns = stored.shape.at(-1) ?? 1;
  if (columns % blockSize !== 0) {
    throw new IngotError(
      'InvalidArgument',
      `rows of ${columns} values are not whole blocks of ${blockSize}, as ${format} has them`,
      { hint: 'choose a type of smaller blocks, or f16' },
    );
  }
  const matrices = stored.shape.slice(0, -2).reduce((product, length) => product * length, 1);
  if (importance !== undefined && importance.length !== columns * matrices) {
    throw new IngotError(
      'InvalidArgument',
      `the importance matrix has ${importance.length} columns for it, and it has ${columns * matrices}`,
      { hint: 'use an importance matrix of this model' },
    );
  }
}

/** What `ask` gives; what it throws, with the name of the tensor. */
function named<T>(stored: StoredTensor, ask: () => T): T {
  try {
    return ask();
  } catch (error) {
    throw placed(stored, error);
  }
}

function placed(stored: StoredTensor, error: unknown): unknown {
  if (!(error instanceof IngotError) || error.place.tensor !== undefined) return error;
  const { code, message, place, hint } = error;
  return new IngotError(code, message, { ...place, tensor: stored.name, ...(hint !== undefined && { hint }) });
}

function bytesOf(format: BlockFormat, values: number): number {
  return (values / format.blockSize) * format.blockBytes;
}

/** One head: rows 0 to n/2 and n/2 to n take turns. */
function interleave(bytes: Uint8Array, rowBytes: number): Uint8Array {
  const result = new Uint8Array(bytes.length);
  const half = bytes.length / rowBytes / 2;
  for (let i = 0; i < half; i++) {
    result.set(bytes.subarray(i * rowBytes, (i + 1) * rowBytes), 2 * i * rowBytes);
    result.set(bytes.subarray((half + i) * rowBytes, (half + i + 1) * rowBytes), (2 * i + 1) * rowBytes);
  }
  return result;
}
