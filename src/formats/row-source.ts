/** Bytes that are made when they are asked for, whole rows at a time. */
import { type ByteSource, checkRange } from '../base/bytes.ts';

/** `make`: fills `target`, which begins at a multiple of four bytes, with `count` rows from `first` on. */
export function rowSource(
  name: string,
  rows: number,
  rowBytes: number,
  make: (target: Uint8Array, first: number, count: number) => Promise<void>,
): ByteSource {
  const source: ByteSource = {
    name,
    length: rows * rowBytes,
    async read(offset, length) {
      checkRange(source, offset, length);
      if (length === 0) return new Uint8Array();
      const first = Math.floor(offset / rowBytes);
      const end = Math.ceil((offset + length) / rowBytes);
      const made = new Uint8Array((end - first) * rowBytes);
      await make(made, first, end - first);
      const from = offset - first * rowBytes;
      return made.length === length ? made : made.slice(from, from + length);
    },
    async readInto(target, offset) {
      checkRange(source, offset, target.length);
      const isWhole = offset % rowBytes === 0 && target.length % rowBytes === 0 && target.byteOffset % 4 === 0;
      if (!isWhole) target.set(await source.read(offset, target.length));
      else if (target.length > 0) await make(target, offset / rowBytes, target.length / rowBytes);
    },
  };
  return source;
}
