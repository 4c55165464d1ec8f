/** The devices that the conformance suite runs on, by name; a new device is a line here. */
import type { CodeCache, Kept } from '../../src/devices/cpu/code-cache.ts';
import { type CpuDeviceOptions, createCpuDevice } from '../../src/devices/cpu/device.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import { type InstructionSet, usableTargets, whyNot } from '../../src/devices/cpu/target.ts';
import type { Communicator, Device } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { createHostGroup, type GroupOptions } from '../../src/parallel/host-group.ts';
import { createLocalGroup } from '../../src/parallel/local-group.ts';
import type { Groups } from './suite.ts';

const found = findSystem();
/** Why the CPU device cannot be tested on this machine. */
export const noCpu = found.usable ? whyNot(found.system) : found.reason;

/** The instruction sets that code can be made for here. */
export const cpuSets: readonly InstructionSet[] = found.usable
  ? usableTargets(found.system.cpuFeatures()).map(({ name }) => name)
  : [];

/** Code is made once in a process: kernels of many programs are alike, and tests open a device each. */
const made = new Map<string, Kept<unknown>>();
const codeCache: CodeCache = {
  find: <H>(key: string) => made.get(key) as Kept<H> | undefined,
  keep: (key, kept) => void made.set(key, kept),
};

export function openCpu(threads = 2, options: Omit<CpuDeviceOptions, 'threads'> = {}): Device {
  if (!found.usable) throw new Error(found.reason);
  return createCpuDevice(found.system, { codeCache, ...options, threads });
}

/** Ranks of this process. For its length: a device may outlive a test that fails. */
export function localGroup(size: number, options?: GroupOptions): readonly Communicator[] {
  if (!found.usable) throw new Error(found.reason);
  return createLocalGroup(found.system, size, options).ends;
}

/** What joins several devices of a name. */
export const groups: Groups = { reference: createHostGroup, ...(noCpu === undefined && { cpu: localGroup }) };

export const devices: Readonly<Record<string, () => Device>> = {
  reference: createReferenceDevice,
  ...(noCpu === undefined && { cpu: () => openCpu() }),
};
