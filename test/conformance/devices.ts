/** The devices that the conformance suite runs on, by name; a new device is a line here. */
import type { Device } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';

export const devices: Readonly<Record<string, () => Device>> = {
  reference: createReferenceDevice,
};
