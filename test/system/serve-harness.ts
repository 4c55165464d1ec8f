/** Starts `ingot serve`, as the bundle that the package ships, on a free port, and waits until it says where it is. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { repositoryPath } from '../fixtures.ts';

export interface Server extends AsyncDisposable {
  readonly url: string;
  readonly child: ChildProcess;
  readonly ended: Promise<{ code: number | null; err: string }>;
}

/** What it keeps lies in `folder`. */
export async function serve(folder: string, ...args: readonly string[]): Promise<Server> {
  const env = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache'), LOCALAPPDATA: join(folder, 'cache') };
  const main = repositoryPath('dist', 'ingot', 'main.js');
  const child = spawn(process.execPath, [main, 'serve', '--port', '0', ...args], { cwd: folder, env });
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
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
