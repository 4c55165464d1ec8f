/** A bar on standard error for work that takes more than a second; nothing where that is not a terminal. */
import { SingleBar } from 'cli-progress';
import { formatBytes } from './report.ts';

export interface Progress extends Disposable {
  update(done: number, total: number): void;
}

/** `what` says what is being done; amounts are bytes. */
export function showProgress(what: string): Progress {
  const begin = performance.now();
  let bar: SingleBar | undefined;
  return {
    update(done, total) {
      if (bar === undefined) {
        if (performance.now() - begin < 1000 || !process.stderr.isTTY || done >= total) return;
        bar = new SingleBar({
          format: `${what} {bar} {percentage}% of ${formatBytes(total)}, {eta_formatted} left`,
          barCompleteChar: '█',
          barIncompleteChar: '░',
          clearOnComplete: true,
          hideCursor: true,
          stream: process.stderr,
        });
        bar.start(total, done);
      }
      bar.update(done);
    },
    [Symbol.dispose]() {
      bar?.stop();
    },
  };
}
