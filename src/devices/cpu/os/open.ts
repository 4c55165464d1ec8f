/** The system that this process runs on, where machine code made at run time can be used, or why it cannot. */
import { availableParallelism } from 'node:os';
import { openDarwin } from './darwin.ts';
import { type Foreign, openForeign } from './foreign.ts';
import { openLinux } from './linux.ts';
import { type Architecture, type OperatingSystem, usableThreads } from './os.ts';
import { openWindows } from './windows.ts';

export type FoundSystem =
  | { readonly usable: true; readonly system: OperatingSystem }
  | { readonly usable: false; readonly reason: string };

const systems: Partial<Record<NodeJS.Platform, (foreign: Foreign, architecture: Architecture) => OperatingSystem>> = {
  linux: openLinux,
  darwin: openDarwin,
  win32: openWindows,
};

let found: FoundSystem | undefined;

/** The same for every call of a JavaScript thread. */
export function findSystem(): FoundSystem {
  found ??= open();
  return found;
}

/** Threads that can run at the same time, whichever device they are for. */
export function usableProcessors(): number {
  const found = findSystem();
  return found.usable ? usableThreads(found.system.limits()) : availableParallelism();
}

function open(): FoundSystem {
  const platform = `${process.platform} ${process.arch}`;
  const openSystem = systems[process.platform];
  const architecture = process.arch;
  if (openSystem === undefined || (architecture !== 'x64' && architecture !== 'arm64'))
    return { usable: false, reason: `no machine code is made for ${platform} yet` };
  let foreign: Foreign;
  try {
    foreign = openForeign();
  } catch (error) {
    return { usable: false, reason: `the package koffi is not installed for ${platform} (${firstLine(error)})` };
  }
  try {
    return { usable: true, system: openSystem(foreign, architecture) };
  } catch (error) {
    return { usable: false, reason: firstLine(error) };
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0];
}
