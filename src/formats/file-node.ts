/**
 * A file as a byte source, by ranged reads on a handle. Never mapped: a file that shrinks under a mapping kills the
 * process, whereas here a file that shrinks, changes or vanishes is a typed error of the read that notices it.
 */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type ByteSource, checkRange } from '../base/bytes.ts';
import { IngotError } from '../base/errors.ts';

export interface FileSource extends ByteSource, AsyncDisposable {}

/** What tells one version of a file from another. */
interface Identity {
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ino: bigint;
  readonly dev: bigint;
}

/** One call of the system reads less than 2 GiB. */
const sliceBytes = 1 << 30;

/**
 * Opens a regular file for reading; several reads may be under way at once.
 * @throws IngotError 'FileNotFound'; 'UnsupportedFile' for folders, pipes and devices; 'FileAccess' where the system
 * refuses. Reads throw 'FileChanged' with the offset.
 */
export async function openFile(path: string): Promise<FileSource> {
  // Before opening: a pipe would wait for its writer.
  const stats = await attempt(path, () => stat(path));
  if (!stats.isFile()) {
    const found = stats.isDirectory() ? 'a folder' : 'not a regular file';
    throw new IngotError('UnsupportedFile', `${path} is ${found}; a file was expected`, { path });
  }
  const handle = await attempt(path, () => open(path, 'r'));
  try {
    return fileSource(path, handle, await handle.stat({ bigint: true }));
  } catch (error) {
    await handle.close();
    throw systemError(error, path);
  }
}

function fileSource(path: string, handle: FileHandle, opened: Identity): FileSource {
  // The working folder may change while the file is open.
  const absolute = resolve(path);
  const readInto = async (target: Uint8Array, offset: number) => {
    checkRange(source, offset, target.length);
    await attempt(path, () => fill(handle, target, offset, path));
    await checkUnchanged(absolute, opened, path, offset);
  };
  const source: FileSource = {
    name: path,
    length: Number(opened.size),
    version: `${opened.size} bytes of ${opened.mtimeNs}`,
    async read(offset, length) {
      checkRange(source, offset, length);
      const bytes = allocate(length, path, offset);
      await readInto(bytes, offset);
      return bytes;
    },
    readInto,
    file: {
      descriptor: handle.fd,
      offset: 0,
      check: (offset) => checkUnchanged(absolute, opened, path, offset),
    },
    [Symbol.asyncDispose]: () => handle.close(),
  };
  return source;
}

function allocate(length: number, path: string, offset: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new IngotError('OutOfMemory', `no memory for ${length} bytes of ${path}`, { path, offset, cause });
  }
}

async function fill(handle: FileHandle, bytes: Uint8Array, offset: number, path: string): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(bytes.length - done, sliceBytes);
    const { bytesRead } = await handle.read(bytes, done, length, offset + done);
    if (bytesRead === 0) throw changed(path, offset + done, 'it became shorter');
    done += bytesRead;
  }
}

/** After the read: bytes that were read before a change are as they were when the file was opened. */
async function checkUnchanged(absolute: string, opened: Identity, path: string, offset: number): Promise<void> {
  let now: Identity;
  try {
    now = await stat(absolute, { bigint: true });
  } catch (error) {
    if (systemCode(error) === 'ENOENT') throw changed(path, offset, 'it is no longer there');
    throw systemError(error, path);
  }
  if (now.ino !== opened.ino || now.dev !== opened.dev) throw changed(path, offset, 'another file took its place');
  if (now.size !== opened.size) throw changed(path, offset, `it had ${opened.size} bytes and has ${now.size} now`);
  if (now.mtimeNs !== opened.mtimeNs) throw changed(path, offset, 'it was written to');
}

function changed(path: string, offset: number, how: string): IngotError {
  const hint = 'wait until whatever writes the file is done, then start again';
  return new IngotError('FileChanged', `${path} changed while it was read: ${how}`, { path, offset, hint });
}

/** Runs a call of the file system; its failures become typed errors. */
async function attempt<T>(path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw systemError(error, path);
  }
}

function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Typed errors stay what they are; Node's become 'FileNotFound', 'FileExists' or 'FileAccess'. */
export function systemError(cause: unknown, path: string): unknown {
  if (cause instanceof IngotError) return cause;
  const code = systemCode(cause);
  switch (code) {
    case undefined:
      return cause;
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ERR_INVALID_ARG_VALUE': // a NUL in the path
      return new IngotError('FileNotFound', `${path} does not exist`, { path, cause, hint: 'check the path' });
    case 'EEXIST':
      return new IngotError('FileExists', `${path} exists already`, { path, cause });
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG': {
      const hint = 'make room on the disk or choose another folder';
      return new IngotError('FileAccess', `no space left to write ${path}`, { path, cause, hint });
    }
    case 'EACCES':
    case 'EPERM':
    case 'EROFS': {
      const hint = 'check the permissions of the file and of its folder';
      return new IngotError('FileAccess', `no permission to use ${path}`, { path, cause, hint });
    }
    default:
      return new IngotError('FileAccess', `the system refused to use ${path} (${code})`, { path, cause });
  }
}
