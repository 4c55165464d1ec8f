/**
 * What Ingot remembers between starts and can find out again: small JSON files in the user's folder for caches, by the XDG Base
 * Directory Specification, Apple's File System Programming Guide and Windows' known folder "Local". Deleting it is safe.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { makeFolder } from '../../base/make-folder-node.ts';
import { createFile } from '../../formats/atomic-write-node.ts';

export function cacheFolder(): string {
  const { XDG_CACHE_HOME: xdg, LOCALAPPDATA: local } = process.env;
  // The specification has relative paths ignored.
  if (xdg !== undefined && isAbsolute(xdg)) return join(xdg, 'ingot');
  switch (process.platform) {
    case 'win32':
      return join(local ?? join(homedir(), 'AppData', 'Local'), 'ingot', 'Cache');
    case 'darwin':
      return join(homedir(), 'Library', 'Caches', 'ingot');
    default:
      return join(homedir(), '.cache', 'ingot');
  }
}

const pathOf = (name: string) => join(cacheFolder(), `${name}.json`);

/** What was remembered by this name; undefined where nothing was, or nothing that can be read. The caller checks its shape. */
export function recall(name: string): unknown {
  try {
    return JSON.parse(readFileSync(pathOf(name), 'utf8'));
  } catch {
    return undefined;
  }
}

/** What is kept there is the user's alone. @throws what the system says. */
export function makePrivateFolder(path: string): void {
  makeFolder(path, 0o700);
}

/** Whole or not at all. False where the folder cannot be written: then it has to be found out again. */
export async function remember(name: string, value: unknown): Promise<boolean> {
  try {
    makePrivateFolder(cacheFolder());
    await using file = await createFile(pathOf(name), { overwrite: true });
    await file.write(new TextEncoder().encode(`${JSON.stringify(value, undefined, 2)}\n`));
    await file.commit();
    return true;
  } catch {
    return false;
  }
}
