/** Stores past the caches: the bytes of plain ones, and only where they are safe and pay. */
import assert from 'node:assert/strict';
import type { Kernel, ScalarElement, Statement } from '../../src/compiler/kernel/language.ts';
import { emitKernel } from '../../src/devices/cpu/emit/emit.ts';
import { elementBytes } from '../../src/numerics/element-types.ts';
import {
  axis,
  buffer,
  bytesOf,
  constant,
  convert,
  index,
  kernel,
  load,
  loop,
  of,
  plus,
  poison,
  runEmitted,
  store,
  testEmitted,
  times,
} from './cpu-emit-harness.ts';
import { withSchedule } from './drawn-schedule.ts';
import type { Machine } from './machine.ts';

/** With stores past the caches from so many bytes on. */
const emitted = (k: Kernel, machine: Machine, streamedBytes = machine.target.schedule.streamedBytes) =>
  emitKernel(k, withSchedule(machine, { streamedBytes }).target);

const streamed = (k: Kernel, machine: Machine, least?: number) =>
  (
    emitted(k, machine, least)
      .listing()
      .match(/vmovntdq/g) ?? []
  ).length;

/** Runs a kernel of one input and one output with both kinds of stores. */
function compare(k: Kernel, machine: Machine, input: Uint8Array, outputBytes: number, threads: number): void {
  const run = (least?: number) =>
    runEmitted(k, machine, [input, poison(outputBytes)], [], threads, emitted(k, machine, least))[1];
  assert.deepEqual(run(1), run(), `${threads} threads, ${outputBytes} bytes`);
}

const numbers = (count: number) => bytesOf(Float32Array.from({ length: count }, (_, i) => ((i * 37) % 201) - 100));

testEmitted('streamed results of every width, with tails, aligned or not, are those of plain stores', (machine) => {
  for (const element of ['f32', 'f64', 'bf16', 'i8', 'i1'] satisfies ScalarElement[]) {
    const perLine = 64 / elementBytes(element);
    for (const n of [1, 16, 61, 64, 200, 259]) {
      // Buffers end at a page, so those of whole lines are aligned, and those of one element more are not.
      for (const more of [0, 1]) {
        const elements = Math.ceil(n / perLine) * perLine + more;
        const [a, o] = [buffer('a', 'f32', n), buffer('o', element, elements, 'write')];
        const i = axis('i', 'vector', n);
        const value = plus(load(a, of(i)), constant('f32', 1));
        const k = kernel([a, o], [loop(i, store(o, of(i), element === 'f32' ? value : convert(element, value)))]);
        const lanes = machine.target.vectorBits / (element === 'f64' ? 64 : 32);
        const wide = lanes * elementBytes(element) >= 16;
        assert.equal(streamed(k, machine, 1), wide ? 1 : 0, element);
        for (const threads of machine.emulated ? [3] : [1, 2, 3]) {
          compare(k, machine, numbers(n), elements * elementBytes(element), threads);
        }
      }
    }
  }
});

testEmitted('rows are streamed where each begins at a vector', (machine) => {
  const [rows, columns] = [5, 50];
  for (const [step, first, some] of [
    [64, 0, true],
    [64, 16, true],
    [56, 0, machine.target.vectorBits === 256],
    [64, 8, machine.target.vectorBits === 256],
    [50, 0, false],
    [64, 1, false],
  ] as const) {
    for (const more of [0, 1]) {
      const elements = Math.ceil((rows * step + first) / 16) * 16 + more;
      const [a, o] = [buffer('a', 'f32', rows * columns), buffer('o', 'f32', elements, 'write')];
      const [r, c] = [axis('r', 'parallel', rows), axis('c', 'vector', columns)];
      const from = plus(times(of(r), index(columns)), of(c));
      const to = plus(plus(times(of(r), index(step)), of(c)), index(first));
      const k = kernel([a, o], [loop(r, loop(c, store(o, to, load(a, from))))]);
      assert.equal(streamed(k, machine, 1), some ? 1 : 0, `${step} ${first}`);
      compare(k, machine, numbers(rows * columns), 4 * elements, 2);
    }
  }
});

testEmitted('both of two results are aligned, or neither is streamed', (machine) => {
  const n = 100;
  for (const [one, two] of [
    [112, 112],
    [112, 113],
    [113, 112],
  ] as const) {
    const [x, y] = [buffer('x', 'f32', one, 'write'), buffer('y', 'f32', two, 'write')];
    const i = axis('i', 'vector', n);
    const k = kernel([x, y], [loop(i, store(x, of(i), constant('f32', 1)), store(y, of(i), constant('f32', 2)))]);
    assert.equal(streamed(k, machine, 1), 2);
    const run = (least?: number) =>
      runEmitted(k, machine, [poison(4 * one), poison(4 * two)], [], 2, emitted(k, machine, least));
    assert.deepEqual(run(1), run());
  }
});

testEmitted('only results of 64 MiB, which are written once and not read, are streamed', (machine) => {
  const n = 1 << 24;
  const i = axis('i', 'vector', n);
  const a = buffer('a', 'f32', n);
  const o = buffer('o', 'f32', n, 'write');
  const one = constant('f32', 1);
  const copy = store(o, of(i), load(a, of(i)));
  const count = (body: Statement, to = o, dims: Kernel['dims'] = []) =>
    streamed(kernel([a, to], [body], dims), machine);
  assert.equal(count(loop(i, copy)), 1);

  const fewer = axis('i', 'vector', n - 64);
  assert.equal(count(loop(fewer, store(o, of(fewer), one))), 0, 'a part of a large buffer');
  const some = axis('i', 'vector', { kind: 'dim', type: 'index', sym: 'T' });
  assert.equal(count(loop(some, store(o, of(some), one)), o, ['T']), 0, 'a number of turns that only a run knows');
  const updated = buffer('o', 'f32', n, 'update');
  assert.equal(count(loop(i, store(updated, of(i), one)), updated), 0, 'a buffer that may be read');
  assert.equal(count(loop(i, store(o, of(i), one, convert('i1', load(a, of(i)))))), 0, 'with a mask');
  assert.equal(count(loop(i, store(o, times(of(i), index(2)), one))), 0, 'elements apart');
  const again = axis('again', 'serial', 1 << 10);
  const short = axis('i', 'vector', 1 << 14);
  assert.equal(count(loop(again, loop(short, store(o, of(short), one)))), 0, 'the same elements again');
});
