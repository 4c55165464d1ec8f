/**
 * What the machine can do, for a command that compares with it: measured where nothing is remembered of it, in a process of its own,
 * since what that takes of memory is not the command's.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { throwIfAborted } from '../base/errors.ts';
import { recallMeasurements } from '../devices/cpu/measurements.ts';
import { findSystem } from '../devices/cpu/os/open.ts';
import { whyNot } from '../devices/cpu/target.ts';

/** Without figures the command goes on: then it compares with nothing. @throws IngotError 'Aborted'. */
export async function measureFirst(device: string | undefined, signal: AbortSignal): Promise<void> {
  const found = findSystem();
  if ((device ?? 'cpu') !== 'cpu' || !found.usable || whyNot(found.system) !== undefined) return;
  if (recallMeasurements(found.system) !== undefined) return;
  // What it says of its work is for standard error; its findings are not asked for.
  const child = spawn(process.execPath, [process.argv[1], 'doctor', '--measure'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    signal,
    killSignal: 'SIGTERM',
  });
  await once(child, 'close').catch(() => {});
  throwIfAborted(signal);
}
