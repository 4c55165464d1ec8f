/** `ingot serve` in a process of its own, as somebody would start it, for a load to be sent to. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { IngotError } from '../../base/errors.ts';

export interface OwnServer extends AsyncDisposable {
  /** Up to and with `/v1`. */
  readonly url: string;
}

/** Serves the bundled model if none is named. @throws IngotError 'DeviceLost' with what the server said if it does not start. */
export async function startServer(program: URL, model: string | undefined, signal: AbortSignal): Promise<OwnServer> {
  const args = ['serve', ...(model === undefined ? [] : [model]), '--port', '0'];
  const child = spawn(process.execPath, [fileURLToPath(program), ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  let said = '';
  const started = new Promise<string>((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4000);
      const [, url] = /(http:\/\/\S+\/v1)\b/.exec(said) ?? [];
      if (url !== undefined) resolve(url);
    });
    child.once('error', reject);
    child.once('close', () => reject(new IngotError('DeviceLost', `the server ended before it began: ${said.trim()}`)));
    signal.addEventListener('abort', () => reject(new IngotError('Aborted', 'the measurement was interrupted')));
  });
  try {
    return { url: await started, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
