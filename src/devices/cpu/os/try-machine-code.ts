/** Whether machine code runs here, tried in a process of its own: where it goes wrong, that process ends and not this one. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Limits } from './os.ts';

export type MachineCodeTrial =
  | {
      readonly runs: true;
      /** Sorted names as in Linux' /proc/cpuinfo. */
      readonly features: readonly string[];
      readonly limits: Limits;
      /** How many threads a team should have. */
      readonly threads: number;
    }
  | { readonly runs: false; readonly reason: string };

/** Takes about as long as Node takes to start. */
export function tryMachineCode(): MachineCodeTrial {
  const program = fileURLToPath(new URL('./machine-code-trial.js', import.meta.url));
  const { status, signal, stdout, error } = spawnSync(process.execPath, [program], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  if (status === 0) return JSON.parse(stdout);
  const why = error?.message ?? (signal === null ? `it ended with code ${status}` : `${signal} ended it`);
  return { runs: false, reason: `a trial in another process failed: ${why}` };
}
