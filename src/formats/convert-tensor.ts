/** A stored tensor on its way into a file of another format: other blocks, other order of rows, a slice at a time. */
import { IngotError } from '../base/errors.ts';
import type { BlockFormat, EncodableFormat } from '../numerics/quant/format.ts';
import { blockFormat, encodableFormat } from '../numerics/quant/formats.ts';
import type { StoredTensor } from './checkpoint.ts';
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
}

/** Values that are in memory at once, twice: decoded and encoded. Whole rows, and whole heads where those move. */
const sliceValues = 1 << 18;
const largestF16 = 65504;

/**
 * @throws IngotError naming the tensor: 'UnsupportedFile' if its format cannot be decoded, 'InvalidArgument' if its rows
 * are not whole blocks of the new one; later, from `chunks`, 'InvalidArgument' for values past the range of f16.
 */
export function convertTensor(stored: StoredTensor, { name, format, interleaveHeads }: Conversion): TensorToWrite {
  if (format === stored.format && interleaveHeads === undefined) return { ...copyTensor(stored), name };
  const from = formatOf(stored, blockFormat, stored.format);
  const to = format === stored.format ? undefined : formatOf(stored, encodableFormat, format);
  const size = stored.shape.reduce((product, length) => product * length, 1);
  const lastDimension = stored.shape.at(-1) ?? 1;
  if (to !== undefined && lastDimension % to.blockSize !== 0) {
    throw new IngotError(
      'InvalidArgument',
      `rows of ${lastDimension} values are not whole blocks of ${to.blockSize}, as ${to.name} has them`,
      { tensor: stored.name, hint: 'choose a type of smaller blocks, or f16' },
    );
  }
  // The entries of a bias move as the rows of its matrix do.
  const columns = stored.shape.length === 1 && interleaveHeads !== undefined ? 1 : lastDimension;
  const step = interleaveHeads ?? Math.max(1, Math.floor(sliceValues / columns));
  return {
    name,
    format,
    shape: stored.shape,
    async *chunks() {
      const rowBytes = bytesOf(from, columns);
      for (let row = 0; row < size / columns; row += step) {
        const rows = Math.min(step, size / columns - row);
        const read = await stored.bytes.read(row * rowBytes, rows * rowBytes);
        const bytes = interleaveHeads === undefined ? read : interleave(read, rowBytes);
        yield to === undefined ? bytes : recode(stored, bytes, rows * columns, from, to);
      }
    },
  };
}

/** What the table has under the name; its refusal with the name of the tensor. */
function formatOf<F>(stored: StoredTensor, table: (name: string) => F, name: string): F {
  try {
    return table(name);
  } catch (error) {
    if (!(error instanceof IngotError)) throw error;
    const { code, message, place, hint } = error;
    throw new IngotError(code, message, { ...place, tensor: stored.name, ...(hint !== undefined && { hint }) });
  }
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

function recode(
  stored: StoredTensor,
  bytes: Uint8Array,
  count: number,
  from: BlockFormat,
  to: EncodableFormat,
): Uint8Array {
  const values = new Float32Array(count);
  from.decode(bytes, values);
  if (to.name === 'f16' && values.some((value) => Math.abs(value) > largestF16)) {
    throw new IngotError('InvalidArgument', 'its values pass the range of f16', {
      tensor: stored.name,
      hint: 'choose bf16',
    });
  }
  const encoded = new Uint8Array(bytesOf(to, count));
  to.encode(values, encoded);
  return encoded;
}
