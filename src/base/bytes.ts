/**
 * Bytes that are somewhere else: a file in Node, an entry of a browser's private file system, a ranged download.
 * Nothing is mapped and nothing is read ahead; whoever wants bytes asks for a range.
 */

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
}

/** A part of a source, seen as a source of its own. */
export function sliceBytes(source: ByteSource, offset: number, length: number): ByteSource {
  return { name: source.name, length, read: (at, count) => source.read(offset + at, count) };
}

export function memoryBytes(data: Uint8Array, name = 'memory'): ByteSource {
  return {
    name,
    length: data.length,
    read: async (offset, length) => data.slice(offset, offset + length),
  };
}
