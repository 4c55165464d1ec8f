/**
 * Bytes that are somewhere else: a file in Node, an entry of a browser's private file system, a ranged download.
 * Nothing is mapped and nothing is read ahead; whoever wants bytes asks for a range.
 */
import { IngotError } from './errors.ts';

export interface ByteSource {
  /** For messages: a path, a URL, 'memory'. */
  readonly name: string;
  /** Total bytes. */
  readonly length: number;
  /**
   * Exactly `length` bytes from `offset`; the result is the caller's own.
   * @throws IngotError 'InvalidFile' if the range lies outside, 'FileChanged' if the source shrank or vanished meanwhile.
   */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** The same into memory that is there already, where the source can. */
  readInto?(target: Uint8Array, offset: number): Promise<void>;
  /** Of a whole file: tells what it holds from what it held before, or will. */
  readonly version?: string;
  /** Where the bytes lie in a file that is open, for native code that reads it. */
  readonly file?: FileRange;
}

/** A part of an open file. */
export interface FileRange {
  /** As the system numbers it. */
  readonly descriptor: number;
  readonly offset: number;
  /** From the beginning of a row of the source to that of the next one in the file; all bytes lie one after another if absent. */
  readonly stride?: number;
  /**
   * After bytes of the source were read, `offset` as of the source: were they what they were when it was opened?
   * @throws IngotError 'FileChanged', 'FileAccess'.
   */
  check(offset: number, length: number): Promise<void>;
}

/** Fills `target` from `offset` of the source. */
export async function readInto(source: ByteSource, target: Uint8Array, offset: number): Promise<void> {
  if (source.readInto !== undefined) await source.readInto(target, offset);
  else target.set(await source.read(offset, target.length));
}

/** @throws IngotError 'InvalidFile' unless `offset` and `length` are a range of the source's bytes. */
export function checkRange(source: Pick<ByteSource, 'name' | 'length'>, offset: number, length: number): void {
  if (Number.isSafeInteger(offset) && Number.isSafeInteger(length)) {
    if (offset >= 0 && length >= 0 && offset + length <= source.length) return;
  }
  const message = `${length} bytes at ${offset} lie outside the ${source.length} bytes there are`;
  throw new IngotError('InvalidFile', message, { path: source.name, offset });
}

/** A part of a source, seen as a source of its own. */
export function sliceBytes(source: ByteSource, offset: number, length: number): ByteSource {
  const { file } = source;
  const slice: ByteSource = {
    name: source.name,
    length,
    // Where rows lie apart a part of them may be no rows.
    ...(file?.stride === undefined &&
      file && {
        file: {
          descriptor: file.descriptor,
          offset: file.offset + offset,
          check: (at, count) => file.check(offset + at, count),
        },
      }),
    read: async (at, count) => {
      checkRange(slice, at, count);
      return source.read(offset + at, count);
    },
    readInto: async (target, at) => {
      checkRange(slice, at, target.length);
      await readInto(source, target, offset + at);
    },
  };
  return slice;
}

/** Sources of equal length, one after another. */
export function joinBytes(parts: readonly ByteSource[]): ByteSource {
  const [{ name, length: step }] = parts;
  const joined: ByteSource = {
    name,
    length: parts.length * step,
    async read(offset, length) {
      const result = new Uint8Array(length);
      await joined.readInto?.(result, offset);
      return result;
    },
    async readInto(target, offset) {
      checkRange(joined, offset, target.length);
      for (let done = 0; done < target.length; ) {
        const at = (offset + done) % step;
        const count = Math.min(step - at, target.length - done);
        const part = parts[Math.floor((offset + done) / step)] ?? parts[0];
        await readInto(part, target.subarray(done, done + count), at);
        done += count;
      }
    },
  };
  return joined;
}

export function memoryBytes(data: Uint8Array, name = 'memory'): ByteSource {
  const source: ByteSource = {
    name,
    length: data.length,
    read: async (offset, length) => {
      checkRange(source, offset, length);
      // A plain `slice` of a Buffer would be a view of the caller's memory.
      return new Uint8Array(data.subarray(offset, offset + length));
    },
  };
  return source;
}
