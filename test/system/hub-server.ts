/**
 * A hub on this machine for tests: the parts of huggingface.co's API that a pull uses, and a second server to which it sends for
 * large files, as the real one does. `onContents` may spoil any answer that carries contents.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Repository {
  commit: string;
  files: Record<string, Uint8Array>;
  /** Listed, but different from what is served. */
  listed?: Record<string, { readonly size?: number; readonly path?: string }>;
}

export interface Asked {
  readonly server: 'hub' | 'cdn';
  readonly url: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** True where it has answered by itself. */
type Spoiler = (request: IncomingMessage, response: ServerResponse, contents: Uint8Array) => boolean;

export const commitOf = (text: string) => createHash('sha1').update(text).digest('hex');
const hashes = new WeakMap<Uint8Array, string>();
/** Remembered: hashing large contents for each request would take longer than sending them. */
function sha256(bytes: Uint8Array): string {
  const hash = hashes.get(bytes) ?? createHash('sha256').update(bytes).digest('hex');
  hashes.set(bytes, hash);
  return hash;
}
const gitHash = (bytes: Uint8Array) => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
const isLarge = (path: string) => /\.(gguf|safetensors)$/.test(path);

export class TestHub implements AsyncDisposable {
  readonly repositories = new Map<string, Repository>();
  readonly asked: Asked[] = [];
  onContents: Spoiler = () => false;
  /** For everything that the hub itself is asked. */
  onHub: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;
  readonly #hub: Server;
  readonly #cdn: Server;

  private constructor() {
    this.#hub = createServer((request, response) => this.#answerHub(request, response));
    this.#cdn = createServer((request, response) => this.#answerCdn(request, response));
  }

  static async start(): Promise<TestHub> {
    const hub = new TestHub();
    for (const server of [hub.#hub, hub.#cdn]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    }
    return hub;
  }

  get endpoint(): string {
    return addressOf(this.#hub);
  }

  get cdn(): string {
    return addressOf(this.#cdn);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  #log(server: Asked['server'], { url = '', headers }: IncomingMessage): void {
    this.asked.push({ server, url, range: headers.range, authorization: headers.authorization });
  }

  #answerHub(request: IncomingMessage, response: ServerResponse): void {
    this.#log('hub', request);
    if (this.onHub(request, response)) return;
    const url = new URL(request.url ?? '', this.endpoint);
    const [, api, resolved] = /^\/(?:api\/models\/([^/]+\/[^/]+)\/|([^/]+\/[^/]+)\/resolve\/)/.exec(url.pathname) ?? [];
    const repository = this.repositories.get(api ?? resolved ?? '');
    if (repository === undefined) {
      // What the real one says of private repositories, too.
      response
        .writeHead(401, { 'x-error-code': 'RepoNotFound', 'x-error-message': 'Invalid username or password.' })
        .end();
    } else if (api === undefined) {
      this.#resolve(repository, decodeURIComponent(url.pathname.split('/').slice(5).join('/')), request, response);
    } else if (url.pathname.includes('/tree/')) {
      this.#list(repository, url, response);
    } else {
      json(response, {
        _id: '0',
        id: api,
        sha: repository.commit,
        private: false,
        downloads: 0,
        likes: 0,
        gated: false,
      });
    }
  }

  /** Two files a page. */
  #list({ files, listed = {} }: Repository, url: URL, response: ServerResponse): void {
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const entries = Object.entries(files).map(([path, bytes]) => ({
      type: 'file',
      oid: gitHash(bytes),
      size: bytes.length,
      ...(isLarge(path) && { lfs: { oid: sha256(bytes), size: listed[path]?.size ?? bytes.length, pointerSize: 134 } }),
      path: listed[path]?.path ?? path,
    }));
    if (from + 2 < entries.length) {
      url.searchParams.set('cursor', String(from + 2));
      response.setHeader('link', `<${url.href}>; rel="next"`);
    }
    json(response, entries.slice(from, from + 2));
  }

  #resolve({ files }: Repository, path: string, request: IncomingMessage, response: ServerResponse): void {
    const contents = files[path];
    if (contents === undefined) response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
    else if (!isLarge(path)) this.#send(contents, request, response);
    else
      response
        .writeHead(302, { location: `${this.cdn}/${sha256(contents)}?signed`, 'x-linked-etag': sha256(contents) })
        .end();
  }

  #answerCdn(request: IncomingMessage, response: ServerResponse): void {
    this.#log('cdn', request);
    const hash = request.url?.slice(1, 65);
    const all = [...this.repositories.values()].flatMap(({ files }) => Object.values(files));
    const contents = all.find((bytes) => sha256(bytes) === hash);
    if (contents === undefined) response.writeHead(404).end();
    else this.#send(contents, request, response);
  }

  #send(contents: Uint8Array, request: IncomingMessage, response: ServerResponse): void {
    if (!this.onContents(request, response, contents)) sendRange(contents, request, response);
  }
}

export function sendRange(contents: Uint8Array, request: IncomingMessage, response: ServerResponse): void {
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
  const part = from === undefined ? contents : contents.subarray(Number(from), Number(to) + 1);
  const range = from === undefined ? {} : { 'content-range': `bytes ${from}-${to}/${contents.length}` };
  response.writeHead(from === undefined ? 200 : 206, { 'content-length': part.length, ...range }).end(part);
}

function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function json(response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
}
