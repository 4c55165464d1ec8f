/**
 * Machine code that is kept between starts in the user's folder for caches, a file a kernel or a whole program: making it takes
 * longer than reading it. A file holds the SHA-256 of the rest of it; what is torn or altered is not used. Files of another
 * version of Ingot go when this one opens the folder.
 */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, makePrivateFolder } from './cache-folder.ts';
import { codeStamp } from './code-stamp.ts';

/** What is kept by a key: bytes, and what has to be known of them, as JSON can say it. */
export interface Kept<H> {
  readonly head: H;
  readonly bytes: Uint8Array;
}

export interface CodeCache {
  /** `key`: equal for equal contents; it says what `H` is. */
  find<H>(key: string): Kept<H> | undefined;
  keep<H>(key: string, kept: Kept<H>): void;
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
    makePrivateFolder(folder);
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
    find<H>(key: string) {
      try {
        return decode<H>(readFileSync(pathOf(key)), key);
      } catch {
        return undefined;
      }
    },
    keep<H>(key: string, kept: Kept<H>) {
      const path = pathOf(key);
      const temporary = `${path}.${process.pid}`;
      try {
        writeFileSync(temporary, encode(key, kept), { mode: 0o600 });
        renameSync(temporary, path);
      } catch {
        rmSync(temporary, { force: true });
      }
    },
  };
}

/** Digest, length of the head, head as JSON, bytes. */
function encode<H>(key: string, { head, bytes }: Kept<H>): Uint8Array {
  const json = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  return Buffer.concat([hash(key, length, json, bytes), length, json, bytes]);
}

function decode<H>(file: Buffer, key: string): Kept<H> | undefined {
  const rest = file.subarray(digestBytes);
  if (rest.length < 4 || !hash(key, rest).equals(file.subarray(0, digestBytes))) return undefined;
  const end = 4 + rest.readUInt32LE();
  return { head: JSON.parse(rest.toString('utf8', 4, end)) as H, bytes: rest.subarray(end) };
}
