/** `ingot serve`, started as people start it, and what tests ask of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { repositoryPath } from '../fixtures.ts';

const main = repositoryPath('dist', 'ingot', 'main.js');

export interface Server extends AsyncDisposable {
  readonly url: string;
  readonly child: ChildProcess;
  /** What it has written to standard error until now. */
  log(): string;
  /** Settles when it has ended: with its exit code, and all that it wrote to standard error. */
  readonly ended: Promise<{ readonly code: number | null; readonly err: string }>;
}

export interface ServeOptions {
  readonly folder: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The shell's words before the command. */
  readonly before?: string;
  /** The shell's words that run the command elsewhere. */
  readonly through?: string;
  /** Words before `serve`. */
  readonly launch?: readonly string[];
}

/** Starts it on a free port, and waits until it says where it is. Disposing of it is SIGTERM. */
export async function startServer(
  { folder, env, before, through, launch = [] }: ServeOptions,
  ...args: string[]
): Promise<Server> {
  const cache = `${folder}/cache`;
  const options = { cwd: folder, env: { ...process.env, XDG_CACHE_HOME: cache, LOCALAPPDATA: cache, ...env } };
  const words = [main, ...launch, 'serve', '--port', '0', ...args];
  const shell = [...(before === undefined ? [] : [`${before};`]), 'exec', ...(through === undefined ? [] : [through])];
  const child =
    shell.length === 1
      ? spawn(process.execPath, words, options)
      : spawn('/bin/sh', ['-c', `${shell.join(' ')} "$0" "$@"`, process.execPath, ...words], options);
  let err = '';
  const ended = new Promise<{ code: number | null; err: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, err }));
  });
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
      const [, found] = /is served at (http\S+)\/v1/.exec(err) ?? [];
      if (found !== undefined) resolve(found);
    });
    child.on('close', () => reject(new Error(`it ended: ${err}`)));
  });
  return {
    url,
    child,
    ended,
    log: () => err,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** What its log with `--verbose` says of lost ranks: when, in milliseconds of `Date.now()`, and who. */
export function rankLosses(log: string): readonly { readonly time: number; readonly message: string }[] {
  const lines = log.split('\n').filter((line) => line.startsWith('{') && line.includes('RankLost'));
  return lines.map((line) => {
    const { time, error } = JSON.parse(line) as { time: number; error: { message: string } };
    return { time, message: error.message };
  });
}

export function post(url: string, path: string, body: string | object, init: RequestInit = {}): Promise<Response> {
  return fetch(url + path, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), ...init });
}

/** What `/metrics` says: a name, with or without its labels, to a value; the first of several. */
export async function readMetrics(
  url: string,
  headers: Record<string, string> = {},
): Promise<(name: string) => number> {
  const text = await (await fetch(`${url}/metrics`, { headers })).text();
  const lines = text.split('\n').filter((line) => !line.startsWith('#'));
  return (name) => {
    const line = lines.find((each) => each.startsWith(`${name} `) || each.startsWith(`${name}{`));
    return Number(line?.slice(line.lastIndexOf(' ') + 1));
  };
}
