/** What a repository holds, as its hub lists it: the API is spoken by `@huggingface/hub`. A listing is not trusted. */
import { IngotError, isIngotError } from '../base/errors.ts';
import { ask, type Hub, networkError, withAttempts } from './http.ts';

/** `sha256` of files in large file storage, `git` (SHA-1 with git's header for blobs) of the others. */
export interface FileHash {
  readonly kind: 'sha256' | 'git';
  readonly hex: string;
}

export interface HubFile {
  /** Below the root of the repository; safe to join to a folder. */
  readonly path: string;
  readonly size: number;
  readonly hash: FileHash;
}

export interface Listing {
  readonly repo: string;
  /** All of it is of this commit. */
  readonly commit: string;
  readonly files: readonly HubFile[];
}

const maxFiles = 100_000;
/** One page lists a thousand files. */
const maxAnswerBytes = 16 << 20;

/** @throws IngotError 'FileNotFound' for a repository that there is not, 'FileAccess', 'Network', 'InvalidFile', 'Aborted'. */
export async function listRepository(hub: Hub, repo: string): Promise<Listing> {
  // Loaded by those only who ask a hub.
  const { listFiles, modelInfo } = await import('@huggingface/hub');
  const common = { hubUrl: hub.endpoint, fetch: fetchFrom(hub) };
  const asked = modelInfo({ name: repo, revision: 'main', additionalFields: ['sha'], ...common });
  const { sha: commit } = await asked.catch((error: unknown) => {
    if (!isIngotError(error, 'FileAccess') && !isIngotError(error, 'FileNotFound')) throw error;
    const { code, message, hint = '' } = error;
    throw new IngotError(code, `there is no model ${repo}, or it is not public: ${message}`, { hint, cause: error });
  });
  if (typeof commit !== 'string' || !/^[0-9a-f]{40}$/.test(commit)) throw lie(hub, repo, 'it names no commit');
  const files: HubFile[] = [];
  const named = { type: 'model', name: repo } as const;
  for await (const entry of listFiles({ repo: named, recursive: true, revision: commit, ...common })) {
    if (entry.type !== 'file') continue;
    if (files.length === maxFiles) throw lie(hub, repo, `it has more than ${maxFiles} files`);
    files.push(checkedFile(hub, repo, entry));
  }
  return { repo, commit, files };
}

interface Entry {
  readonly path: string;
  readonly size: number;
  readonly oid?: string;
  readonly lfs?: { readonly oid: string; readonly size: number };
}

function checkedFile(hub: Hub, repo: string, { path, size: plainSize, oid, lfs }: Entry): HubFile {
  const size = lfs?.size ?? plainSize;
  const hash: FileHash =
    lfs === undefined ? { kind: 'git', hex: String(oid) } : { kind: 'sha256', hex: String(lfs.oid) };
  if (!isSafePath(path)) throw lie(hub, repo, `it names a file ${JSON.stringify(path)?.slice(0, 80)}`);
  if (!Number.isSafeInteger(size) || size < 0) throw lie(hub, repo, `${path} has ${size} bytes`);
  if (!(hash.kind === 'git' ? /^[0-9a-f]{40}$/ : /^[0-9a-f]{64}$/).test(hash.hex))
    throw lie(hub, repo, `${path} has no hash`);
  return { path, size, hash };
}

/** Relative, and inside of whatever folder it is joined to, on any system. */
function isSafePath(path: unknown): path is string {
  if (typeof path !== 'string' || path.length > 1000) return false;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
  return path.split('/').every((name) => name !== '' && name !== '.' && name !== '..' && !/[\\:\x00-\x1f]/.test(name));
}

function lie(hub: Hub, repo: string, what: string): IngotError {
  return new IngotError('InvalidFile', `the listing of ${repo} cannot be right: ${what}`, { path: hub.endpoint });
}

/** `fetch` as the library calls it; only answers that succeeded come back. */
function fetchFrom(hub: Hub): typeof fetch {
  return async (input) => {
    const url = input instanceof Request ? input.url : String(input);
    // The next page of a listing is where the answer says: not anywhere.
    if (!url.startsWith(`${hub.endpoint}/`))
      throw networkError(`${hub.endpoint} continues its listing at ${url.slice(0, 80)}`);
    return withAttempts(hub, async () => {
      using answer = await ask(hub, url, { accept: 'application/json' });
      const parts: Uint8Array[] = [];
      let length = 0;
      for await (const part of answer.chunks()) {
        length += part.length;
        if (length > maxAnswerBytes) throw networkError(`${url} answers with more than ${maxAnswerBytes} bytes`);
        parts.push(part);
      }
      const body = Buffer.concat(parts);
      try {
        JSON.parse(body.toString('utf8'));
      } catch (cause) {
        throw networkError(`${url} answers with something that is not JSON`, cause);
      }
      return new Response(body, { status: answer.status, headers: answer.headers });
    });
  };
}
