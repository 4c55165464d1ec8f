/**
 * Messages on a byte stream: a length, a head of JSON, and parts of plain bytes behind it whose lengths the head tells. Memory
 * grows with what has come, not with what a length claims.
 */
import { IngotError } from '../base/errors.ts';

/** The head as it was sent. */
export type Fields = Readonly<Record<string, unknown>>;

export interface Frame {
  readonly fields: Fields;
  readonly parts: readonly Uint8Array[];
}

/** Of a frame: bytes of a step's logits, or of a program with its constants, are less. */
export const mostFrameBytes = 256 << 20;
/** Two lengths of 32 bits: of all behind them, and of the head. */
const prefixBytes = 8;

/** The pieces of a frame, to be written one after another. @throws IngotError 'InvalidArgument' for one that is too long. */
export function frameBytes(fields: Fields, parts: readonly Uint8Array[] = []): readonly Uint8Array[] {
  const head = Buffer.from(JSON.stringify({ ...fields, lengths: parts.map(({ length }) => length) }));
  const bytes = parts.reduce((sum, { length }) => sum + length, head.length);
  if (bytes > mostFrameBytes) throw new IngotError('InvalidArgument', `a message of ${bytes} bytes`);
  const first = Buffer.allocUnsafe(prefixBytes + head.length);
  first.writeUInt32LE(bytes, 0);
  first.writeUInt32LE(head.length, 4);
  head.copy(first, prefixBytes);
  return [first, ...parts];
}

/** Takes chunks of a stream and gives frames. */
export class FrameReader {
  /** Longer frames are refused. */
  limit: number;
  #chunks: Uint8Array[] = [];
  #length = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Frames that are whole with this chunk. @throws IngotError 'ParseError': nothing more can be read then. */
  *push(chunk: Uint8Array): Generator<Frame, void, undefined> {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    for (;;) {
      if (this.#length < prefixBytes) return;
      const prefix = this.#peek(prefixBytes);
      const [bytes, headBytes] = [prefix.readUInt32LE(0), prefix.readUInt32LE(4)];
      if (bytes > this.limit || headBytes > bytes) throw malformed(`a frame of ${bytes} bytes`);
      if (this.#length < prefixBytes + bytes) return;
      const all = this.#peek(prefixBytes + bytes);
      this.#chunks = [...(this.#length > all.length ? [this.#chunks[0].subarray(all.length)] : [])];
      this.#length -= all.length;
      yield decode(all.subarray(prefixBytes), headBytes);
    }
  }

  /** The first bytes in one piece, which stay. */
  #peek(bytes: number): Buffer {
    if (this.#chunks[0].length < bytes) this.#chunks = [Buffer.concat(this.#chunks)];
    const [first] = this.#chunks;
    return Buffer.from(first.buffer, first.byteOffset, bytes);
  }
}

function decode(bytes: Buffer, headBytes: number): Frame {
  let fields: unknown;
  try {
    fields = JSON.parse(bytes.toString('utf8', 0, headBytes));
  } catch (cause) {
    throw malformed('a head that is no JSON', cause);
  }
  if (typeof fields !== 'object' || fields === null) throw malformed('a head that is no object');
  const { lengths, ...rest } = fields as Fields;
  if (!Array.isArray(lengths)) throw malformed('a head without lengths');
  const parts: Uint8Array[] = [];
  let at = headBytes;
  for (const length of lengths) {
    if (!Number.isInteger(length) || length < 0 || at + length > bytes.length)
      throw malformed('lengths that do not fit');
    // Memory of its own: numbers in it are aligned.
    parts.push(new Uint8Array(bytes.subarray(at, at + length)));
    at += length;
  }
  if (at !== bytes.length) throw malformed('bytes that belong to no part');
  return { fields: rest, parts };
}

function malformed(what: string, cause?: unknown): IngotError {
  return new IngotError('ParseError', `the other end of a connection sends ${what}`, { cause });
}
