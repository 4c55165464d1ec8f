/**
 * Weights from their source into panels. Those that lie in files as they are the team reads itself (read-files.ts). Of others
 * slices of rows are read side by side into a few buffers, and the team packs each as it comes. Nothing is held twice: beside the
 * panels there are the buffers.
 */
import { readInto, sliceBytes } from '../../base/bytes.ts';
import { IngotError } from '../../base/errors.ts';
import { blockFormat } from '../../numerics/quant/formats.ts';
import type { WeightSource } from '../device.ts';
import type { CodeCache } from './code-cache.ts';
import { packRowsKernel } from './kernels/pack-rows.ts';
import { type PackedFormat, packedBytes, panelRows } from './kernels/packing.ts';
import { kernelCode } from './machine-code.ts';
import type { Memory, OperatingSystem } from './os/os.ts';
import { FileReader } from './read-files.ts';
import type { Target } from './target.ts';
import type { LaunchList, Team } from './team.ts';

/** As many reads at once as Node has threads for files; together they fit in a cache. */
const buffers = 4;
const bufferBytes = 4 << 20;

/** A kernel with its argument block: source, panels, rows. */
interface Packer extends Disposable {
  readonly list: LaunchList;
  readonly words: BigUint64Array;
}

interface Buffer {
  readonly memory: Memory;
  readonly bytes: Uint8Array;
}

export class WeightReader implements Disposable {
  readonly #system: OperatingSystem;
  readonly #team: Team;
  readonly #target: Target;
  readonly #finishRuns: () => void;
  readonly #files: FileReader;
  readonly #packers = new Map<string, Packer>();
  readonly #made: Buffer[] = [];
  readonly #free: Buffer[] = [];
  readonly #waiting: ((buffer: Buffer) => void)[] = [];

  /** `finishRuns` is called before the team is used. */
  constructor(system: OperatingSystem, team: Team, target: Target, finishRuns: () => void, codeCache?: CodeCache) {
    this.#system = system;
    this.#team = team;
    this.#target = target;
    this.#files = new FileReader(system, team, target, codeCache);
    this.#finishRuns = () => {
      finishRuns();
      this.#files.settle();
    };
  }

  /** Several at once share the buffers. Whatever fails, nothing writes to `out` any more when it has failed. */
  async pack({ shape, bytes }: WeightSource, format: PackedFormat, out: Memory): Promise<void> {
    const [rows = 0, columns = 0] = shape.slice(-2);
    const count = shape.length === 3 ? shape[0] : 1;
    // Whole panels follow one another as if all were one matrix.
    if (count === 1 || rows % panelRows === 0) return this.#packMatrix(bytes, [count * rows, columns], format, out, 0);
    const length = bytes.length / count;
    for (let i = 0; i < count; i++) {
      const start = packedBytes(format, [i, rows, columns]);
      await this.#packMatrix(sliceBytes(bytes, i * length, length), [rows, columns], format, out, start);
    }
  }

  /** Panels go to `start` of `out`. */
  async #packMatrix(
    bytes: WeightSource['bytes'],
    [rows, columns]: readonly [rows: number, columns: number],
    format: PackedFormat,
    out: Memory,
    start: number,
  ): Promise<void> {
    if (bytes.file !== undefined && this.#files.takes(bytes.file, format, columns)) {
      return this.#files.pack(bytes.file, [rows, columns], format, out, start);
    }
    const { blockSize, blockBytes } = blockFormat(format);
    const rowBytes = (columns / blockSize) * blockBytes;
    await this.#slices(bytes, rowBytes, rows, (_, memory, row, count) => {
      const { list, words } = this.#packer(format, columns);
      const at = start + packedBytes(format, [row, columns]);
      if (count % panelRows !== 0) {
        const whole = packedBytes(format, [count - (count % panelRows), columns]);
        out.bytes(at + whole, packedBytes(format, [1, columns])).fill(0);
      }
      words.set([BigInt(memory.address), BigInt(out.address + at), BigInt(count)]);
      this.#finishRuns();
      if (this.#team.wait(this.#team.submit(list), Number.POSITIVE_INFINITY) !== 'done') {
        throw new IngotError('DeviceFault', 'packing a weight was stopped', { device: 'cpu' });
      }
    });
  }

  /** As f32, row-major. */
  async decode({ shape, format, bytes }: WeightSource, out: Memory): Promise<void> {
    const { blockSize, blockBytes, decode } = blockFormat(format);
    const columns = shape.at(-1) ?? 1;
    const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
    await this.#slices(bytes, (columns / blockSize) * blockBytes, rows, (slice, _, row, count) => {
      const target = out.bytes(4 * row * columns, 4 * count * columns);
      decode(slice, new Float32Array(target.buffer, target.byteOffset, count * columns));
    });
  }

  /** Gives the buffers back to the system; they come again when they are needed. */
  rest(): void {
    if (this.#free.length < this.#made.length) return;
    for (const { memory } of this.#made.splice(0)) memory[Symbol.dispose]();
    this.#free.splice(0);
  }

  [Symbol.dispose](): void {
    this.rest();
    this.#files[Symbol.dispose]();
    for (const packer of this.#packers.values()) packer[Symbol.dispose]();
    this.#packers.clear();
  }

  /** Calls `use` with each slice of rows, in whatever order they are read. */
  async #slices(
    source: WeightSource['bytes'],
    rowBytes: number,
    rows: number,
    use: (slice: Uint8Array, memory: Memory, row: number, count: number) => void,
  ): Promise<void> {
    const step = Math.max(panelRows, Math.floor(bufferBytes / rowBytes / panelRows) * panelRows);
    let failure: { readonly error: unknown } | undefined;
    const read = async (row: number) => {
      const count = Math.min(step, rows - row);
      const length = count * rowBytes;
      await this.#withBuffer(length, async ({ memory, bytes }) => {
        if (failure !== undefined) return;
        const slice = bytes.subarray(0, length);
        try {
          await readInto(source, slice, row * rowBytes);
          use(slice, memory, row, count);
        } catch (error) {
          failure ??= { error };
        }
      });
    };
    await Promise.all(Array.from({ length: Math.ceil(rows / step) }, (_, i) => read(i * step)));
    if (failure !== undefined) throw failure.error;
  }

  async #withBuffer(length: number, use: (buffer: Buffer) => Promise<void>): Promise<void> {
    const buffer = await this.#take();
    try {
      if (length <= bufferBytes) await use(buffer);
      else {
        using memory = this.#system.mapMemory(length);
        await use({ memory, bytes: memory.bytes() });
      }
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(buffer);
      else next(buffer);
    }
  }

  async #take(): Promise<Buffer> {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#made.length >= buffers) return new Promise((resolve) => this.#waiting.push(resolve));
    const memory = this.#system.mapMemory(bufferBytes);
    const buffer = { memory, bytes: memory.bytes() };
    this.#made.push(buffer);
    return buffer;
  }

  #packer(format: PackedFormat, columns: number): Packer {
    const key = `${format} ${columns}`;
    let packer = this.#packers.get(key);
    if (packer === undefined) {
      packer = this.#makePacker(format, columns);
      this.#packers.set(key, packer);
    }
    return packer;
  }

  #makePacker(format: PackedFormat, columns: number): Packer {
    const code = this.#system.mapCode(kernelCode(packRowsKernel(format, columns), this.#target).bytes);
    const block = this.#system.mapMemory(64);
    const argument = { memory: block, offset: 0 };
    const list = this.#team.list([{ kind: 'kernel', code, offset: 0, argument }]);
    const bytes = block.bytes();
    return {
      list,
      words: new BigUint64Array(bytes.buffer, bytes.byteOffset, 3),
      [Symbol.dispose]() {
        list[Symbol.dispose]();
        block[Symbol.dispose]();
        code[Symbol.dispose]();
      },
    };
  }
}
