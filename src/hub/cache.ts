/**
 * Where fetched files lie: the cache of Hugging Face's own tools, in its layout ("Understand caching" in the manual of
 * huggingface_hub), so that a model is fetched once for all of them:
 *
 *   models--ORG--REPO/refs/main             the commit that "main" was when it was pulled
 *   models--ORG--REPO/blobs/HASH            contents, by their SHA-256 (small files: by the hash that git gives them)
 *   models--ORG--REPO/snapshots/COMMIT/...  the names that the repository has for them: links to blobs
 */
import { link, mkdir, readdir, readFile, rename, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative, sep } from 'node:path';
import { systemError } from '../formats/file-node.ts';

/** By the conventions of huggingface_hub. */
export function hubCacheFolder(): string {
  const { HF_HUB_CACHE: cache, HF_HOME: home, XDG_CACHE_HOME: xdg } = process.env;
  return cache || join(home || join(xdg || join(homedir(), '.cache'), 'huggingface'), 'hub');
}

export const partialEnding = '.ingot-partial';

/** The folder of one repository in the cache. Nothing has to be there. */
export class CachedRepository {
  readonly repo: string;
  readonly folder: string;

  constructor(repo: string) {
    this.repo = repo;
    this.folder = join(hubCacheFolder(), `models--${repo.replace('/', '--')}`);
  }

  blobPath(hash: string): string {
    return join(this.folder, 'blobs', hash);
  }

  /** Beside those of huggingface_hub, under another name: each kind knows only its own. */
  lockPath(hash: string): string {
    return join(hubCacheFolder(), '.locks', `models--${this.repo.replace('/', '--')}`, `${hash}.ingot-lock`);
  }

  snapshotPath(commit: string, path = ''): string {
    return join(this.folder, 'snapshots', commit, ...path.split('/').filter(Boolean));
  }

  /** The commits that there is something of, the one that is "main" first. */
  async commits(): Promise<readonly string[]> {
    const main = (await readFile(join(this.folder, 'refs', 'main'), 'utf8').catch(() => '')).trim();
    const all = await readdir(join(this.folder, 'snapshots')).catch(() => []);
    return all.filter((name) => /^[0-9a-f]{40}$/.test(name)).sort((a, b) => Number(b === main) - Number(a === main));
  }

  /** Files of a snapshot whose contents are there, with their sizes. */
  async files(commit: string): Promise<readonly { readonly path: string; readonly size: number }[]> {
    const root = this.snapshotPath(commit);
    const names = await readdir(root, { recursive: true }).catch(() => []);
    const found = await Promise.all(
      names.map(async (name) => ({
        path: name.replaceAll(sep, '/'),
        stats: await stat(join(root, name)).catch(() => undefined),
      })),
    );
    return found.flatMap(({ path, stats }) => (stats?.isFile() ? [{ path, size: stats.size }] : []));
  }

  /** Gives contents that are there a name in a snapshot, at once or not at all. */
  async name(commit: string, path: string, hash: string): Promise<void> {
    const from = this.snapshotPath(commit, path);
    const to = this.blobPath(hash);
    const temporary = `${from}.${process.pid}${partialEnding}`;
    try {
      await mkdir(dirname(from), { recursive: true });
      await unlink(temporary).catch(() => {});
      // Windows lets few users make symbolic links.
      await symlink(relative(dirname(from), to), temporary).catch(() => link(to, temporary));
      await rename(temporary, from);
    } catch (error) {
      throw systemError(error, from);
    }
  }

  async setMain(commit: string): Promise<void> {
    const path = join(this.folder, 'refs', 'main');
    const temporary = `${path}.${process.pid}${partialEnding}`;
    try {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(temporary, commit);
      await rename(temporary, path);
    } catch (error) {
      throw systemError(error, path);
    }
  }
}

/** Every repository of models in the cache, by name. */
export async function cachedRepositories(): Promise<readonly CachedRepository[]> {
  const names = await readdir(hubCacheFolder()).catch(() => []);
  return names.flatMap((name) => {
    const [, org, repo] = /^models--(.+?)--(.+)$/.exec(name) ?? [];
    return org === undefined ? [] : [new CachedRepository(`${org}/${repo}`)];
  });
}
