/**
 * Weights that lie in files as they are: the team reads and packs them by itself (kernels/read-rows.ts), while JavaScript does other
 * things.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileRange } from '../../base/bytes.ts';
import { IngotError } from '../../base/errors.ts';
import type { CodeCache } from './code-cache.ts';
import type { EmittedKernel } from './emit/abi.ts';
import { bytesOfRow, packRowsKernel } from './kernels/pack-rows.ts';
import { type PackedFormat, packedBytes, panelRows } from './kernels/packing.ts';
import { canReadRows, failureOf, readRowsKernel, rowsOfSlice, slice } from './kernels/read-rows.ts';
import { keptKernel } from './machine-code.ts';
import type { MappedCode, Memory, OperatingSystem } from './os/os.ts';
import type { Target } from './target.ts';
import type { LaunchList, Team, TeamTicket } from './team.ts';

/** Of a weight at once: what is checked, and told of, together. */
const pieceBytes = 16 << 20;
/** Of files in one list. */
const listBytes = 64 << 20;
/** Lists that the team has at most: it goes on while JavaScript is busy for some tenths of a second. */
const startedLists = 12;
/** How often JavaScript looks whether a list has ended, in milliseconds. */
const lookMilliseconds = 2;
/** Words before the slices of a list: the kernel's argument, and the word that ends its work. */
const [headWords, stopWord] = [8, 7];

/** Rows to read. */
interface Piece {
  readonly pack: MappedCode;
  readonly format: PackedFormat;
  readonly columns: number;
  readonly stride: number;
  readonly file: FileRange;
  /** Of the source, which the file has from `file.offset` on. */
  readonly row: number;
  readonly rows: number;
  readonly out: Memory;
  /** Address of the panels of row 0. */
  readonly panels: number;
  end(outcome: Promise<void>): void;
}

interface Started {
  readonly pieces: readonly Piece[];
  /** What each slice is of. */
  readonly owners: readonly Piece[];
  readonly list: LaunchList;
  readonly ticket: TeamTicket;
  readonly words: BigInt64Array;
  readonly memory: Memory;
}

export class FileReader implements Disposable {
  readonly #system: OperatingSystem;
  readonly #team: Team;
  readonly #target: Target;
  readonly #codeCache: CodeCache | undefined;
  readonly #codes = new Map<string, MappedCode>();
  readonly #waiting: Piece[] = [];
  readonly #started: Started[] = [];
  #working = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(system: OperatingSystem, team: Team, target: Target, codeCache: CodeCache | undefined) {
    this.#system = system;
    this.#team = team;
    this.#target = target;
    this.#codeCache = codeCache;
  }

  /** Whether `pack` takes rows of `columns` values. */
  takes({ stride }: FileRange, format: PackedFormat, columns: number): boolean {
    return this.#system.read !== undefined && canReadRows(stride ?? bytesOfRow(format, columns));
  }

  /**
   * The matrix that a file begins with at its offset, to panels at `start` of `out`, which is zero. When it has failed, nothing writes to `out`.
   * @throws IngotError 'FileChanged', 'FileAccess', and what `file.check` throws.
   */
  async pack(
    file: FileRange,
    [rows, columns]: readonly [rows: number, columns: number],
    format: PackedFormat,
    out: Memory,
    start: number,
  ): Promise<void> {
    const { stride = bytesOfRow(format, columns) } = file;
    const step = Math.max(1, Math.floor(pieceBytes / stride / panelRows)) * panelRows;
    const pack = this.#code(`pack ${format} ${columns} ${stride}`, () => packRowsKernel(format, columns, stride));
    const outcomes: Promise<void>[] = [];
    for (let row = 0; row < rows; row += step) {
      const outcome = new Promise<void>((end) => {
        const what = { pack, format, columns, stride, file, row, rows: Math.min(step, rows - row) };
        this.#waiting.push({ ...what, out, panels: out.address + start, end });
      });
      outcomes.push(outcome);
    }
    if (!this.#working) void this.#work();
    for (const outcome of await Promise.allSettled(outcomes)) {
      if (outcome.status === 'rejected') throw outcome.reason;
    }
  }

  /** Has the team do what waits. */
  async #work(): Promise<void> {
    this.#working = true;
    this.#failure = undefined;
    // Those that are asked for together are begun together.
    await undefined;
    try {
      while (this.#waiting.length > 0 || this.#started.length > 0) {
        while (this.#waiting.length > 0 && this.#started.length < startedLists) this.#start();
        this.settle();
        if (this.#started.length > 0) await sleep(lookMilliseconds);
      }
    } catch (error) {
      // The team is lost.
      for (const piece of [...this.#started.splice(0).flatMap(({ pieces }) => pieces), ...this.#waiting.splice(0)]) {
        piece.end(Promise.reject(error));
      }
    }
    this.#working = false;
  }

  /** Takes note of what has ended. Before others use the team: it tells of its latest lists only. */
  settle(): void {
    while (this.#started.length > 0 && this.#team.ended(this.#started[0].ticket)) this.#finish();
  }

  #start(): void {
    const pieces: Piece[] = [];
    for (let bytes = 0; this.#waiting.length > 0 && bytes < listBytes; ) {
      const piece = this.#waiting.shift() as Piece;
      if (this.#failure !== undefined) piece.end(Promise.reject(this.#failure.error));
      else pieces.push(piece);
      bytes += piece.rows * piece.stride;
    }
    if (pieces.length === 0) return;
    const slices = pieces.flatMap((piece) => [...slicesOf(piece)]);
    const memory = this.#system.mapMemory(8 * (headWords + slice.words * slices.length));
    const words = new BigInt64Array(memory.bytes().buffer as ArrayBuffer);
    const wordAt = (i: number) => memory.address + 8 * i;
    words.set([this.#system.read ?? 0, wordAt(headWords), wordAt(stopWord), slices.length].map(BigInt));
    slices.forEach((one, i) => {
      words.set(one.map(BigInt), headWords + slice.words * i);
    });
    const code = this.#code('read rows', readRowsKernel);
    const list = this.#team.list(
      [{ kind: 'kernel', code, offset: 0, argument: { memory, offset: 0 } }],
      pieces.flatMap(({ pack, out }) => [pack, out]),
    );
    const owners = pieces.flatMap((piece) => Array.from({ length: countSlices(piece) }, () => piece));
    this.#started.push({ pieces, owners, list, ticket: this.#team.submit(list), words, memory });
  }

  #finish(): void {
    const { pieces, owners, list, ticket, words, memory } = this.#started.shift() as Started;
    const whole = this.#team.wait(ticket, Number.POSITIVE_INFINITY) === 'done' && words[stopWord] === 0n;
    const failed = new Map<Piece, Promise<void>>();
    for (const [i, piece] of owners.entries()) {
      const failure = words[headWords + slice.words * i + slice.failure];
      if (failure !== 0n && !failed.has(piece)) failed.set(piece, this.#fail(piece, failureOf(failure)));
    }
    const [why] = failed.values();
    for (const piece of pieces) {
      const judged = failed.get(piece) ?? (whole ? checkPiece(piece) : this.#giveUp(why));
      judged.catch((error: unknown) => {
        if (this.#failure === undefined) for (const { words } of this.#started) Atomics.store(words, stopWord, 1n);
        this.#failure ??= { error };
      });
      piece.end(judged);
    }
    list[Symbol.dispose]();
    memory[Symbol.dispose]();
  }

  /** `result`: what `read` returned. */
  async #fail(piece: Piece, result: number): Promise<never> {
    await checkPiece(piece);
    const how = result === 0 ? 'it ended early' : `error ${-result}`;
    const offset = piece.file.offset + piece.row * piece.stride;
    throw new IngotError('FileAccess', `the system could not read a weight (${how})`, { offset });
  }

  /** With what else failed. */
  async #giveUp(why: Promise<void> | undefined): Promise<never> {
    await why;
    throw this.#failure?.error ?? new IngotError('DeviceFault', 'packing a weight was stopped', { device: 'cpu' });
  }

  #code(key: string, emit: () => EmittedKernel): MappedCode {
    let code = this.#codes.get(key);
    if (code === undefined) {
      code = this.#system.mapCode(keptKernel(key, emit, this.#target, this.#codeCache).bytes);
      this.#codes.set(key, code);
    }
    return code;
  }

  [Symbol.dispose](): void {
    for (const code of this.#codes.values()) code[Symbol.dispose]();
    this.#codes.clear();
  }
}

function countSlices({ rows, stride }: Piece): number {
  return Math.ceil(rows / rowsOfSlice(stride));
}

/** Their words, as the kernel wants them. */
function* slicesOf({ pack, format, columns, stride, file, row, rows, panels }: Piece): Generator<readonly number[]> {
  const between = stride - bytesOfRow(format, columns);
  const step = rowsOfSlice(stride);
  for (let first = row; first < row + rows; first += step) {
    const count = Math.min(step, row + rows - first);
    const to = panels + packedBytes(format, [first, columns]);
    yield [pack.address, file.descriptor, file.offset + first * stride, count * stride - between, to, count];
  }
}

/** @throws what `file.check` throws. */
function checkPiece({ file, row, rows, format, columns }: Piece): Promise<void> {
  const rowBytes = bytesOfRow(format, columns);
  return file.check(row * rowBytes, rows * rowBytes);
}
