/**
 * Slots for KV blocks in a file: below the folder of caches, for its owner alone, removed when it is closed, and at the next start
 * where its process ended without doing so. What it says is used only if its checksum is the one of what was written: the
 * sums are in memory, so nothing in the file is believed. A file that cannot be written ends the use of it with one warning.
 */
import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { IngotError } from '../base/errors.ts';
import { isProcessAlive } from '../base/process-alive-node.ts';
import { makePrivateFolder } from '../devices/cpu/cache-folder.ts';
import { systemError } from '../formats/file-node.ts';
import type { BlockSlots } from './spill.ts';

/** Bytes that wait to be written at most. */
const backlog = 64 << 20;

/** In milliseconds since 1970, to tell processes of one number apart. */
const processStart = () => Math.round(Date.now() - 1000 * process.uptime());

/**
 * As many slots as `bytes` hold, in a file below `folder`.
 * @throws IngotError 'FileAccess' where no file can be made, 'InvalidArgument' for less than one slot.
 */
export async function openSlots(folder: string, bytes: number, blockBytes: number): Promise<BlockSlots> {
  if (bytes < blockBytes) {
    throw new IngotError(
      'InvalidArgument',
      `${bytes} bytes on disk hold no block of the KV cache, which has ${blockBytes}`,
    );
  }
  const parent = join(folder, 'kv');
  try {
    makePrivateFolder(parent);
    await removeLeftovers(parent);
    const own = await mkdtemp(join(parent, `${process.pid}-${processStart()}-`));
    const file = await open(join(own, 'blocks'), 'wx+', 0o600);
    return new FileSlots(own, file, Math.floor(bytes / blockBytes), blockBytes);
  } catch (error) {
    throw systemError(error, parent);
  }
}

/** Folders of processes that are gone. Taking away a file that is in use costs its user some computing and nothing else. */
async function removeLeftovers(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const [pid, start] = name.split('-').map(Number);
    const isOurs = pid === process.pid && Math.abs(start - processStart()) < 1000;
    if (isOurs || (pid !== process.pid && isProcessAlive(pid))) continue;
    await rm(join(parent, name), { recursive: true, force: true }).catch(() => {});
  }
}

type File = Awaited<ReturnType<typeof open>>;

export class FileSlots implements BlockSlots {
  readonly count: number;
  readonly #folder: string;
  readonly #file: File;
  readonly #blockBytes: number;
  readonly #sums = new Map<number, number>();
  /** Bytes that wait to be written. */
  #waiting = 0;
  #isFull = false;
  /** Reads and writes happen in the order in which they were asked for. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(folder: string, file: File, count: number, blockBytes: number) {
    this.#folder = folder;
    this.#file = file;
    this.count = count;
    this.#blockBytes = blockBytes;
  }

  write(slot: number, contents: Uint8Array): boolean {
    if (this.#isFull || this.#waiting + contents.length > backlog) return false;
    this.#waiting += contents.length;
    this.#last = this.#last.then(async () => {
      try {
        this.#sums.delete(slot);
        if (this.#isFull) return;
        await this.#write(slot, contents);
        this.#sums.set(slot, crc32(contents));
      } catch (error) {
        this.#sums.clear();
        this.#isFull = true;
        process.emitWarning(`the KV cache is no longer written to ${this.#folder}: ${String(error)}`);
      } finally {
        this.#waiting -= contents.length;
      }
    });
    return true;
  }

  async #write(slot: number, contents: Uint8Array): Promise<void> {
    let done = 0;
    while (done < contents.length) {
      const at = slot * this.#blockBytes + done;
      done += (await this.#file.write(contents, done, contents.length - done, at)).bytesWritten;
    }
  }

  read(slot: number): Promise<Uint8Array | undefined> {
    const contents = this.#last.then(() => this.#read(slot));
    this.#last = contents;
    return contents;
  }

  async #read(slot: number): Promise<Uint8Array | undefined> {
    const sum = this.#sums.get(slot);
    if (sum === undefined) return undefined;
    const contents = new Uint8Array(this.#blockBytes);
    try {
      const { bytesRead } = await this.#file.read(contents, 0, contents.length, slot * this.#blockBytes);
      if (bytesRead === contents.length && crc32(contents) === sum) return contents;
    } catch {
      // A file that cannot be read holds nothing.
    }
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#last;
    await this.#file.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
