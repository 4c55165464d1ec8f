/** Bytes that are made when they are asked for, whole rows at a time. */
import { type ByteSource, checkRange } from '../base/bytes.ts';

/** `make`: the bytes of `count` rows from `first` on. */
export function rowSource(
  name: string,
  rows: number,
  rowBytes: number,
  make: (first: number, count: number) => Promise<Uint8Array<ArrayBuffer>>,
): ByteSource {
  const source: ByteSource = {
    name,
    length: rows * rowBytes,
    async read(offset, length) {
      checkRange(source, offset, length);
      if (length === 0) return new Uint8Array();
      const first = Math.floor(offset / rowBytes);
      const end = Math.ceil((offset + length) / rowBytes);
      const made = await make(first, end - first);
      const from = offset - first * rowBytes;
      return made.length === length ? made : made.slice(from, from + length);
    },
  };
  return source;
}
