/** Devices that this build can open under Node, and the choice among them. */
import { cpus, freemem } from 'node:os';
import { IngotError, isIngotError } from '../base/errors.ts';
import { cacheFolder } from './cpu/cache-folder.ts';
import { openCodeCache } from './cpu/code-cache.ts';
import { chooseTarget, createCpuDevice } from './cpu/device.ts';
import { anyModel } from './cpu/matrix-shapes.ts';
import { recallMeasurements } from './cpu/measurements.ts';
import { findSystem } from './cpu/os/open.ts';
import { type OperatingSystem, usableThreads } from './cpu/os/os.ts';
import type { Recorded } from './cpu/profile.ts';
import { describeVerdict, selfTest, trustedSet } from './cpu/self-test/self-test.ts';
import type { WeightShare } from './cpu/shared-weights.ts';
import { type InstructionSet, whyNot } from './cpu/target.ts';
import { tunedChoice } from './cpu/tunings.ts';
import type { Device } from './device.ts';

/** What a user may ask of a device. */
export interface DeviceOptions {
  readonly threads?: number | undefined;
  /** Of the CPU device; the best that passed the self-test if absent. */
  readonly instructionSet?: InstructionSet | undefined;
  /** Without `threads`: leave a core to JavaScript, if there are two. */
  readonly spareCore?: boolean | undefined;
  /** Keep weights and state from being swapped out. */
  readonly mlock?: boolean | undefined;
  /** Of the memory that there is, what it may take at most; all of it if absent. */
  readonly memoryShare?: number | undefined;
  /** Weights that the CPU devices of other threads have, too. */
  readonly weightShare?: WeightShare | undefined;
  /** What the CPU device keeps of kernels, for `profile`; nothing if absent. */
  readonly profile?: Recorded | undefined;
  /** Of the CPU device: which kernels will run (cpu/self-test/areas.ts); any if absent. */
  readonly areas?: readonly string[] | undefined;
  /** What their schedule is remembered by (cpu/matrix-shapes.ts). */
  readonly modelClass?: string | undefined;
  /**
   * What to compile while another process tests kernels, with a device like the one that is hoped for: what it makes is kept for that
   * one. Only where there is such a test. Its errors are nobody's: they come again.
   */
  readonly meanwhile?: ((device: Device) => Promise<void>) | undefined;
}

/** One row a device: why it cannot be used here (undefined if it can), and how to open it. */
interface DeviceRow {
  readonly what: string;
  whyNot(): string | undefined;
  open(options: DeviceOptions): Promise<Device>;
}

/** The first that can be used is taken where none is named. */
export const deviceRows: Readonly<Record<'cpu' | 'reference', DeviceRow>> = {
  cpu: {
    what: 'machine code made for this processor, on native threads',
    whyNot() {
      const found = findSystem();
      return found.usable ? whyNot(found.system) : found.reason;
    },
    async open({
      threads: wanted,
      instructionSet: set,
      spareCore = false,
      mlock = false,
      memoryShare = 1,
      weightShare,
      profile = 'nothing',
      areas,
      modelClass = anyModel,
      meanwhile,
    }) {
      const found = findSystem();
      if (!found.usable) throw new IngotError('DeviceLost', found.reason, { device: 'cpu' });
      const usable = usableThreads(found.system.limits());
      const most = spareCore ? Math.max(1, usable - 1) : usable;
      const measured = recallMeasurements(found.system);
      const codeCache = openCodeCache();
      const deviceFor = (instructionSet?: InstructionSet, onUnused: (why: string) => void = () => {}) => {
        const target = chooseTarget(found.system, instructionSet);
        const { schedule, threads } = tunedChoice(found.system, usable, target, modelClass, onUnused);
        return createCpuDevice(found.system, {
          memoryBytes: memoryShare * availableMemory(),
          lock: mlock,
          instructionSet: target.name,
          schedule,
          profile,
          threads: wanted ?? Math.min(threads, most),
          ...(measured !== undefined && { measured }),
          ...(codeCache !== undefined && { codeCache }),
          ...(weightShare !== undefined && { weightShare }),
        });
      };
      let ahead: Promise<void> | undefined;
      const compileAhead = async () => {
        if (meanwhile === undefined || codeCache === undefined) return;
        await using device = deviceFor();
        await meanwhile(device);
      };
      const onTest = () => {
        ahead = compileAhead().catch(() => {});
      };
      const instructionSet = set ?? (await testedSet(found.system, areas, onTest));
      await ahead;
      return deviceFor(instructionSet, (why) =>
        console.error(`ingot: what was tuned for this machine is not used: ${why} (ingot tune finds it again)`),
      );
    },
  },
  reference: {
    what: 'an interpreter in plain TypeScript: complete, exact and slow',
    whyNot: () => undefined,
    async open({ mlock, memoryShare = 1 }) {
      if (mlock) throw new IngotError('Usage', '--mlock is for the cpu device', { hint: 'Leave it out.' });
      const { createReferenceDevice } = await import('./reference/device.ts');
      return createReferenceDevice({ memoryBytes: memoryShare * availableMemory() });
    },
  },
};

const names = Object.keys(deviceRows) as (keyof typeof deviceRows)[];

export function chosenDevice(): keyof typeof deviceRows {
  return names.find((name) => deviceRows[name].whyNot() === undefined) ?? 'reference';
}

/** The CPU device; the reference device, with a word about it, where that cannot be used or its code is wrong. */
async function openFirst(options: DeviceOptions): Promise<Device> {
  const { whyNot, open } = deviceRows.cpu;
  let why = whyNot();
  if (why === undefined) {
    try {
      return await open(options);
    } catch (error) {
      if (!isIngotError(error, 'DeviceLost')) throw error;
      why = error.message;
    }
  }
  console.error(`ingot: the cpu device cannot be used (${why}); the reference device is, slowly`);
  return deviceRows.reference.open(options);
}

/** @throws IngotError 'Usage' for a device that there is not, 'DeviceLost' for one that cannot be used here. */
export async function openDevice(name?: string, options: DeviceOptions = {}): Promise<Device> {
  if (name === undefined) return openFirst(options);
  const row = names.find((known) => known === name);
  if (row === undefined) {
    throw new IngotError('Usage', `there is no device "${name}"`, { hint: `Devices: ${names.join(', ')}.` });
  }
  const reason = deviceRows[row].whyNot();
  if (reason !== undefined) {
    throw new IngotError('DeviceLost', `the ${row} device cannot be used: ${reason}`, { device: row });
  }
  return deviceRows[row].open(options);
}

/**
 * The best instruction set whose kernels passed the self-test; what failed is said on standard error.
 * @throws IngotError 'DeviceLost' where none did.
 */
async function testedSet(
  system: OperatingSystem,
  areas: DeviceOptions['areas'],
  onTest: () => void,
): Promise<InstructionSet> {
  const outcome = await selfTest(system, { onTest, ...(areas !== undefined && { areas }) });
  const set = trustedSet(outcome);
  const failures = outcome.verdicts.flatMap((verdict) => (verdict.passed ? [] : [describeVerdict(verdict)]));
  if (set === undefined) {
    const hint = 'use --device reference; ingot doctor tries again';
    throw new IngotError('DeviceLost', failures.join('; '), { device: 'cpu', hint });
  }
  for (const failure of failures) console.error(`ingot: ${failure}; code for ${set} is used instead`);
  if (!outcome.remembered) {
    console.error(
      `ingot: every start tests the kernels again, since ${cacheFolder()} cannot be written (XDG_CACHE_HOME names another folder)`,
    );
  }
  return set;
}

/** Memory that this process may still take, in bytes: what the system and its control group leave. */
export function availableMemory(): number {
  const found = findSystem();
  const group = found.usable ? found.system.limits().memory : undefined;
  return group === undefined ? freemem() : Math.min(freemem(), Math.max(0, group.limit - group.used));
}

export function processorName(): string {
  return cpus()[0]?.model.trim() ?? process.arch;
}
