/**
 * Reads little-endian fields one after the other from a byte source, by way of a window that moves ahead: few large
 * reads however small the fields, and never more memory than the window plus the field asked for. Every field is
 * checked against the end before anything is allocated for it.
 */
import { type ByteSource, readInto } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';
import { decodeUtf8, StringList } from '../base/string-list.ts';

const windowBytes = 1 << 20;

// The byte order mark is a real token of some vocabularies: it must not be swallowed.
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class WindowedReader {
  readonly #source: ByteSource;
  readonly #end: number;
  readonly #limit: number;
  /** Offset of the window in the source, and of the next field in the window. */
  #start = 0;
  #at = 0;
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  /** For one window after another. */
  #room: Uint8Array<ArrayBuffer> = this.#bytes;

  /** Fields beyond `limit` bytes are refused, so that a lying header cannot fill the memory from a huge file. */
  constructor(source: ByteSource, limit: number) {
    this.#source = source;
    this.#limit = limit;
    this.#end = Math.min(source.length, limit);
  }

  /** Offset of the next field in the source. */
  get offset(): number {
    return this.#start + this.#at;
  }

  /** Bytes that may still be asked for. */
  get remaining(): number {
    return this.#end - this.offset;
  }

  fail(message: string, offset = this.offset, tensor?: string): never {
    throw new IngotError('InvalidFile', message, {
      path: this.#source.name,
      offset,
      ...(tensor === undefined ? {} : { tensor }),
      hint: 'the file is damaged or incomplete; download or convert it again',
    });
  }

  /** Whether `length` bytes can be taken without waiting. */
  holds(length: number): boolean {
    return this.#at + length <= this.#bytes.length;
  }

  /** Makes the next `length` bytes available to the readers below. `what` is for the message. */
  async need(length: number, what: string): Promise<void> {
    if (this.holds(length)) return;
    if (length > this.remaining) {
      const end =
        this.#end < this.#source.length ? `the limit of ${this.#limit} bytes for a header` : 'the end of the file';
      this.fail(`${what} needs ${length} bytes and lies past ${end} (${this.remaining} are left)`);
    }
    this.#start += this.#at;
    this.#at = 0;
    // Empty while the read is under way: should it fail, no stale bytes are taken for new ones.
    this.#bytes = new Uint8Array(0);
    const size = Math.min(Math.max(length, windowBytes), this.remaining);
    if (this.#room.length < size) this.#room = new Uint8Array(size);
    const window = this.#room.subarray(0, size);
    await readInto(this.#source, window, this.#start);
    this.#bytes = window;
    this.#view = new DataView(window.buffer, 0, size);
  }

  // The readers below take bytes that `need` or `holds` has promised.

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }
  i8(): number {
    return this.#view.getInt8(this.#advance(1));
  }
  u16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }
  i16(): number {
    return this.#view.getInt16(this.#advance(2), true);
  }
  u32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }
  i32(): number {
    return this.#view.getInt32(this.#advance(4), true);
  }
  u64(): bigint {
    return this.#view.getBigUint64(this.#advance(8), true);
  }
  i64(): bigint {
    return this.#view.getBigInt64(this.#advance(8), true);
  }
  f32(): number {
    return this.#view.getFloat32(this.#advance(4), true);
  }
  f64(): number {
    return this.#view.getFloat64(this.#advance(8), true);
  }

  /** A u64 that counts something of which each takes at least `unit` bytes of what is left. */
  count(unit: number, what: string): number {
    const low = this.u32();
    const count = this.u32() * 2 ** 32 + low;
    if (count * unit > this.remaining) {
      this.fail(`${what} is ${count}, more than the remaining ${this.remaining} bytes can hold`, this.offset - 8);
    }
    return count;
  }

  /** A copy of the next bytes, with a buffer of its own. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const at = this.#advance(length);
    return this.#bytes.slice(at, at + length);
  }

  /** The next bytes as UTF-8; in a lossy text U+FFFD stands for what is not. */
  text(length: number, mode: 'strict' | 'lossy', what: string): string {
    const start = this.offset;
    const at = this.#advance(length);
    if (mode === 'lossy') return decodeUtf8(this.#bytes, at, at + length);
    try {
      return strictUtf8.decode(this.#bytes.subarray(at, at + length));
    } catch {
      return this.fail(`${what} is not valid UTF-8`, start);
    }
  }

  /** The next `count` strings, each behind its length as a u64. */
  async strings(count: number, what: string): Promise<StringList> {
    const ends = new Uint32Array(count);
    let bytes = new Uint8Array(Math.min(16 * count, this.remaining));
    const lengthOfOne = `the length of a string in ${what}`;
    for (let i = 0, size = 0; i < count; ) {
      // Waiting once a string would cost more than copying it: as long as the window lasts there is none.
      const taken = this.#takeStrings(ends, i, bytes, size);
      i += taken;
      if (taken > 0) size = ends[i - 1] ?? 0;
      if (i === count) return new StringList(bytes.slice(0, size), ends);
      await this.need(8, what);
      const length = this.count(1, lengthOfOne);
      this.#at -= 8;
      await this.need(8 + length, what);
      if (size + length > bytes.length) {
        const larger = new Uint8Array(2 * (size + length));
        larger.set(bytes.subarray(0, size));
        bytes = larger;
      }
    }
    return new StringList(bytes.slice(0, 0), ends);
  }

  /** Strings from number `first` on to `target` from `size` on, as long as the window has them whole and `target` has room; how many. */
  #takeStrings(ends: Uint32Array, first: number, target: Uint8Array, size: number): number {
    const [bytes, view] = [this.#bytes, this.#view];
    let at = this.#at;
    let i = first;
    for (let end = size; i < ends.length && at + 8 <= bytes.length; i++) {
      const length = view.getUint32(at, true);
      const long = length > bytes.length - at - 8 || length > target.length - end;
      if (long || view.getUint32(at + 4, true) !== 0) break;
      at += 8;
      for (const stop = at + length; at < stop; ) target[end++] = bytes[at++] ?? 0;
      ends[i] = end;
    }
    this.#at = at;
    return i - first;
  }

  #advance(length: number): number {
    const at = this.#at;
    this.#at += length;
    return at;
  }
}
