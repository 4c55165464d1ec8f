/** What the cache holds of a repository, as people speak of it, and its removal. */
import { readdir, realpath, rm, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { IngotError } from '../base/errors.ts';
import { systemError } from '../formats/file-node.ts';
import { type CachedRepository, partialEnding } from './cache.ts';
import { chooseFiles, ggufModels, isWholeFolder } from './choose.ts';
import { isHeld } from './lock.ts';
import { formatHubName, type HubName } from './name.ts';

export interface CachedModel {
  readonly name: string;
  readonly bytes: number;
  /** `incomplete`: parts or shards are missing. `partial`: a pull was stopped in the middle of a file. */
  readonly state: 'complete' | 'incomplete' | 'partial';
  readonly commit?: string;
}

/** Newest first; one that several commits have the same name for is listed once. */
export async function cachedModels(repository: CachedRepository): Promise<readonly CachedModel[]> {
  const { repo } = repository;
  const models = new Map<string, CachedModel>();
  const add = (model: CachedModel) => models.set(model.name, models.get(model.name) ?? model);
  for (const commit of await repository.commits()) {
    const files = await repository.files(commit);
    for (const { name: path, parts, count } of ggufModels(files)) {
      const name = formatHubName({ repo, part: parts.length === 1 ? parts[0].path : path });
      add({ name, bytes: sum(parts), state: parts.length === count ? 'complete' : 'incomplete', commit });
    }
    const weights = files.filter(({ path }) => path.endsWith('.safetensors'));
    if (weights.length === 0) continue;
    const state = isWholeFolder(files) ? 'complete' : 'incomplete';
    add({
      name: formatHubName({ repo }),
      bytes: sum(files.filter(({ path }) => !path.endsWith('.gguf'))),
      state,
      commit,
    });
  }
  const bytes = await partialBytes(repository);
  if (bytes > 0) models.set('partial', { name: formatHubName({ repo }), bytes, state: 'partial' });
  return [...models.values()];
}

function sum(files: readonly { readonly size: number }[]): number {
  return files.reduce((total, { size }) => total + size, 0);
}

/** What they take on the disk: they have holes. */
async function partialBytes(repository: CachedRepository): Promise<number> {
  const folder = join(repository.folder, 'blobs');
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(partialEnding));
  const all = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)));
  return all.reduce((total, stats) => total + (stats?.blocks ?? 0) * 512, 0);
}

/** The bytes that are free then. @throws IngotError 'FileNotFound', 'Usage' for what could be several, 'FileAccess' during a pull. */
export async function removeModel(repository: CachedRepository, name: HubName): Promise<number> {
  const locks = dirname(repository.lockPath(''));
  for (const file of await readdir(locks).catch(() => [])) {
    if (file.endsWith('.ingot-lock') && (await isHeld(join(locks, file)))) {
      throw new IngotError('FileAccess', `${name.repo} is being pulled`, {
        path: repository.folder,
        hint: 'wait, or stop that',
      });
    }
  }
  try {
    return await (name.part === undefined ? removeAll(repository) : removePart(repository, name));
  } catch (error) {
    throw systemError(error, repository.folder);
  }
}

async function removeAll(repository: CachedRepository): Promise<number> {
  const folder = join(repository.folder, 'blobs');
  const names = await readdir(folder).catch(() => undefined);
  if (names === undefined) throw absent(repository, repository.repo);
  const all = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)));
  await rm(repository.folder, { recursive: true, force: true });
  return all.reduce((total, stats) => total + (stats?.blocks ?? 0) * 512, 0);
}

/** Names of files in every snapshot, and contents that have no other name. */
async function removePart(repository: CachedRepository, name: HubName): Promise<number> {
  const used = new Map<string, number>();
  const removed: { readonly path: string; readonly blob: string; readonly size: number }[] = [];
  for (const commit of await repository.commits()) {
    const files = await repository.files(commit);
    const chosen = new Set(filesOf(name, files));
    for (const file of files) {
      const path = repository.snapshotPath(commit, file.path);
      const blob = basename(await realpath(path));
      if (chosen.has(file)) removed.push({ path, blob, size: file.size });
      else used.set(blob, (used.get(blob) ?? 0) + 1);
    }
  }
  if (removed.length === 0) throw absent(repository, formatHubName(name));
  const freed = new Map<string, number>();
  for (const { path, blob, size } of removed) {
    await unlink(path);
    if (used.has(blob)) continue;
    await unlink(repository.blobPath(blob)).catch(() => {});
    freed.set(blob, size);
  }
  return [...freed.values()].reduce((total, size) => total + size, 0);
}

/** Of one snapshot: it need not hold any. */
function filesOf<F extends { readonly path: string; readonly size: number }>(
  name: HubName,
  files: readonly F[],
): readonly F[] {
  try {
    return chooseFiles(name, files).files;
  } catch (error) {
    if (error instanceof IngotError && error.code === 'FileNotFound') return [];
    throw error;
  }
}

function absent({ folder }: CachedRepository, what: string): IngotError {
  return new IngotError('FileNotFound', `${what} is not in the cache`, {
    path: folder,
    hint: 'ingot list shows what is',
  });
}
