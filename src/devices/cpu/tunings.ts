/**
 * Schedules that were found for this machine, remembered between starts: by processor, number of threads, instruction set and
 * class of models. What another version of Ingot found is not used: its kernels may have been others.
 */
import { createRequire } from 'node:module';
import { recall, remember } from './cache-folder.ts';
import { anyModel } from './matrix-shapes.ts';
import type { OperatingSystem } from './os/os.ts';
import { choices, type Schedule } from './schedule.ts';
import type { Target } from './target.ts';
import type { Tuned } from './tune.ts';

export interface Tuning extends Tuned {
  /** When it was found, as ISO 8601 says it. */
  readonly taken: string;
  readonly version: string;
}

/** `unused`: why it is not used. */
export type Recalled =
  | { readonly kind: 'used'; readonly tuning: Tuning }
  | { readonly kind: 'unused'; readonly reason: string };

const { version } = createRequire(import.meta.url)('ingot/package.json') as { version: string };
const file = 'tunings';

function machineOf(system: OperatingSystem, threads: number, { name }: Target): string {
  return `${system.cpuFeatures().model.trim()}, ${threads} threads, ${name}`;
}

type Kept = Readonly<Record<string, unknown>>;
const record = (value: unknown): Kept => (typeof value === 'object' && value !== null ? (value as Kept) : {});

/** All of a machine like this, by class; `threads`: as many as the process may use. */
export function recallTunings(system: OperatingSystem, threads: number, target: Target): ReadonlyMap<string, Recalled> {
  const kept = record(record(recall(file))[machineOf(system, threads, target)]);
  return new Map(Object.entries(kept).map(([name, value]) => [name, examine(value, target.schedule)]));
}

/** Where nothing was quicker than what is usual, what is usual now counts. */
function examine(value: unknown, usual: Schedule): Recalled {
  const { schedule, gains, taken, version: made } = record(value);
  if (made !== version) return { kind: 'unused', reason: `ingot ${String(made)} found it, this is ${version}` };
  if (!isSchedule(schedule) || typeof taken !== 'string' || !Array.isArray(gains) || !gains.every(isGain)) {
    return { kind: 'unused', reason: 'it says what no tuner does' };
  }
  return { kind: 'used', tuning: { schedule: gains.length === 0 ? usual : schedule, gains, taken, version } };
}

function isSchedule(value: unknown): value is Schedule {
  const given = record(value);
  const names = Object.keys(choices) as (keyof Schedule)[];
  return names.every((name) => (choices[name] as readonly unknown[]).includes(given[name]));
}

function isGain(value: unknown): value is Tuned['gains'][number] {
  const { work, gain } = record(value);
  return typeof work === 'string' && Number(gain) > 0;
}

/** The target with what was found for a class of models, else for any; `onUnused` is told why something is not used. */
export function tunedTarget(
  system: OperatingSystem,
  threads: number,
  target: Target,
  wanted: string,
  onUnused: (reason: string) => void = () => {},
): Target {
  const tunings = recallTunings(system, threads, target);
  const found = tunings.get(wanted) ?? tunings.get(anyModel);
  switch (found?.kind) {
    case undefined:
      return target;
    case 'unused':
      onUnused(found.reason);
      return target;
    case 'used':
      return { ...target, schedule: found.tuning.schedule };
    default:
      return found satisfies never;
  }
}

/** False where it cannot be kept. */
export async function rememberTuning(
  system: OperatingSystem,
  threads: number,
  target: Target,
  of: string,
  tuned: Tuned,
): Promise<boolean> {
  const all = record(recall(file));
  const machine = machineOf(system, threads, target);
  const tuning: Tuning = { ...tuned, taken: new Date().toISOString(), version };
  return remember(file, { ...all, [machine]: { ...record(all[machine]), [of]: tuning } });
}
