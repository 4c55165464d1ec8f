/**
 * Machine code that is kept between starts, a file a kernel, in the user's folder for caches: emitting a model's kernels takes
 * longer than reading them. A file holds the SHA-256 of the rest of it; what is torn or altered is not used. Kernels of another
 * version of Ingot go when the first of this one is kept.
 */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, makeFolder } from './cache-folder.ts';
import { codeStamp } from './code-stamp.ts';

/** A kernel without what only people look at. */
export interface StoredCode {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly alignment: number;
}

export interface CodeCache {
  /** `key`: equal for equal kernels. */
  find(key: string): StoredCode | undefined;
  keep(key: string, code: StoredCode): void;
}

const hash = (...parts: readonly (string | Uint8Array)[]) => {
  const sum = createHash('sha256');
  for (const part of parts) sum.update(part);
  return sum.digest();
};

const prefix = 'code-';
const digestBytes = 32;

/** Undefined where there is no folder that this user alone can write. */
export function openCodeCache(): CodeCache | undefined {
  const folder = join(cacheFolder(), prefix + hash(codeStamp()).toString('hex').slice(0, 16));
  try {
    makeFolder(folder);
    const { uid, mode } = lstatSync(folder);
    const isOwn = process.getuid === undefined || uid === process.getuid();
    if (!isOwn || (process.platform !== 'win32' && (mode & 0o022) !== 0)) return undefined;
    for (const name of readdirSync(cacheFolder())) {
      if (name.startsWith(prefix) && !folder.endsWith(name)) {
        rmSync(join(cacheFolder(), name), { recursive: true, force: true });
      }
    }
  } catch {
    return undefined;
  }
  const pathOf = (key: string) => join(folder, hash(key).toString('hex').slice(0, 40));
  return {
    find(key) {
      try {
        return decode(readFileSync(pathOf(key)), key);
      } catch {
        return undefined;
      }
    },
    keep(key, code) {
      const path = pathOf(key);
      const temporary = `${path}.${process.pid}`;
      try {
        writeFileSync(temporary, encode(key, code), { mode: 0o600 });
        renameSync(temporary, path);
      } catch {
        rmSync(temporary, { force: true });
      }
    },
  };
}

/** Digest, length of the head, head as JSON, code. */
function encode(key: string, { name, bytes, alignment }: StoredCode): Uint8Array {
  const head = Buffer.from(JSON.stringify({ name, alignment }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  return Buffer.concat([hash(key, length, head, bytes), length, head, bytes]);
}

function decode(file: Buffer, key: string): StoredCode | undefined {
  const rest = file.subarray(digestBytes);
  if (rest.length < 4 || !hash(key, rest).equals(file.subarray(0, digestBytes))) return undefined;
  const end = 4 + rest.readUInt32LE();
  const { name, alignment } = JSON.parse(rest.toString('utf8', 4, end)) as Pick<StoredCode, 'name' | 'alignment'>;
  return { name, alignment, bytes: rest.subarray(end) };
}
