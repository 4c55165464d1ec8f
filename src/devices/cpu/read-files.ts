/**
 * Weights that lie in files as they are: the team reads and packs them by itself (kernels/read-rows.ts), while JavaScript does other
 * things.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileRange } from '../../base/bytes.ts';
import { IngotError } from '../../base/errors.ts';
import { bytesOfRow, packRowsKernel } from './kernels/pack-rows.ts';
import { type PackedFormat, packedBytes, panelRows } from './kernels/packing.ts';
import { canReadRows, failureOf, readRowsKernel } from './kernels/read-rows.ts';
import { kernelCode } from './machine-code.ts';
import type { MappedCode, Memory, OperatingSystem } from './os/os.ts';
import type { Target } from './target.ts';
import type { KernelLaunch, LaunchList, Team, TeamTicket } from './team.ts';

/** Of a file in one launch: a team is stopped between launches only, and disks may be slow. */
const launchBytes = 16 << 20;
/** Of a file in one list. */
const listBytes = 64 << 20;
/** Lists that the team has at most: it goes on while JavaScript is busy for some tenths of a second. */
const startedLists = 12;
/** How often JavaScript looks whether a list has ended, in milliseconds. */
const lookMilliseconds = 2;
/** Words of a launch's argument: those of the kernel, and the word where it says what failed. */
const [argumentWords, failureWord] = [8, 7];

/** Rows to read: a launch. */
interface Piece {
  readonly code: Codes;
  readonly file: FileRange;
  /** In the file. */
  readonly from: number;
  /** Of the source. */
  readonly at: number;
  readonly bytes: number;
  readonly rows: number;
  readonly out: Memory;
  readonly panels: number;
  end(outcome: Promise<void>): void;
}

interface Codes {
  readonly read: MappedCode;
  readonly pack: MappedCode;
}

interface Started {
  readonly pieces: readonly Piece[];
  readonly list: LaunchList;
  readonly ticket: TeamTicket;
  readonly words: BigInt64Array;
  readonly memory: Memory;
}

export class FileReader implements Disposable {
  readonly #system: OperatingSystem;
  readonly #team: Team;
  readonly #target: Target;
  readonly #codes = new Map<string, Codes>();
  readonly #waiting: Piece[] = [];
  readonly #started: Started[] = [];
  #working = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(system: OperatingSystem, team: Team, target: Target) {
    this.#system = system;
    this.#team = team;
    this.#target = target;
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
    const rowBytes = bytesOfRow(format, columns);
    const { stride = rowBytes } = file;
    const step = Math.max(1, Math.floor(launchBytes / stride / panelRows)) * panelRows;
    const code = this.#codesOf(format, columns, stride);
    const outcomes: Promise<void>[] = [];
    for (let row = 0; row < rows; row += step) {
      const count = Math.min(step, rows - row);
      const outcome = new Promise<void>((end) => {
        const panels = out.address + start + packedBytes(format, [row, columns]);
        const bytes = count * rowBytes;
        const from = file.offset + row * stride;
        this.#waiting.push({ code, file, from, at: row * rowBytes, bytes, rows: count, out, panels, end });
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
      bytes += piece.bytes;
    }
    if (pieces.length === 0) return;
    const memory = this.#system.mapMemory(8 * argumentWords * pieces.length);
    const words = new BigInt64Array(memory.bytes().buffer as ArrayBuffer);
    const launches = pieces.map(({ code, file, from, rows, panels }, i): KernelLaunch => {
      const first = i * argumentWords;
      const failure = memory.address + 8 * (first + failureWord);
      const argument = [this.#system.read ?? 0, code.pack.address, file.descriptor, from, panels, failure];
      words.set([...argument, rows].map(BigInt), first);
      return { kind: 'kernel', code: code.read, offset: 0, argument: { memory, offset: 8 * first } };
    });
    const list = this.#team.list(
      launches,
      pieces.flatMap(({ code, out }) => [code.pack, out]),
    );
    this.#started.push({ pieces, list, ticket: this.#team.submit(list), words, memory });
  }

  #finish(): void {
    const { pieces, list, ticket, words, memory } = this.#started.shift() as Started;
    const whole = this.#team.wait(ticket, Number.POSITIVE_INFINITY) === 'done';
    for (const [i, piece] of pieces.entries()) {
      const judged = this.#judge(piece, whole, failureOf(words[i * argumentWords + failureWord]));
      judged.catch((error: unknown) => {
        if (this.#failure === undefined && this.#started.length > 0) this.#team.abort();
        this.#failure ??= { error };
      });
      piece.end(judged);
    }
    list[Symbol.dispose]();
    memory[Symbol.dispose]();
  }

  /** `result`: what `read` returned last. */
  async #judge({ file, from, at, bytes }: Piece, whole: boolean, result: number): Promise<void> {
    if (!whole)
      throw this.#failure?.error ?? new IngotError('DeviceFault', 'packing a weight was stopped', { device: 'cpu' });
    await file.check(at, bytes);
    if (result > 0) return;
    const how = result === 0 ? 'it ended early' : `error ${-result}`;
    throw new IngotError('FileAccess', `the system could not read a weight (${how})`, { offset: from });
  }

  #codesOf(format: PackedFormat, columns: number, stride: number): Codes {
    const key = `${format} ${columns} ${stride}`;
    let codes = this.#codes.get(key);
    if (codes === undefined) {
      const [read, pack] = [readRowsKernel, packRowsKernel].map((kernel) =>
        this.#system.mapCode(kernelCode(kernel(format, columns, stride), this.#target).bytes),
      ) as [MappedCode, MappedCode];
      codes = { read, pack };
      this.#codes.set(key, codes);
    }
    return codes;
  }

  [Symbol.dispose](): void {
    for (const { read, pack } of this.#codes.values()) {
      read[Symbol.dispose]();
      pack[Symbol.dispose]();
    }
    this.#codes.clear();
  }
}
