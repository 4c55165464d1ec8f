/** What the CPU device tells of its kernels, what it knows of the machine, and the kernels that measure it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Assembler } from '../../src/devices/cpu/asm/assembler.ts';
import { createCpuDevice } from '../../src/devices/cpu/device.ts';
import { arithmeticKernels, copyKernel, readKernel } from '../../src/devices/cpu/limit-kernels.ts';
import { limitsOf } from '../../src/devices/cpu/measurements.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import type { OperatingSystem } from '../../src/devices/cpu/os/os.ts';
import type { Device } from '../../src/devices/device.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { noCpu } from '../conformance/devices.ts';

const found = findSystem();
const skip = noCpu ?? false;
const T = { sym: 'T', max: 64 } as const;
const parameters = [
  { name: 'x', type: tensor('f32', [T, 100]), role: 'input' },
] as const satisfies readonly Parameter[];
const doubled = new ProgramBuilder().program(parameters, (b, { x }) => ({ y: b.add(x, x) }));

function system(): OperatingSystem {
  assert.ok(found.usable, found.usable ? '' : found.reason);
  return found.system;
}

async function runs(device: Device, rows: readonly number[], then: () => void = () => {}): Promise<void> {
  using executable = await device.compile(doubled);
  using bound = await device.bind(executable, new Map(), new Map());
  for (const row of rows) {
    const inputs = new Map([['x', new Float32Array(100 * row)]]);
    await device.wait(device.submit(bound, inputs, { T: row }), Number.POSITIVE_INFINITY);
  }
  then();
}

for (const threads of [1, 2]) {
  test(`${threads} threads: calls, times and costs of kernels, at the dimensions of each run`, { skip }, async () => {
    await using device = createCpuDevice(system(), { threads, profile: 'sums' });
    const rows = [2, 2, 5, 64, 2];
    const bytes = rows.reduce((sum, row) => sum + 2 * 4 * 100 * row, 0);
    const check = () => {
      const { runs, seconds, kernels } = device.profile();
      assert.equal(runs, rows.length);
      const [kernel] = kernels;
      assert.deepEqual(
        kernels.map((each) => each.kernel),
        ['add [(T * 100)]'],
      );
      assert.equal(kernel.how, 'machine code');
      assert.equal(kernel.calls, rows.length);
      assert.deepEqual(kernel.cost, { bytes, operations: bytes / 8, element: 'f32' });
      assert.equal(kernel.threadSeconds.length, threads);
      const mean = kernel.threadSeconds.reduce((a, b) => a + b, 0) / threads;
      assert.ok(mean > 0 && kernel.barrierSeconds > 0 && kernel.seconds < seconds);
      assert.ok(Math.abs(mean + kernel.barrierSeconds - kernel.seconds) < 1e-9);
      assert.deepEqual(device.profile(), { runs: 0, seconds: 0, kernels: [], submissions: 0 });
    };
    await runs(device, rows, check);
    await runs(device, rows);
    // The binding is gone, its figures are not.
    check();
  });
}

test('who does not ask for times gets runs alone', { skip }, async () => {
  await using device = createCpuDevice(system(), { threads: 2 });
  await runs(device, [1, 2]);
  const { runs: count, seconds, kernels } = device.profile();
  assert.ok(count === 2 && seconds > 0);
  assert.deepEqual(kernels, []);
});

test('what was measured is what the hardware can do, for any number of threads', { skip }, async () => {
  const measured = {
    threads: 4,
    figures: [
      { name: 'read memory', of: 'read', one: 10, all: 25 },
      { name: 'copy memory', of: 'copy', one: 9, all: 8 },
      { name: 'a', of: 'f32', one: 3, all: 12 },
      { name: 'b', of: 'f32', one: 5, all: 11 },
    ],
  } as const;
  const of = (threads: number) => limitsOf(measured, threads);
  assert.deepEqual(of(1), { readBytesPerSecond: 10, operationsPerSecond: { f32: 5 } });
  assert.deepEqual(of(2), { readBytesPerSecond: 20, operationsPerSecond: { f32: 10 } });
  assert.deepEqual(of(4), { readBytesPerSecond: 25, operationsPerSecond: { f32: 12 } });
  await using device = createCpuDevice(system(), { threads: 1, measured });
  assert.equal(device.hardware.readBytesPerSecond, 10);
});

/** Calls a kernel for each thread. */
function call(source: Assembler, words: readonly number[], threads: number): void {
  using block = system().mapMemory(8 * words.length);
  new BigUint64Array(block.bytes().buffer).set(words.map(BigInt));
  using code = system().mapCode(source.assemble().bytes);
  const kernel = code.callable(0, { takes: ['address', 'u32', 'u32'], returns: 'void' });
  for (let index = 0; index < threads; index++) kernel(block.address, index, threads);
}

for (const threads of [1, 2, 3]) {
  test(`${threads} threads: the copy copies, the read reads, and neither goes beyond`, { skip }, () => {
    const length = threads * 512 * 5;
    // It ends at a page that nobody may touch.
    using from = system().mapMemory(length, { guarded: true });
    from.bytes().set(Uint8Array.from({ length }, (_, i) => i * 31 + (i >> 8)));
    using to = system().mapMemory(length + 64);
    to.bytes().fill(0xcb);
    call(copyKernel(), [to.address, from.address, length], threads);
    assert.deepEqual(to.bytes(0, length), from.bytes());
    assert.ok(to.bytes(length).every((byte) => byte === 0xcb));
    call(readKernel(), [from.address, length], threads);
  });
}

test('arithmetic counts what its instructions do', { skip }, () => {
  for (const bits of [256, 512] as const) {
    const lanes = bits / 32;
    assert.equal(arithmeticKernels.fused(bits).operations, 10 * 2 * lanes);
    assert.equal(arithmeticKernels.multiplyAdd(bits).operations, 10 * 2 * lanes);
    assert.equal(arithmeticKernels.maddubs(bits).operations, 10 * 8 * lanes);
    assert.equal(arithmeticKernels.dpbusd(bits).operations, 10 * 8 * lanes);
  }
  assert.equal(arithmeticKernels.vexDpbusd().operations, 10 * 64);
  assert.equal(arithmeticKernels.tilesI8().operations, 4 * 2 * 16 * 16 * 64);
  assert.equal(arithmeticKernels.tilesBf16().operations, 4 * 2 * 16 * 16 * 32);
  for (const name of ['fused', 'multiplyAdd', 'maddubs'] as const) call(arithmeticKernels[name](256).source, [100], 2);
});
