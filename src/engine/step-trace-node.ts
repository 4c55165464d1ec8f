/** Records of steps into a file, each as soon as its step is done. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { systemError } from '../formats/file-node.ts';
import type { StepRecord } from './step-trace.ts';

export interface StepTrace extends Disposable {
  write(record: StepRecord): void;
}

/** @throws IngotError 'FileAccess', 'FileNotFound' where the file cannot be made. One that is full ends the trace with a warning. */
export function traceSteps(path: string): StepTrace {
  let file: number | undefined;
  try {
    file = openSync(path, 'w');
  } catch (error) {
    throw systemError(error, path);
  }
  const close = () => {
    if (file !== undefined) closeSync(file);
    file = undefined;
  };
  return {
    write(record) {
      if (file === undefined) return;
      try {
        writeSync(file, `${JSON.stringify(record)}\n`);
      } catch (error) {
        close();
        process.emitWarning(`steps are no longer traced: ${String(error)}`);
      }
    },
    [Symbol.dispose]: close,
  };
}
