/** Kernels over virtual registers: what they are called with is theirs, however few registers there are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { at, q, type Register } from '../../src/devices/cpu/emit/machine.ts';
import { KernelWriter } from '../../src/devices/cpu/kernels/writer.ts';
import { skip } from './cpu-emit-harness.ts';
import { Guarded, runKernel } from './native-kernel.ts';

test('writer: arguments survive where none of them has a register', { skip }, () => {
  for (const held of [0, 2, 30]) {
    const w = new KernelWriter('arguments', ['y'], []);
    // Used in a loop, which arguments are not: registers are theirs.
    const numbers = Array.from({ length: held }, (_, i) => w.value(i));
    w.forEach(0, 3, 1, () => {
      w.forEach(0, 3, 1, () => {
        for (const number of numbers) w.change('add', number, 1);
      });
    });
    const y = w.buffer('y');
    const number = w.gp();
    w.take(number);
    const sum = numbers.reduce((sum: Register, x) => w.sum(sum, x), w.value(0));
    const results = [w.threadIndex, w.threadCount, number, sum];
    const place = w.sum(y, w.product(w.threadIndex, 8 * results.length));
    for (const [i, result] of results.entries()) w.m.emit('mov', at(place, 8 * i), q(result));
    using memory = new Guarded(3 * 8 * results.length);
    runKernel(w.finish(), { y: memory }, {}, [0, 1, 2]);
    const longs = [...new BigInt64Array(memory.bytes.slice().buffer)].map(Number);
    const expected = (held * (held - 1)) / 2 + 9 * held;
    assert.deepEqual(
      longs,
      [0, 1, 2].flatMap((index) => [index, 3, index, expected]),
      `${held} held`,
    );
  }
});
