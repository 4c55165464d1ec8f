/** A bar on standard error for work that takes more than a second; nothing where that is not a terminal. */
import type { SingleBar } from 'cli-progress';
import { formatBytes } from './report.ts';

export interface Progress extends Disposable {
  update(done: number, total: number): void;
}

/** `what` says what is being done; amounts are bytes, or `things`. */
export function showProgress(what: string, things?: string): Progress {
  const begin = performance.now();
  let wanted = false;
  let ended = false;
  let bar: SingleBar | undefined;
  /** The library is loaded only for a bar that is shown. */
  const show = async (done: number, total: number) => {
    const { default: library } = await import('cli-progress');
    if (ended) return;
    bar = new library.SingleBar({
      format: `${what} {bar} {percentage}% of ${things === undefined ? formatBytes(total) : `${total} ${things}`}, {eta_formatted} left`,
      barCompleteChar: '█',
      barIncompleteChar: '░',
      clearOnComplete: true,
      hideCursor: true,
      stream: process.stderr,
    });
    bar.start(total, done);
  };
  return {
    update(done, total) {
      if (ended) return;
      bar?.update(done);
      if (wanted || performance.now() - begin < 1000 || !process.stderr.isTTY || done >= total) return;
      wanted = true;
      void show(done, total);
    },
    [Symbol.dispose]() {
      ended = true;
      bar?.stop();
    },
  };
}
