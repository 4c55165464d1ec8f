/** Devices that this build can open, and the choice among them. */
import { cpus, freemem, totalmem } from 'node:os';
import type { Device } from '../devices/device.ts';
import { createReferenceDevice } from '../devices/reference/device.ts';
import { usageError } from './failure.ts';

export const deviceNames = ['reference'] as const;
export type DeviceName = (typeof deviceNames)[number];

export const deviceReason: Record<DeviceName, string> = {
  reference: 'an interpreter in plain TypeScript: complete, exact and slow; the only device of this version',
};

/** @throws IngotError 'Usage' for a device that there is not. */
export function openDevice(name: string = 'reference'): Device {
  switch (name) {
    case 'reference':
      return createReferenceDevice({ memoryBytes: availableMemory() });
    default:
      throw usageError(`there is no device "${name}"`, `Devices of this version: ${deviceNames.join(', ')}.`);
  }
}

/** Memory that this process may still take, in bytes: what the system and its control group leave. */
export function availableMemory(): number {
  // Absent from the types of older Node versions; 0 where the system sets no limit.
  const limit = process.constrainedMemory?.() ?? 0;
  const total = totalmem();
  return limit > 0 && limit < total ? Math.min(limit, freemem()) : freemem();
}

export function processorName(): string {
  return cpus()[0]?.model.trim() ?? process.arch;
}
