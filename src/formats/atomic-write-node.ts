/**
 * A file that appears whole or not at all: written under a temporary name in the same folder, forced to the disk, and
 * only then given its own name. Whatever stops the writing before that leaves nothing behind.
 */
import { randomBytes } from 'node:crypto';
import { unlinkSync } from 'node:fs';
import { type FileHandle, link, open, readdir, rename, stat, statfs, unlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { IngotError } from '../base/errors.ts';
import { systemError } from './file-node.ts';
import type { ByteSink } from './tensor-stream.ts';

export interface AtomicFile extends ByteSink, AsyncDisposable {
  /** Of the system, for who reads what was written already. */
  readonly descriptor: number;
  /** Gives the file its name. Disposing without it discards what was written. */
  commit(): Promise<void>;
}

export interface AtomicWriteOptions {
  /** Replace a file that has the name already. */
  readonly overwrite?: boolean;
  /** Bytes that will be written, if known: refused at once where the disk has no room for them. */
  readonly length?: number;
  /** Of a new file, as of open(2). */
  readonly mode?: number;
}

/**
 * @throws IngotError 'FileExists'; 'FileNotFound' if there is no such folder; 'FileAccess' for no permission, no space
 * or a failing disk. `write` and `commit` throw the same.
 */
export async function createFile(path: string, options: AtomicWriteOptions = {}): Promise<AtomicFile> {
  const { overwrite = false, length = 0, mode } = options;
  const final = resolve(path);
  const folder = dirname(final);
  await refuseExisting(path, final, overwrite);
  await refuseFullDisk(path, folder, length);
  const temporary = join(folder, `${temporaryPrefix(final)}${randomBytes(6).toString('hex')}${temporaryEnding}`);
  const handle = await openNew(path, folder, temporary, mode);
  removeAtExit.add(temporary);

  let state: 'open' | 'committed' | 'discarded' = 'open';
  const discard = async (): Promise<void> => {
    if (state !== 'open') return;
    state = 'discarded';
    await handle.close().catch(() => {});
    await unlink(temporary).catch(() => {});
    removeAtExit.delete(temporary);
  };
  const guarded = async (call: () => Promise<void>): Promise<void> => {
    if (state !== 'open') throw new IngotError('InvalidArgument', `${path} is no longer being written`, { path });
    try {
      await call();
    } catch (error) {
      await discard();
      throw systemError(error, path);
    }
  };
  return {
    descriptor: handle.fd,
    write: (bytes) => guarded(() => writeAll(handle, bytes)),
    commit: () =>
      guarded(async () => {
        await handle.sync();
        await handle.close();
        await giveName(path, temporary, final, overwrite);
        state = 'committed';
        removeAtExit.delete(temporary);
        await syncFolder(folder);
      }),
    [Symbol.asyncDispose]: discard,
  };
}

const temporaryPrefix = (path: string) => `.${basename(path)}.`;
const temporaryEnding = '.partial';

/** What processes have left that were killed while they wrote this file: for who knows that nobody writes it now. */
export async function removeLeftovers(path: string): Promise<void> {
  const folder = dirname(resolve(path));
  for (const name of await readdir(folder)) {
    if (name.startsWith(temporaryPrefix(path)) && name.endsWith(temporaryEnding)) await unlink(join(folder, name));
  }
}

async function refuseExisting(path: string, final: string, overwrite: boolean): Promise<void> {
  const existing = await stat(final).catch(() => undefined);
  if (existing === undefined) return;
  if (existing.isDirectory()) throw new IngotError('FileExists', `${path} is a folder`, { path });
  if (!overwrite) throw exists(path);
}

function exists(path: string): IngotError {
  const hint = 'choose another name, or ask for the file to be overwritten';
  return new IngotError('FileExists', `${path} exists already`, { path, hint });
}

async function refuseFullDisk(path: string, folder: string, length: number): Promise<void> {
  // Not every file system can tell.
  const disk = await statfs(folder, { bigint: true }).catch(() => undefined);
  if (disk === undefined || disk.bavail * disk.bsize >= BigInt(length)) return;
  const hint = 'make room on the disk or choose another folder';
  const free = disk.bavail * disk.bsize;
  throw new IngotError('FileAccess', `${path} needs ${length} bytes and the disk has ${free} left`, { path, hint });
}

async function openNew(path: string, folder: string, temporary: string, mode?: number): Promise<FileHandle> {
  try {
    return await open(temporary, 'wx+', mode);
  } catch (error) {
    const typed = systemError(error, path);
    if (!(typed instanceof IngotError) || typed.code !== 'FileNotFound') throw typed;
    const hint = 'create the folder first';
    throw new IngotError('FileNotFound', `there is no folder ${folder}`, { path: folder, hint, cause: error });
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, Math.min(bytes.length - done, 1 << 30));
    done += bytesWritten;
  }
}

async function giveName(path: string, temporary: string, final: string, overwrite: boolean): Promise<void> {
  if (overwrite) return rename(temporary, final);
  // Renaming would replace a file that appeared meanwhile; a second link to the same data refuses to.
  try {
    await link(temporary, final);
  } catch (error) {
    const typed = systemError(error, path);
    if (typed instanceof IngotError && typed.code === 'FileExists') throw exists(path);
    // Some file systems have no links.
    await refuseExisting(path, final, false);
    return rename(temporary, final);
  }
  await unlink(temporary);
}

/** Makes the new name itself durable. Some systems cannot open folders; then it is as durable as they make it. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined);
  await handle?.sync().catch(() => {});
  await handle?.close();
}

/** Should the process end by itself in the middle of a write. */
const removeAtExit = new Set<string>();
process.on('exit', () => {
  for (const temporary of removeAtExit) {
    try {
      unlinkSync(temporary);
    } catch {
      // It is gone already.
    }
  }
});
