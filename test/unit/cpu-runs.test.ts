/** Runs of the CPU device that overlap, and waiting for them: events go on meanwhile, and a signal ends a run that does not end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import type { Device, DeviceBuffer } from '../../src/devices/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { tensor } from '../../src/ir/types.ts';
import { noCpu, openCpu } from '../conformance/devices.ts';

const forever = Number.POSITIVE_INFINITY;
const none: ReadonlyMap<string, DeviceBuffer> = new Map();
const skip = noCpu ?? false;

/** y = x + `seconds` of work that changes nothing, on the reading of `x` after the work. */
async function slowCopy(device: Device, turns: number) {
  const type = tensor('f32', [4096]);
  const program = new ProgramBuilder().program([{ name: 'x', type, role: 'input' }], (b, { x }) => {
    const [, idle] = b.while(
      [b.scalar('i32', 0), b.full('f32', [4096], 1)],
      (inner, i) => inner.compare('LT', i, inner.scalar('i32', turns)),
      (inner, i, value) => [inner.add(i, inner.scalar('i32', 1)), inner.op('sine', [value], {})[0]],
    );
    return { y: b.add(x, b.multiply(idle, b.full('f32', [4096], 0))) };
  });
  const executable = await device.compile(program);
  return { executable, bound: await device.bind(executable, none, none) };
}

test('runs of one binding that overlap have inputs and results of their own', { skip }, async () => {
  await using device = openCpu();
  const { executable, bound } = await slowCopy(device, 500);
  const x = new Float32Array(4096);
  // More than the team takes at a time, so that some wait.
  const tickets = Array.from({ length: 7 }, (_, run) => device.submit(bound, new Map([['x', x.fill(run)]]), {}));
  for (const [run, ticket] of tickets.entries()) {
    const y = (await device.wait(ticket, forever)).get('y');
    assert.ok(y !== undefined);
    assert.deepEqual(new Float32Array(y.buffer, y.byteOffset, 4096), new Float32Array(4096).fill(run));
  }
  bound[Symbol.dispose]();
  executable[Symbol.dispose]();
  assert.equal(device.memory().scratch.now, 0);
  assert.equal(device.memory().scratch.peak, 2 * executable.scratchBytes, 'memory for two runs, and no more');
});

test('a signal ends a run while it is waited for, and what was submitted after it', { skip }, async () => {
  await using device = openCpu();
  const endless = await slowCopy(device, 2 ** 31 - 1);
  const quick = await slowCopy(device, 1);
  const inputs = new Map([['x', new Float32Array(4096)]]);
  const first = device.submit(endless.bound, inputs, {});
  const second = device.submit(endless.bound, inputs, {});
  const controller = new AbortController();
  let events = 0;
  const timer = setInterval(() => {
    if (++events === 3) controller.abort('enough');
  }, 10);
  await assert.rejects(device.wait(first, forever, controller.signal), (error) => {
    return isIngotError(error, 'Aborted') && error.cause === 'enough';
  });
  clearInterval(timer);
  assert.equal(events, 3, 'timers ran while the run was waited for');
  await assert.rejects(device.wait(second, forever), (error) => isIngotError(error, 'Aborted'));
  await device.wait(device.submit(quick.bound, inputs, {}), forever);
});

test('large results are memory of the device until another run is waited for', { skip }, async () => {
  const type = tensor('f32', [512, 1024]);
  const elements = 512 * 1024;
  const program = new ProgramBuilder().program([{ name: 'x', type, role: 'input' }], (b, { x }) => {
    const sum = b.add(x, x);
    return { x, sum, again: sum, first: b.slice(sum, 0, 0, 1) };
  });
  const device = openCpu();
  const executable = await device.compile(program);
  const bound = await device.bind(executable, none, none);
  const submit = (value: number) => device.submit(bound, new Map([['x', new Float32Array(elements).fill(value)]]), {});
  const valuesOf = (results: ReadonlyMap<string, ArrayBufferView>, name: string) => {
    const view = results.get(name) ?? assert.fail();
    const numbers = new Float32Array(view.buffer, view.byteOffset, view.byteLength / 4);
    return { length: numbers.length, values: [...new Set(numbers)] };
  };
  const [first, second, third] = [submit(1), submit(2), submit(3)];
  device.profile(); // waits for all
  const one = await device.wait(first, forever);
  for (const [name, value] of Object.entries({ x: 1, sum: 2, again: 2 })) {
    assert.deepEqual(valuesOf(one, name), { length: elements, values: [value] }, name);
  }
  const two = await device.wait(second, forever);
  assert.deepEqual(valuesOf(one, 'first'), { length: 1024, values: [2] }, 'a copy');
  assert.deepEqual(valuesOf(two, 'sum'), { length: elements, values: [4] });
  await device.wait(third, forever);
  const { peak } = device.memory().scratch;
  for (const value of [4, 5, 6]) await device.wait(submit(value), forever);
  assert.equal(device.memory().scratch.peak, peak, 'memory is used again');
  const last = await device.wait(submit(7), forever);
  bound[Symbol.dispose]();
  executable[Symbol.dispose]();
  await device[Symbol.asyncDispose]();
  assert.deepEqual(valuesOf(last, 'sum'), { length: elements, values: [14] }, 'stays when all else is gone');
});
