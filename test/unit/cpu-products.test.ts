import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { activationBytes } from '../../src/devices/cpu/kernels/activations.ts';
import {
  quantizeActivationsKernel,
  type RecordKind,
  recordSize,
  records,
} from '../../src/devices/cpu/kernels/quantize-activations.ts';
import { quantizedDotKernel } from '../../src/devices/cpu/kernels/quantized-dot.ts';
import { targets } from '../../src/devices/cpu/target.ts';
import { type DotNumerics, quantizeActivations } from '../../src/numerics/dot.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { skip } from './cpu-emit-harness.ts';
import {
  check,
  checkShapes,
  extremeActivations,
  extremeWeight,
  generator,
  integerFormats,
  normals,
  randomWeight,
  runDot,
  testSets,
} from './cpu-products-harness.ts';
import { withDrawnSchedule } from './drawn-schedule.ts';
import { avx2Machine, Guarded, runKernel } from './native-kernel.ts';

for (const [index, format] of integerFormats.entries()) {
  const { blockSize } = blockFormat(format);
  const Ks = [blockSize, 3 * blockSize, 9 * blockSize];
  testSets(`${format} in i8 numerics has the reference's bits`, (machine) => {
    checkShapes(format, 'i8', machine.emulated ? Ks.slice(0, 2) : Ks, machine, 31 + index);
  });
}

for (const [numerics, T] of [
  ['i8', 17],
  ['bf16', 3],
] as const) {
  testSets(`more of K than is decoded at a time, in ${numerics} numerics`, (machine) => {
    const next = generator(49);
    for (const [format, K] of [
      ['q4_0', 2080],
      ['q4_K', 2304],
    ] as const) {
      const N = 17;
      const [weight, x] = [randomWeight(format, N * K, next), normals(T * K, next)];
      check({ format, numerics, N, K, T, x, weight, threads: 2, bias: true }, machine, next);
    }
  });
}

for (const [format, numerics] of [
  ['q4_0', 'i8'],
  ['q8_0', 'i8'],
  ['q4_K', 'i8'],
  ['q6_K', 'bf16'],
  ['f16', 'f32'],
  ['f32', 'f32'],
] as const) {
  testSets(
    `matrices side by side, and what their products are added to, ${format} in ${numerics} numerics`,
    (machine) => {
      const next = generator(50);
      const K = 2 * Math.max(32, blockFormat(format).blockSize);
      let round = 0;
      for (const matrices of [[64, 32, 32], [32, 96], [160], [33], [5]]) {
        const N = matrices.reduce((sum, rows) => sum + rows);
        for (const T of machine.emulated ? [1, 5] : [0, 1, 2, 3, 17, 70, 300]) {
          const [weight, x] = [randomWeight(format, N * K, next), normals(T * K, next)];
          const [threads, bias] = [1 + (round % 3), round % 2 === 0];
          const added = round % 4 < 3 && { residual: normals(T * N, next) };
          const on = round % 3 === 1 ? withDrawnSchedule(machine, next) : machine;
          check({ format, numerics, N, K, T, x, weight, threads, bias, matrices, ...added }, on, next);
          round++;
        }
      }
    },
  );
}

test('products: every number of tokens that a batch may have, in i8 numerics', { skip }, () => {
  const next = generator(52);
  const [N, K] = [33, 96];
  for (const format of ['q4_0', 'q5_0', 'mxfp4', 'q8_0']) {
    const weight = randomWeight(format, N * K, next);
    for (let T = 1; T <= 20; T++) {
      const x = normals(T * K, next);
      check({ format, numerics: 'i8', N, K, T, x, weight, threads: 2, bias: T % 2 === 1 }, avx2Machine(), next);
    }
  }
});

for (const [index, format] of integerFormats.entries()) {
  testSets(`${format} in i8 numerics is exact at the ends of its integers`, (machine) => {
    const next = generator(61 + index);
    const N = 16;
    // A group of tokens more than tiles take.
    const T = 16 + extremeActivations.length;
    const K = 2 * blockFormat(format).blockSize;
    const x = Float32Array.from({ length: T * K }, (_, i) => {
      const activation = extremeActivations[Math.floor(i / K) % extremeActivations.length] as (
        k: number,
        next: () => number,
      ) => number;
      return activation(i % K, next);
    });
    for (const fill of [0x00, 0xff, 0x7f, 0x80, 0x0f, 0xf0, 0x3f, 0xc0, undefined, undefined]) {
      // 1, the largest, the smallest, a negative, infinity, NaN.
      const scales = [0x3c00, 0x7bff, 0x0001, 0xbc01, 0x7c00, 0x7e00];
      const some = machine.emulated ? scales.slice(2, 4) : fill === undefined ? scales : scales.slice(0, 2);
      for (const scale of some) {
        const weight = extremeWeight(format, N * K, fill, scale, next);
        check({ format, numerics: 'i8', N, K, T, x, weight, threads: 1, bias: false }, machine, next);
      }
    }
  });

  test(`products: ${format} in i8 numerics is within half a step of each activation of the f32 meaning`, {
    skip,
  }, () => {
    const next = generator(71 + index);
    const { blockSize, integerSize = blockSize, decode } = blockFormat(format);
    const [N, T, K] = [24, 3, 4 * blockSize];
    const weight = randomWeight(format, N * K, next);
    const x = normals(T * K, next);
    const y = runDot(
      { format, numerics: 'i8', N, K, T, x, weight, threads: 2, bias: false },
      new Float32Array(0),
      avx2Machine(),
    );
    const values = new Float32Array(N * K);
    decode(weight, values);
    for (let t = 0; t < T; t++) {
      const activations = x.subarray(t * K, (t + 1) * K);
      const { scales } = quantizeActivations(activations, integerSize);
      for (let n = 0; n < N; n++) {
        let [meaning, bound] = [0, 0];
        for (let k = 0; k < K; k++) {
          const [a, w] = [activations[k] as number, values[n * K + k] as number];
          meaning += a * w;
          bound += Math.abs(w) * (0.5 * (scales[Math.floor(k / integerSize)] as number) + Math.abs(a) * 2 ** -16);
        }
        const error = Math.abs((y[t * N + n] as number) - meaning);
        assert.ok(error <= bound, `[${t}, ${n}]: off by ${error}, the bound is ${bound}`);
      }
    }
  });
}

for (const kind of [16, 32, 256, 'tiles'] as const) {
  test(`products: activations in records ${kind} are quantized to the reference's bits`, { skip }, () => {
    const block = recordSize(kind);
    const next = generator(81 + block);
    const { bytes, d } = records[kind];
    const K = 3 * block;
    const T = extremeActivations.length + 40;
    const x = normals(T * K, next);
    for (const [t, activation] of extremeActivations.entries()) {
      for (let k = 0; k < K; k++) x[t * K + k] = activation(k % block, next);
    }
    // All exponents, and ties.
    for (let i = extremeActivations.length * K; i < x.length; i++) {
      const exponent = Math.floor(i / block) % 3 === 0 ? (next() % 250) - 130 : 0;
      x[i] = Math.fround(next() % 5 === 0 ? (next() % 127) + 0.5 : (x[i] as number) * 2 ** exponent);
    }
    using input = Guarded.of(x);
    using output = new Guarded(activationBytes({ kind: 'integers', records: kind }, T, K));
    const kernel = quantizeActivationsKernel(kind, { sym: 'T', max: T }, K);
    runKernel(kernel, { x: input, activations: output }, T, [0, 1, 2]);
    const expected = quantizeActivations(x, block);
    const view = new DataView(output.bytes.slice().buffer);
    for (let i = 0; i < expected.scales.length; i++) {
      const at = i * bytes;
      const scale = view.getFloat32(at + d, true);
      assert.ok(Object.is(scale, expected.scales[i]), `scale of block ${i} is ${scale}, not ${expected.scales[i]}`);
      const values = expected.values.subarray(i * block, (i + 1) * block);
      const step = kind === 16 || kind === 32 ? 0 : records[kind].step;
      for (let k = 0; k < block; k++) {
        assert.equal(view.getInt8(at + step * (k >> 5) + (k & 31)), values[k], `level ${k} of block ${i}`);
      }
      checkSums(kind, values, (offset) => view.getInt16(at + offset, true), `block ${i}`);
    }
  });
}

/** Sums of levels, which `stored` gives by their offset in the record. */
function checkSums(kind: RecordKind, values: Int8Array, stored: (offset: number) => number, what: string): void {
  const sum = (start: number, count: number, has: (k: number) => boolean = () => true) =>
    values.subarray(start, start + count).reduce((total, value, k) => total + (has(k) ? value : 0), 0);
  const check = (offset: number, expected: number) => assert.equal(stored(offset), expected + 0, `${what}, ${offset}`);
  if (kind === 16 || kind === 32) {
    for (const part of [0, 1]) check(records[kind].sums + 2 * part, -8 * sum(0, kind, (k) => (k & 2) === 2 * part));
    return;
  }
  for (let start = 0; start < 256; start += 32) check(records[kind].sums32 + start / 16, sum(start, 32));
  for (let start = 0; start < 256; start += 16) {
    if (kind === 'tiles') {
      check(records.tiles.sums16 + start / 8, sum(start, 16));
      continue;
    }
    const { step, sums } = records[256];
    for (const part of [0, 1]) {
      const offset = step * (start >> 5) + sums + (start & 16) / 4 + 2 * part;
      check(offset, -32 * sum(start, 16, (k) => (k & 2) === 2 * part));
    }
  }
}

test('products: pairs without a kernel are refused', () => {
  const shape = { tokens: 1, N: 16, K: 256, bias: false };
  const refused = (format: string, numerics: DotNumerics) =>
    assert.throws(
      () => quantizedDotKernel({ ...shape, format, numerics }, targets.avx2),
      (error) => isIngotError(error) && error.code === 'UnsupportedOp',
    );
  refused('f32', 'i8');
  refused('iq1_s', 'i8');
});
