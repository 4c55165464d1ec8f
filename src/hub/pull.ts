/** From the name of a model on the hub to a path on this machine: out of the cache, or fetched into it. */
import { stat, statfs } from 'node:fs/promises';
import { IngotError } from '../base/errors.ts';
import { formatBytes } from '../base/format-bytes.ts';
import { makePrivateFolder } from '../devices/cpu/cache-folder.ts';
import { systemError } from '../formats/file-node.ts';
import { CachedRepository, hubCacheFolder, partialEnding } from './cache.ts';
import { chooseFiles, ggufModels, isUsual, isWholeFolder } from './choose.ts';
import { download, isWhole } from './download.ts';
import { type Hub, hubOfEnvironment } from './http.ts';
import { type HubFile, listRepository } from './listing.ts';
import { lock } from './lock.ts';
import { formatHubName, type HubName } from './name.ts';

export interface Pulled {
  readonly path: string;
  readonly commit: string;
  /** Of all its files. */
  readonly bytes: number;
  /** What was not in the cache. */
  readonly fetchedBytes: number;
}

/** What somebody who waits for a model may want to know. */
export interface PullHooks {
  /** Called while files are fetched, in bytes. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Called with what one might wonder about: another process that pulls the same, a hub that does not answer, a file that is fetched anew. */
  readonly onNotice?: (text: string) => void;
}

export interface PullOptions extends PullHooks {
  readonly signal?: AbortSignal;
  /** Trust files of the right size that the cache holds, instead of reading all of them. */
  readonly trusting?: boolean;
  /** What the environment says if absent. */
  readonly hub?: Hub;
}

/**
 * What the hub has under this name today: what the cache holds of it is checked, and what is missing or damaged is fetched.
 * @throws IngotError as `listRepository`, `chooseFiles` and `download` do.
 */
export async function pull(name: HubName, options: PullOptions = {}): Promise<Pulled> {
  const { signal, trusting = false, onProgress, onNotice: tell = () => {} } = options;
  // Connections that are open at the same time meet the same.
  const told = new Set<string>();
  const onNotice = (text: string) => {
    if (!told.has(text)) tell(text);
    told.add(text);
  };
  const hub = { ...(options.hub ?? hubOfEnvironment(signal)), onNotice };
  const { commit, files: listed } = await listRepository(hub, name.repo);
  const { open, files } = chooseFiles(name, listed);
  const repository = new CachedRepository(name.repo);
  const missing: HubFile[] = [];
  for (const file of files) {
    const blob = repository.blobPath(file.hash.hex);
    if (!(await (trusting ? hasSize(blob, file.size) : isWhole(blob, file)))) missing.push(file);
  }
  const fetchedBytes = missing.reduce((sum, { size }) => sum + size, 0);
  const there = await Promise.all(missing.map(({ hash }) => takenBytes(repository.blobPath(hash.hex) + partialEnding)));
  await refuseFullDisk(there.reduce((sum, taken) => sum - taken, fetchedBytes));
  let done = 0;
  const onBytes = (bytes: number) => {
    done += bytes;
    onProgress?.(done, fetchedBytes);
  };
  for (const file of missing) await fetchFile(hub, repository, commit, file, onBytes);
  for (const { path, hash } of files) await repository.name(commit, path, hash.hex);
  await repository.setMain(commit);
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  return { path: repository.snapshotPath(commit, open), commit, bytes, fetchedBytes };
}

async function fetchFile(
  hub: Hub,
  repository: CachedRepository,
  commit: string,
  file: HubFile,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const target = repository.blobPath(file.hash.hex);
  await using _ = await lock(repository.lockPath(file.hash.hex), {
    ...(hub.signal && { signal: hub.signal }),
    onWait: () => hub.onNotice?.(`${file.path} is being pulled by somebody else; waiting for that`),
  });
  if (await isWhole(target, file)) return onBytes(file.size);
  const path = file.path.split('/').map(encodeURIComponent).join('/');
  const address = `${hub.endpoint}/${repository.repo}/resolve/${commit}/${path}`;
  await download(hub, { address, file, target, onBytes });
}

/** On the disk: partial files have holes. */
async function takenBytes(path: string): Promise<number> {
  return stat(path).then(
    ({ blocks }) => blocks * 512,
    () => 0,
  );
}

async function refuseFullDisk(bytes: number): Promise<void> {
  const folder = hubCacheFolder();
  try {
    makePrivateFolder(folder);
  } catch (error) {
    throw systemError(error, folder);
  }
  // Not every file system can tell.
  const disk = await statfs(folder, { bigint: true }).catch(() => undefined);
  if (disk === undefined) return;
  const free = disk.bavail * disk.bsize;
  if (free >= BigInt(bytes)) return;
  throw new IngotError(
    'FileAccess',
    `${formatBytes(bytes)} have to be fetched and the disk has ${formatBytes(Number(free))} left`,
    {
      path: folder,
      hint: 'make room, with ingot rm for example, or name another folder with HF_HUB_CACHE',
    },
  );
}

async function hasSize(path: string, size: number): Promise<boolean> {
  const stats = await stat(path).catch(() => undefined);
  return stats?.isFile() === true && stats.size === size;
}

/** The path of a model that is in the cache whole; undefined if there is none. Asks nobody. */
async function findCached(name: HubName, offline: boolean): Promise<string | undefined> {
  const repository = new CachedRepository(name.repo);
  for (const commit of await repository.commits()) {
    const path = pathIn(name, await repository.files(commit), offline);
    if (path !== undefined) return repository.snapshotPath(commit, path);
  }
  return undefined;
}

/** Below a snapshot; '' is all of it. */
function pathIn(name: HubName, files: Parameters<typeof isWholeFolder>[0], offline: boolean): string | undefined {
  try {
    const { open } = chooseFiles(name, files);
    if (open === undefined) return isWholeFolder(files) ? '' : undefined;
    // The only one that was pulled need not be the one that the repository would give.
    return name.part !== undefined || offline || isUsual(open) ? open : undefined;
  } catch {
    return undefined;
  }
}

/** What the cache has is used as it is, the rest is pulled. @throws IngotError 'FileNotFound' when offline. */
export async function findOrPull(name: HubName, offline: boolean, options: PullOptions = {}): Promise<string> {
  const cached = await findCached(name, offline);
  if (cached !== undefined) return cached;
  if (!offline) return (await pull(name, { ...options, trusting: true })).path;
  const repository = new CachedRepository(name.repo);
  const files = (await Promise.all((await repository.commits()).map((commit) => repository.files(commit)))).flat();
  const there = [...new Set(ggufModels(files).map((model) => model.name))];
  throw new IngotError(
    'FileNotFound',
    `${formatHubName(name)} is not in the cache, or not all of it, and this is offline`,
    {
      path: repository.folder,
      hint: there.length > 0 ? `it holds ${there.join(', ')}` : `pull it first: ingot pull ${formatHubName(name)}`,
    },
  );
}
