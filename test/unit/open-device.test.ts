/** How many threads a device that a user opens has. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { usableThreads } from '../../src/devices/cpu/os/os.ts';
import { type DeviceOptions, openDevice } from '../../src/devices/open-node.ts';
import { noCpu } from '../conformance/devices.ts';
import { system } from './machine.ts';

test('all cores, all but one, or as many as were asked for', { skip: noCpu ?? false }, async () => {
  const threadsOf = async (options: DeviceOptions) => {
    await using device = await openDevice('cpu', options);
    return device.hardware.threads;
  };
  const usable = usableThreads(system().limits());
  assert.equal(await threadsOf({}), usable);
  assert.equal(await threadsOf({ spareCore: true }), Math.max(1, usable - 1));
  assert.equal(await threadsOf({ spareCore: true, threads: usable }), usable);
});
