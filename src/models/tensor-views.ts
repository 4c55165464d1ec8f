/** Stored tensors seen as others, made when they are read: what lies between Hugging Face's tensors and GGUF's. */
import { type ByteSource, checkRange, joinBytes, sliceBytes } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';
import type { StoredTensor } from '../formats/checkpoint.ts';
import { blockFormat } from '../numerics/quant/formats.ts';

/** Bytes that come in units; what a read in order left of a unit serves the next one. */
export function inUnits(
  name: string,
  length: number,
  unitBytes: number,
  readUnit: (start: number) => Promise<Uint8Array>,
): ByteSource {
  let held: { readonly start: number; readonly unit: Promise<Uint8Array> } | undefined;
  const source: ByteSource = {
    name,
    length,
    async read(offset, count) {
      checkRange(source, offset, count);
      const result = new Uint8Array(count);
      const end = offset + count;
      for (let start = offset - (offset % unitBytes); start < end; start += unitBytes) {
        const unit = held?.start === start ? held.unit : readUnit(start);
        held = start + unitBytes > end ? { start, unit } : undefined;
        const from = Math.max(0, offset - start);
        result.set((await unit).subarray(from, end - start), start + from - offset);
      }
      return result;
    },
  };
  return source;
}

/** Rows that change places are read together up to so many bytes, beyond that run by run. */
const bulkBytes = 4 << 20;

/**
 * The rows in another order: in each group of a * b * run of them, [a, b, run] becomes [b, a, run]. Entries of vectors
 * move as the rows of their matrix do.
 */
export function reorderRows(stored: StoredTensor, [a, b, run]: readonly [number, number, number]): StoredTensor {
  const { bytes: source, shape } = stored;
  const runBytes = run * (source.length / (shape[0] ?? 1));
  const groupBytes = a * b * runBytes;
  const sourceRun = (index: number) => (index % a) * b + Math.floor(index / a);
  const readGroup = async (start: number) => {
    const bytes = await source.read(start, groupBytes);
    const moved = new Uint8Array(groupBytes);
    for (let i = 0; i < a * b; i++) {
      const from = sourceRun(i) * runBytes;
      moved.set(bytes.subarray(from, from + runBytes), i * runBytes);
    }
    return moved;
  };
  const readRun = (start: number) => {
    const group = start - (start % groupBytes);
    return source.read(group + sourceRun((start - group) / runBytes) * runBytes, runBytes);
  };
  const bytes =
    groupBytes <= bulkBytes
      ? inUnits(source.name, source.length, groupBytes, readGroup)
      : inUnits(source.name, source.length, runBytes, readRun);
  return { ...stored, bytes };
}

/**
 * Rows that are heads of `headDim`, from rotary pairs (i, i + half) to (2i, 2i + 1): as llama.cpp's converter permutes
 * queries and keys of architectures whose GGUF files interleave them.
 */
export function interleaveHeads(headDim: number): (stored: StoredTensor) => StoredTensor {
  return (stored) => reorderRows(stored, [2, headDim / 2, 1]);
}

/** Without its first rows. */
export function skipRows(skipped: number): (stored: StoredTensor) => StoredTensor {
  return (stored) => {
    const [rows, ...rest] = stored.shape;
    if (skipped === 0 || rows === undefined || rows < skipped) return stored;
    const start = skipped * (stored.bytes.length / rows);
    const bytes = sliceBytes(stored.bytes, start, stored.bytes.length - start);
    return { ...stored, shape: [rows - skipped, ...rest], bytes };
  };
}

/** The weight of a norm that is stored less one, in f32. */
export function plusOne(stored: StoredTensor): StoredTensor {
  const { bytes: source, format, shape } = stored;
  const length = 4 * shape.reduce((product, size) => product * size, 1);
  const read = async () => {
    const values = new Float32Array(length / 4);
    blockFormat(format).decode(await source.read(0, source.length), values);
    return new Uint8Array(values.map((value) => 1 + value).buffer);
  };
  return { ...stored, format: 'f32', bytes: inUnits(source.name, length, length, read) };
}

/**
 * [K, N] as [N, K], which matrix products take: GPT-2's folders have their matrices the other way round. Vectors stay.
 * The matrix is in memory as a whole until the last of it is read.
 * @throws IngotError 'UnsupportedFile' for weights in blocks, whose values lie together along a row.
 */
export function transposed(stored: StoredTensor): StoredTensor {
  const { bytes: source, format, name, shape } = stored;
  const [columns, rows] = shape;
  if (columns === undefined || rows === undefined) return stored;
  const { blockSize, blockBytes } = blockFormat(format);
  if (blockSize !== 1) {
    throw new IngotError('UnsupportedFile', `weights of format ${format} cannot be transposed`, { tensor: name });
  }
  const read = async () => {
    const bytes = await source.read(0, source.length);
    const turned = new Uint8Array(bytes.length);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const from = (column * rows + row) * blockBytes;
        const to = (row * columns + column) * blockBytes;
        for (let i = 0; i < blockBytes; i++) turned[to + i] = bytes[from + i];
      }
    }
    return turned;
  };
  return { ...stored, shape: [rows, columns], bytes: inUnits(source.name, source.length, source.length, read) };
}

/** Tensors of one shape and format as one of a dimension more. @throws IngotError 'InvalidFile' where they differ. */
export function stack(parts: readonly StoredTensor[]): StoredTensor {
  const [{ name, format, shape, bytes }] = parts;
  const other = parts.find((part) => part.format !== format || part.shape.join() !== shape.join());
  if (other !== undefined) {
    const message = `tensor ${other.name} is [${other.shape}] of ${other.format}, but ${name} is [${shape}] of ${format}`;
    throw new IngotError('InvalidFile', message, { path: bytes.name, tensor: other.name });
  }
  return { name, format, shape: [parts.length, ...shape], bytes: joinBytes(parts.map((part) => part.bytes)) };
}
