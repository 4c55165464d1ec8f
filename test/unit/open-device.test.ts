/** How many threads a device that a user opens has, and what its code is made for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { chooseTarget, createCpuDevice } from '../../src/devices/cpu/device.ts';
import { type OperatingSystem, usableThreads } from '../../src/devices/cpu/os/os.ts';
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

test('a quota says how many threads there are, unless they are asked for', { skip: noCpu ?? false }, async () => {
  const limits = { ...system().limits(), cores: [0, 1, 2], quota: 1 };
  const threadsOf = async (options: { readonly threads?: number }) => {
    await using device = createCpuDevice({ ...system(), limits: () => limits }, options);
    return device.hardware.threads;
  };
  assert.equal(await threadsOf({}), 1);
  assert.equal(await threadsOf({ threads: 2 }), 2);
  assert.equal(await threadsOf({ threads: 9 }), 3, 'more than cores only wait for each other');
});

test('code is for the best set that processor and system give, or the one that is wanted', () => {
  const avx2 = ['avx2', 'fma', 'f16c', 'bmi2'];
  const vnni = [...avx2, 'avx512f', 'avx512bw', 'avx512dq', 'avx512vl', 'avx512cd', 'avx512_vnni'];
  const amx = [...vnni, 'avx512_bf16', 'amx_tile', 'amx_int8', 'amx_bf16'];
  const has = (names: readonly string[], grantsTiles: boolean) =>
    ({
      architecture: 'x64',
      cpuFeatures: () => ({ model: 'a processor', names: new Set(names), withheld: [] }),
      requestTiles: () => grantsTiles,
    }) as Partial<OperatingSystem> as OperatingSystem;
  assert.equal(chooseTarget(has(amx, true)).name, 'amx');
  assert.equal(chooseTarget(has(amx, false)).name, 'vnni');
  assert.equal(chooseTarget(has(avx2, true)).name, 'avx2');
  assert.equal(chooseTarget(has(amx, true), 'avx512').name, 'avx512');
  const refused = (why: RegExp) => (error: unknown) => isIngotError(error, 'DeviceLost') && why.test(error.message);
  assert.throws(() => chooseTarget(has(amx, false), 'amx'), refused(/code for amx .*does not grant tile registers/));
  assert.throws(() => chooseTarget(has(avx2, true), 'avx512'), refused(/a processor lacks avx512f, /));
  assert.throws(() => chooseTarget(has([], true)), refused(/code for avx2 .*lacks avx2, fma/));
});
