/** Stored tensors seen as others, read when they are read: what lies between Hugging Face's tensors and GGUF's. */
import { type ByteSource, checkRange, joinBytes } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';
import type { StoredTensor } from '../formats/checkpoint.ts';

/** Rows that change places are read together up to so many bytes, beyond that run by run. */
const bulkBytes = 4 << 20;

/**
 * The rows in another order: in each group of a * b * run of them, [a, b, run] becomes [b, a, run]. Entries of vectors
 * move as the rows of their matrix do.
 */
function reorderRows(stored: StoredTensor, [a, b, run]: readonly [number, number, number]): StoredTensor {
  const { bytes: source, shape } = stored;
  const rowBytes = source.length / (shape[0] ?? 1);
  const runBytes = run * rowBytes;
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
  // Units that one read gives, in the new order.
  const unitBytes = groupBytes <= bulkBytes ? groupBytes : runBytes;
  const readUnit = (start: number) => {
    if (unitBytes === groupBytes) return readGroup(start);
    const group = Math.floor(start / groupBytes) * groupBytes;
    return source.read(group + sourceRun((start - group) / runBytes) * runBytes, runBytes);
  };
  // What a read in order left of a unit serves the next one.
  let held: { readonly start: number; readonly unit: Promise<Uint8Array> } | undefined;
  const unitAt = (start: number) => (held?.start === start ? held.unit : readUnit(start));
  const bytes: ByteSource = {
    name: source.name,
    length: source.length,
    async read(offset, length) {
      checkRange(source, offset, length);
      const result = new Uint8Array(length);
      const end = offset + length;
      for (let start = offset - (offset % unitBytes); start < end; start += unitBytes) {
        const unit = unitAt(start);
        held = start + unitBytes > end ? { start, unit } : undefined;
        const from = Math.max(0, offset - start);
        result.set((await unit).subarray(from, end - start), start + from - offset);
      }
      return result;
    },
  };
  return { ...stored, bytes };
}

/**
 * Rows that are heads of `headDim`, from rotary pairs (i, i + half) to (2i, 2i + 1): as llama.cpp's converter permutes
 * queries and keys of architectures whose GGUF files interleave them.
 */
export function interleaveHeads(headDim: number): (stored: StoredTensor) => StoredTensor {
  return (stored) => reorderRows(stored, [2, headDim / 2, 1]);
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
