/** The devices that the conformance suite runs on, by name; a new device is a line here. */
import { createCpuDevice, whyNot } from '../../src/devices/cpu/device.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import { type InstructionSet, usableTargets } from '../../src/devices/cpu/target.ts';
import type { Device } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { createHostGroup } from '../../src/parallel/host-group.ts';
import type { Groups } from './suite.ts';

const found = findSystem();
/** Why the CPU device cannot be tested on this machine. */
export const noCpu = found.usable ? whyNot(found.system) : found.reason;

/** The instruction sets that code can be made for here. */
export const cpuSets: readonly InstructionSet[] = found.usable
  ? usableTargets(found.system.cpuFeatures()).map(({ name }) => name)
  : [];

export function openCpu(threads = 2, instructionSet?: InstructionSet): Device {
  if (!found.usable) throw new Error(found.reason);
  return createCpuDevice(found.system, { threads, ...(instructionSet && { instructionSet }) });
}

/** What joins several devices of a name. */
export const groups: Groups = { reference: createHostGroup };

export const devices: Readonly<Record<string, () => Device>> = {
  reference: createReferenceDevice,
  ...(noCpu === undefined && { cpu: () => openCpu() }),
};
