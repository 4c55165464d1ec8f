/**
 * A lock that is a file: whoever makes it holds it, and touches it as long as it lives. One whose process is gone, or that was
 * not touched for a while (a process on another machine that shares the disk), is taken over.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { throwIfAborted } from '../base/errors.ts';
import { isProcessAlive } from '../base/process-alive-node.ts';
import { systemError } from '../formats/file-node.ts';

const touchEvery = 2_000;
const staleAfter = 20_000;
const lookEvery = 200;

interface LockOptions {
  readonly signal?: AbortSignal;
  /** Called once, if somebody else holds it. */
  readonly onWait?: () => void;
}

/** Waits until the lock is ours. @throws IngotError 'FileAccess', 'Aborted'. */
export async function lock(path: string, { signal, onWait }: LockOptions = {}): Promise<AsyncDisposable> {
  const mine = JSON.stringify({ host: hostname(), pid: process.pid, id: randomBytes(8).toString('hex') });
  let waiting = false;
  for (;;) {
    throwIfAborted(signal);
    if (await make(path, mine)) return hold(path, mine);
    if (!(await isHeld(path))) continue;
    if (!waiting) onWait?.();
    waiting = true;
    await sleep(lookEvery);
  }
}

/** Whether somebody holds the lock now; one that nobody holds any more is removed. */
export async function isHeld(path: string): Promise<boolean> {
  const owner = await readFile(path, 'utf8').catch(() => undefined);
  const touched = await stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );
  if (owner === undefined || touched === undefined) return false;
  if (!isStale(owner, touched)) return true;
  await removeStale(path, owner);
  return false;
}

async function make(path: string, mine: string): Promise<boolean> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, mine, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw systemError(error, path);
  }
}

function isStale(owner: string, touched: number): boolean {
  if (Date.now() - touched > staleAfter) return true;
  try {
    const { host, pid } = JSON.parse(owner) as { host?: unknown; pid?: unknown };
    return host === hostname() && typeof pid === 'number' && !isProcessAlive(pid);
  } catch {
    // It is being written.
    return false;
  }
}

/** Two that find the same stale lock must not remove the new one of the faster of them: what was taken away is looked at again. */
async function removeStale(path: string, owner: string): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await rename(path, aside);
    if ((await readFile(aside, 'utf8')) === owner) await unlink(aside);
    else await rename(aside, path);
  } catch {
    // Somebody else was faster.
  }
}

function hold(path: string, mine: string): AsyncDisposable {
  const timer = setInterval(() => {
    const now = new Date();
    void utimes(path, now, now).catch(() => {});
  }, touchEvery);
  timer.unref();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      const owner = await readFile(path, 'utf8').catch(() => undefined);
      if (owner === mine) await unlink(path).catch(() => {});
    },
  };
}
