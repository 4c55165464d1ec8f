/** A stored tensor on its way into a file of another format, a slice at a time. */
import { IngotError } from '../base/errors.ts';
import type { BlockFormat, EncodableFormat } from '../numerics/quant/format.ts';
import { blockFormat, encodableFormat } from '../numerics/quant/formats.ts';
import type { StoredTensor } from './checkpoint.ts';
import { copyTensor, type TensorToWrite } from './tensor-stream.ts';

export interface Conversion {
  readonly name: string;
  /** Of the result: a row of `numerics/quant/formats.ts`, or what the tensor is stored in, whatever that is. */
  readonly format: string;
}

/** Values that are in memory at once, twice: decoded and encoded. Whole rows. */
const sliceValues = 1 << 18;
const largestF16 = 65504;

/**
 * @throws IngotError naming the tensor: 'UnsupportedFile' if its format cannot be decoded, 'InvalidArgument' if its rows
 * are not whole blocks of the new one; later, from `chunks`, 'InvalidArgument' for values past the range of f16.
 */
export function convertTensor(stored: StoredTensor, { name, format }: Conversion): TensorToWrite {
  if (format === stored.format) return { ...copyTensor(stored), name };
  const from = formatOf(stored, blockFormat, stored.format);
  const to = formatOf(stored, encodableFormat, format);
  const size = stored.shape.reduce((product, length) => product * length, 1);
  const lastDimension = stored.shape.at(-1) ?? 1;
  if (lastDimension % to.blockSize !== 0) {
    throw new IngotError(
      'InvalidArgument',
      `rows of ${lastDimension} values are not whole blocks of ${to.blockSize}, as ${to.name} has them`,
      { tensor: stored.name, hint: 'choose a type of smaller blocks, or f16' },
    );
  }
  const step = Math.max(1, Math.floor(sliceValues / lastDimension));
  return {
    name,
    format,
    shape: stored.shape,
    async *chunks() {
      const rowBytes = bytesOf(from, lastDimension);
      for (let row = 0; row < size / lastDimension; row += step) {
        const rows = Math.min(step, size / lastDimension - row);
        const bytes = await stored.bytes.read(row * rowBytes, rows * rowBytes);
        yield recode(stored, bytes, rows * lastDimension, from, to);
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
