/** A stored tensor on its way into a file of another format, a slice at a time. */
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
  /** How much each column matters; of a stack of matrices, one after another. */
  readonly importance?: Float32Array;
  /** Where slices are recoded; this thread if it is left out. */
  readonly recoder?: Recoder;
}

/** Values of one slice, which is whole rows. */
const sliceValues = 1 << 16;

/**
 * @throws IngotError naming the tensor: 'UnsupportedFile' if its format cannot be decoded or the new one not encoded,
 * 'InvalidArgument' if its rows are not whole blocks of the new one, or have another number of columns than `importance`;
 * later, from `chunks`, 'InvalidArgument' for values that the new format cannot hold.
 */
export function convertTensor(stored: StoredTensor, conversion: Conversion): TensorToWrite {
  const { name, format, importance, recoder = inline } = conversion;
  if (format === stored.format) return { ...copyTensor(stored), name };
  const from = named(stored, () => blockFormat(stored.format));
  named(stored, () => checkEncodable(stored, format, importance));
  const size = stored.shape.reduce((product, length) => product * length, 1);
  const columns = stored.shape.at(-1) ?? 1;
  const rows = size / columns;
  const rowsOfMatrix = importance === undefined ? rows : rows / (importance.length / columns);
  const step = Math.max(1, Math.floor(sliceValues / columns));
  const rowBytes = bytesOf(from, columns);

  const recodeRows = async (row: number, count: number): Promise<Uint8Array> => {
    const bytes = await stored.bytes.read(row * rowBytes, count * rowBytes);
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
