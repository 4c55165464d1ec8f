/** The devices that the conformance suite runs on, by name; a new device is a line here. */
import { createCpuDevice, whyNot } from '../../src/devices/cpu/device.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import type { Device } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';

const found = findSystem();
/** Why the CPU device cannot be tested on this machine. */
export const noCpu = found.usable ? whyNot(found.system) : found.reason;

export function openCpu(threads = 2): Device {
  if (!found.usable) throw new Error(found.reason);
  return createCpuDevice(found.system, { threads });
}

export const devices: Readonly<Record<string, () => Device>> = {
  reference: createReferenceDevice,
  ...(noCpu === undefined && { cpu: openCpu }),
};
