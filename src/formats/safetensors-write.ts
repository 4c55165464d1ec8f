/** Writes safetensors as the reference implementation lays it out: header padded with spaces to 8 bytes, no holes. */
import { IngotError } from '../base/errors.ts';
import { safetensorsBits } from './safetensors.ts';
import { type FileLayout, streamTensor, type TensorToWrite } from './tensor-stream.ts';

/** @throws IngotError 'InvalidArgument' for formats that safetensors does not have. */
export function layoutSafetensors(
  tensors: readonly TensorToWrite[],
  metadata: ReadonlyMap<string, string> = new Map(),
): FileLayout {
  const entries: [string, unknown][] = metadata.size > 0 ? [['__metadata__', Object.fromEntries(metadata)]] : [];
  const names = new Set(['__metadata__']);
  const lengths: number[] = [];
  let offset = 0;
  for (const { name, format, shape } of tensors) {
    if (names.has(name)) throw new IngotError('InvalidArgument', 'the name is taken', { tensor: name });
    names.add(name);
    const dtype = format.toUpperCase();
    const bits = format === dtype.toLowerCase() ? safetensorsBits[dtype] : undefined;
    const length = (shape.reduce((product, size) => product * size, 1) * (bits ?? 0)) / 8;
    if (bits === undefined || !Number.isSafeInteger(length)) {
      throw new IngotError('InvalidArgument', `safetensors cannot hold [${shape.join(', ')}] of ${format}`, {
        tensor: name,
      });
    }
    entries.push([name, { dtype, shape, data_offsets: [offset, offset + length] }]);
    offset += length;
    lengths.push(length);
  }
  const json = JSON.stringify(Object.fromEntries(entries));
  const text = new TextEncoder().encode(json);
  const headerBytes = Math.ceil(text.length / 8) * 8;
  const header = new Uint8Array(8 + headerBytes).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(headerBytes), true);
  header.set(text, 8);
  return {
    length: header.length + offset,
    async writeTo(sink, signal) {
      await sink.write(header);
      for (const [i, tensor] of tensors.entries()) await streamTensor(tensor, lengths[i] ?? 0, sink, signal);
    },
  };
}
