/**
 * One file from the hub into the cache. It is fetched in pieces, several at once, into a partial file; beside it a journal has a
 * line for each piece that is written, so that a pull that was killed goes on. A file gets its name only when its hash is right:
 * one that is wrong is fetched again, once.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { IngotError, throwIfAborted } from '../base/errors.ts';
import { systemError } from '../formats/file-node.ts';
import { partialEnding } from './cache.ts';
import { ask, type Hub, networkError, passing, withAttempts } from './http.ts';
import type { FileHash, HubFile } from './listing.ts';

const pieceBytes = 8 << 20;
const connections = 4;

/** Whether a file is there and is what its hash says. */
export async function isWhole(path: string, { size, hash }: Pick<HubFile, 'size' | 'hash'>): Promise<boolean> {
  const stats = await stat(path).catch(() => undefined);
  if (!stats?.isFile() || stats.size !== size) return false;
  const handle = await open(path, 'r');
  try {
    return (await hashOf(handle, size, hash.kind)) === hash.hex;
  } finally {
    await handle.close();
  }
}

export interface Download {
  readonly address: string;
  readonly file: HubFile;
  readonly target: string;
  /** Of what came, and of what was there already; negative where that is thrown away. */
  readonly onBytes: (bytes: number) => void;
}

/**
 * @throws IngotError 'Network', 'FileNotFound', 'FileAccess' (a full disk too: what came is kept), 'InvalidFile' for contents
 * that go with no hash, 'Aborted'.
 */
export async function download(hub: Hub, { address, file, target, onBytes }: Download): Promise<void> {
  const partial = target + partialEnding;
  const journal = `${partial}.pieces`;
  try {
    await mkdir(dirname(target), { recursive: true });
    for (let attempt = 1; ; attempt++) {
      await using pieces = await Pieces.open(partial, journal, file.size);
      onBytes(pieces.bytesDone);
      await fetchPieces({ hub, address, file, pieces, onBytes });
      await pieces.handle.sync();
      if ((await hashOf(pieces.handle, file.size, file.hash.kind, hub.signal)) === file.hash.hex) break;
      await Promise.all([unlink(partial), unlink(journal)]);
      onBytes(-file.size);
      if (attempt === 2) throw wrongContents(address, file);
      hub.onNotice?.(`${file.path} arrived damaged and is fetched again`);
    }
    await rename(partial, target);
    await unlink(journal);
  } catch (error) {
    throw systemError(error, partial);
  }
}

function wrongContents(address: string, { path }: HubFile): IngotError {
  const hint = 'the file on the hub is damaged, or something between changes it; ask whoever published it';
  return new IngotError('InvalidFile', `${path} came twice with contents that go with no hash of it`, {
    path: address,
    hint,
  });
}

async function hashOf(handle: FileHandle, size: number, kind: FileHash['kind'], signal?: AbortSignal): Promise<string> {
  const hash = createHash(kind === 'git' ? 'sha1' : 'sha256');
  if (kind === 'git') hash.update(`blob ${size}\0`);
  const buffer = Buffer.alloc(Math.min(size, 1 << 20));
  for (let at = 0; at < size; ) {
    throwIfAborted(signal);
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, size - at), at);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  return hash.digest('hex');
}

/** A partial file and its journal: the line `SIZE PIECE`, then the number of a piece a line. */
class Pieces implements AsyncDisposable {
  readonly handle: FileHandle;
  readonly #journal: FileHandle;
  readonly #size: number;
  readonly #done: Set<number>;
  #next = 0;

  private constructor(handle: FileHandle, journal: FileHandle, size: number, done: Set<number>) {
    this.handle = handle;
    this.#journal = journal;
    this.#size = size;
    this.#done = done;
  }

  static async open(path: string, journalPath: string, size: number): Promise<Pieces> {
    const heading = `${size} ${pieceBytes}\n`;
    const found = await stat(path).catch(() => undefined);
    const there = found?.size === size;
    const text = there ? await readFile(journalPath, 'utf8').catch(() => '') : '';
    // A line that was not finished counts for nothing.
    const lines = text.startsWith(heading) ? text.split('\n').slice(1, -1) : [];
    const done = new Set(lines.filter((line) => /^\d+$/.test(line)).map(Number));
    const handle = await open(path, there ? 'r+' : 'w+');
    try {
      await handle.truncate(size);
      const journal = await open(journalPath, done.size > 0 ? 'a' : 'w');
      // A new line ends what a killed process may have left in the middle of one.
      await journal.write(done.size > 0 ? '\n' : heading);
      return new Pieces(handle, journal, size, done);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  get bytesDone(): number {
    return [...this.#done].reduce((sum, piece) => sum + this.end(piece) - this.start(piece), 0);
  }

  /** The next one that is missing and that nobody took. */
  take(): number | undefined {
    while (this.#done.has(this.#next)) this.#next++;
    return this.start(this.#next) < this.#size ? this.#next++ : undefined;
  }

  /** Takes all again that are missing. */
  rewind(): void {
    this.#next = 0;
  }

  start(piece: number): number {
    return piece * pieceBytes;
  }

  end(piece: number): number {
    return Math.min((piece + 1) * pieceBytes, this.#size);
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      done += (await this.handle.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
    }
  }

  async finished(piece: number): Promise<void> {
    if (this.#done.has(piece)) return;
    await this.#journal.write(`${piece}\n`);
    this.#done.add(piece);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.handle.close(), this.#journal.close()]);
  }
}

/** A server that answers with the whole file whatever is asked for. */
class NoRanges extends Error {}

/** What the fetching of one file needs everywhere. */
interface Fetching extends Pick<Download, 'address' | 'file' | 'onBytes'> {
  readonly hub: Hub;
  readonly pieces: Pieces;
}

async function fetchPieces(fetching: Fetching): Promise<void> {
  try {
    await fetchInParallel(fetching);
  } catch (error) {
    if (!(error instanceof NoRanges)) throw error;
    fetching.pieces.rewind();
    const first = fetching.pieces.take();
    if (first !== undefined) await fetchRun(fetching, first, fetching.file.size, false);
  }
}

/** Several at once; the first failure ends all of them. */
async function fetchInParallel(fetching: Fetching): Promise<void> {
  const { hub, pieces } = fetching;
  const failed = new AbortController();
  const signal = AbortSignal.any([failed.signal, ...(hub.signal ? [hub.signal] : [])]);
  const together = { ...fetching, hub: { ...hub, signal } };
  let first: { readonly error: unknown } | undefined;
  const work = async () => {
    try {
      for (let piece = pieces.take(); piece !== undefined; piece = pieces.take()) {
        await fetchRun(together, piece, pieces.end(piece), true);
      }
    } catch (error) {
      first ??= { error };
      failed.abort();
    }
  };
  // All have to be over before the files are closed.
  await Promise.all(Array.from({ length: connections }, work));
  if (first !== undefined) throw first.error;
}

/** The missing pieces from `piece` on, to the byte `end`, in one answer if it lasts. */
async function fetchRun(fetching: Fetching, piece: number, end: number, ranges: boolean): Promise<void> {
  const { hub, file, pieces, onBytes } = fetching;
  let at = pieces.start(piece);
  let current = piece;
  let before = at;
  const attempt = async () => {
    before = at;
    for await (const chunk of rangeOf(fetching, at, end, ranges)) {
      await pieces.write(chunk, at);
      at += chunk.length;
      onBytes(chunk.length);
      for (; pieces.end(current) <= at && pieces.start(current) < end; current++) await pieces.finished(current);
    }
    if (at < end) throw passing(networkError(`${file.path} ended ${end - at} bytes early`));
  };
  await withAttempts(hub, attempt, () => at - before >= 1 << 16);
}

/** The bytes from `start` to `end`, and no more, whatever the server sends. @throws NoRanges where `ranges` was hoped for. */
async function* rangeOf(
  { hub, address, file }: Fetching,
  start: number,
  end: number,
  ranges: boolean,
): AsyncGenerator<Uint8Array> {
  using answer = await ask(hub, address, { range: `bytes=${start}-${end - 1}` });
  let at = start;
  if (answer.status === 206) {
    const said = answer.headers.get('content-range') ?? '';
    const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(said) ?? [];
    if (total !== undefined && total !== '*' && Number(total) !== file.size) throw otherSize(address, file, total);
    if (Number(from) !== start)
      throw passing(networkError(`${file.path}: asked for bytes from ${start}, got "${said}"`));
  } else {
    if (ranges && end - start < file.size) throw new NoRanges();
    // It begins at the beginning.
    at = 0;
    const total = answer.headers.get('content-length');
    if (total !== null && Number(total) !== file.size) throw otherSize(address, file, total);
  }
  for await (const chunk of answer.chunks()) {
    const part = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
    at += chunk.length;
    if (part.length > 0) yield part;
    if (at >= end) return;
  }
}

function otherSize(address: string, { path, size }: HubFile, found: string): IngotError {
  return new IngotError('FileChanged', `${path} has ${found} bytes; the listing of its repository says ${size}`, {
    path: address,
    hint: 'pull again; if that does not help, whoever published it has to look',
  });
}
