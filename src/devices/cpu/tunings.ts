/**
 * Schedules and numbers of threads that were found for this machine, remembered between starts: by processor, number of threads, instruction set and
 * class of models. What another version of Ingot found is not used: its kernels may have been others.
 */
import { createRequire } from 'node:module';
import { recall, remember } from './cache-folder.ts';
import { anyModel } from './matrix-shapes.ts';
import type { OperatingSystem } from './os/os.ts';
import { choices, type Schedule } from './schedule.ts';
import type { Target } from './target.ts';
import type { Tuned } from './tune.ts';

export type Choice = Pick<Tuned, 'schedule' | 'threads'>;

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

/** All of a machine like this, by class; `usable`: as many threads as the process may use. */
export function recallTunings(system: OperatingSystem, usable: number, target: Target): ReadonlyMap<string, Recalled> {
  const kept = record(record(recall(file))[machineOf(system, usable, target)]);
  const usual = { schedule: target.schedule, threads: usable };
  return new Map(Object.entries(kept).map(([name, value]) => [name, examine(value, usual)]));
}

/** Where nothing was quicker than what is usual, what is usual now counts. */
function examine(value: unknown, usual: Choice): Recalled {
  const { schedule, threads, gains, taken, version: made } = record(value);
  if (made !== version) return { kind: 'unused', reason: `ingot ${String(made)} found it, this is ${version}` };
  const isChoice = isSchedule(schedule) && isCount(threads, usual.threads);
  if (!isChoice || typeof taken !== 'string' || !Array.isArray(gains) || !gains.every(isGain)) {
    return { kind: 'unused', reason: 'it says what no tuner does' };
  }
  return { kind: 'used', tuning: { ...(gains.length === 0 ? usual : { schedule, threads }), gains, taken, version } };
}

function isSchedule(value: unknown): value is Schedule {
  const given = record(value);
  const names = Object.keys(choices) as (keyof Schedule)[];
  return names.every((name) => (choices[name] as readonly unknown[]).includes(given[name]));
}

function isCount(value: unknown, most: number): value is number {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= most;
}

function isGain(value: unknown): value is Tuned['gains'][number] {
  const { work, gain } = record(value);
  return typeof work === 'string' && Number(gain) > 0;
}

/** What was found for a class of models, else for any, else what is usual; `onUnused` is told why something is not used. */
export function tunedChoice(
  system: OperatingSystem,
  usable: number,
  target: Target,
  wanted: string,
  onUnused: (reason: string) => void = () => {},
): Choice {
  const tunings = recallTunings(system, usable, target);
  const found = tunings.get(wanted) ?? tunings.get(anyModel);
  if (found?.kind === 'used') return found.tuning;
  if (found !== undefined) onUnused(found.reason);
  return { schedule: target.schedule, threads: usable };
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

/** What differs from what is usual, for people. */
export function describeChanges(before: Choice, after: Choice): string {
  const names = Object.keys(before.schedule) as (keyof Schedule)[];
  const changes = names
    .filter((name) => after.schedule[name] !== before.schedule[name])
    .map((name) => `${name} ${after.schedule[name]} (usual: ${before.schedule[name]})`);
  if (after.threads !== before.threads) changes.push(`threads ${after.threads} (usual: ${before.threads})`);
  return changes.join(', ');
}
