/** Devices that do something else than they would where a test wants that: runs that go wrong, or are watched. */
import { type ErrorCode, IngotError } from '../../src/base/errors.ts';
import type { Device } from '../../src/devices/device.ts';

/** `fails`: asked for each run; `at`: where the run says so. */
export function faultyDevice(device: Device, fails: () => ErrorCode | undefined, at: 'submit' | 'wait'): Device {
  const failing = new Map<unknown, ErrorCode>();
  const submit: Device['submit'] = (...given) => {
    const code = fails();
    if (code !== undefined && at === 'submit') throw new IngotError(code, 'injected');
    const ticket = device.submit(...given);
    if (code !== undefined) failing.set(ticket, code);
    return ticket;
  };
  const wait: Device['wait'] = async (ticket, ...given) => {
    const results = await device.wait(ticket, ...given);
    const code = failing.get(ticket);
    if (code !== undefined) throw new IngotError(code, 'injected');
    return results;
  };
  // Two at a time, so that what follows the failure is on its way already.
  return changedDevice(device, { submit, wait, runsAhead: 2 });
}

/** A device with some of its members in place of its own. */
export function changedDevice(device: Device, changes: Partial<Device>): Device {
  const changed = new Map<unknown, unknown>(Object.entries(changes));
  return new Proxy(device, {
    get(target, name) {
      if (changed.has(name)) return changed.get(name);
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
