/** Parts of a stored tensor as a tensor of its own, read from where they lie: what one rank of several holds of a weight. */
import { type ByteSource, checkRange, type FileRange, readInto, sliceBytes } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';
import { blockFormat } from '../numerics/quant/formats.ts';
import type { StoredTensor } from './checkpoint.ts';

interface Range {
  readonly start: number;
  readonly limit: number;
}

/** Runs with less than this between them are read together: the system reads ahead as much in any case. */
const gapBytes = 64 << 10;
/** Read at once at most, of runs that lie close to each other. */
const bulkBytes = 4 << 20;

const sizeOf = (ranges: readonly Range[]) => ranges.reduce((sum, { start, limit }) => sum + limit - start, 0);

/**
 * For each dimension the ranges that are taken of it, undefined for all of it.
 * @throws IngotError 'InvalidArgument' for ranges that cut a block of the format.
 */
export function sliceTensor(stored: StoredTensor, ranges: readonly (readonly Range[] | undefined)[]): StoredTensor {
  const { name, format, shape } = stored;
  const last = ranges.findLastIndex((each) => each !== undefined);
  if (last < 0) return stored;
  const { blockSize, blockBytes } = blockFormat(format);
  const inBlocks = ({ start, limit }: Range): Range => {
    if (start % blockSize !== 0 || limit % blockSize !== 0) {
      throw new IngotError('InvalidArgument', `${start}..${limit} cuts a block of ${format}`, { tensor: name });
    }
    return { start: start / blockSize, limit: limit / blockSize };
  };
  // Of blocks instead of elements.
  const isLast = (d: number) => d === shape.length - 1;
  const sizes = shape.map((size, d) => (isLast(d) ? size / blockSize : size));
  const taken = sizes.map((size, d): readonly Range[] => {
    const own = ranges[d] ?? [{ start: 0, limit: shape[d] }];
    return ranges[d] === undefined ? [{ start: 0, limit: size }] : isLast(d) ? own.map(inBlocks) : own;
  });
  const innerBytes = sizes.slice(last + 1).reduce((a, b) => a * b, blockBytes);
  const runs = taken[last].map(({ start, limit }) => ({ start: start * innerBytes, limit: limit * innerBytes }));
  const outer = taken.slice(0, last);
  const [first, ...others] = runs;
  const bytes =
    outer.length === 0 && others.length === 0
      ? sliceBytes(stored.bytes, first.start, first.limit - first.start)
      : new Runs(stored.bytes, outer, sizes.slice(0, last), runs, sizes[last] * innerBytes);
  return { ...stored, shape: shape.map((size, d) => (ranges[d] === undefined ? size : sizeOf(ranges[d]))), bytes };
}

/** Rows chosen by ranges of their dimensions, of each row some runs of bytes. */
class Runs implements ByteSource {
  readonly name: string;
  readonly length: number;
  readonly file?: FileRange;
  readonly #source: ByteSource;
  readonly #outer: readonly (readonly Range[])[];
  readonly #sizes: readonly number[];
  readonly #runs: readonly Range[];
  readonly #rowBytes: number;
  readonly #ownRowBytes: number;

  constructor(
    source: ByteSource,
    outer: readonly (readonly Range[])[],
    sizes: readonly number[],
    runs: readonly Range[],
    rowBytes: number,
  ) {
    this.name = source.name;
    this.#source = source;
    this.#outer = outer;
    this.#sizes = sizes;
    this.#runs = runs;
    this.#rowBytes = rowBytes;
    this.#ownRowBytes = sizeOf(runs);
    this.length = outer.reduce((rows, ranges) => rows * sizeOf(ranges), this.#ownRowBytes);
    const file = source.file === undefined ? undefined : this.#inFile(source.file);
    if (file !== undefined) this.file = file;
  }

  /** Of one run of every row, of rows that follow one another. */
  #inFile(file: FileRange): FileRange | undefined {
    const { offset, stride, check } = file;
    const [run, ...others] = this.#runs;
    const whole = this.#outer.slice(1).every((ranges, d) => sizeOf(ranges) === this.#sizes[d + 1]);
    if (stride !== undefined || others.length > 0 || !whole || (this.#outer.at(0)?.length ?? 1) > 1) return undefined;
    const first = this.#row(0) * this.#rowBytes + run.start;
    const place = (own: number) => Math.floor(own / this.#ownRowBytes) * this.#rowBytes + (own % this.#ownRowBytes);
    return {
      descriptor: file.descriptor,
      offset: offset + first,
      stride: this.#rowBytes,
      // With what lies between; counted as what is taken.
      check: (at, count) => check(first + place(at), Math.min(count, place(at + count - 1) + 1 - place(at))),
    };
  }

  async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const result = new Uint8Array(length);
    await this.readInto(result, offset);
    return result;
  }

  async readInto(target: Uint8Array, offset: number): Promise<void> {
    checkRange(this, offset, target.length);
    let together: { from: number; at: number; count: number }[] = [];
    const flush = async () => {
      const [first] = together;
      const end = together.at(-1);
      if (first === undefined || end === undefined) return;
      if (together.length === 1)
        await readInto(this.#source, target.subarray(first.at, first.at + first.count), first.from);
      else {
        const span = await this.#source.read(first.from, end.from + end.count - first.from);
        for (const { from, at, count } of together) {
          target.set(span.subarray(from - first.from, from - first.from + count), at);
        }
      }
      together = [];
    };
    for (let at = 0; at < target.length; ) {
      const { from, count } = this.#find(offset + at, target.length - at);
      const end = together.at(-1);
      const close = end !== undefined && from >= end.from && from - (end.from + end.count) < gapBytes;
      if (!close || from + count - together[0].from > bulkBytes) await flush();
      together.push({ from, at, count });
      at += count;
    }
    await flush();
  }

  /** Where a byte lies in the source, and how many lie behind it, `most` at most. */
  #find(own: number, most: number): { from: number; count: number } {
    let left = own % this.#ownRowBytes;
    const row = this.#row(Math.floor(own / this.#ownRowBytes)) * this.#rowBytes;
    for (const { start, limit } of this.#runs) {
      if (left < limit - start) return { from: row + start + left, count: Math.min(limit - start - left, most) };
      left -= limit - start;
    }
    throw new Error('a row is shorter than it is');
  }

  /** The number in the source of one of the rows that are taken. */
  #row(own: number): number {
    let rest = own;
    let row = 0;
    let stride = 1;
    for (let d = this.#outer.length - 1; d >= 0; d--) {
      const size = sizeOf(this.#outer[d]);
      row += at(this.#outer[d], rest % size) * stride;
      rest = Math.floor(rest / size);
      stride *= this.#sizes[d];
    }
    return row;
  }
}

function at(ranges: readonly Range[], index: number): number {
  let left = index;
  for (const { start, limit } of ranges) {
    if (left < limit - start) return start + left;
    left -= limit - start;
  }
  throw new Error('a range is shorter than it is');
}
