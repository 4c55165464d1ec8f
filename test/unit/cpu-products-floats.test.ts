import assert from 'node:assert/strict';
import { test } from 'node:test';
import { activationBytes, activationRowBytes, activationsKernel } from '../../src/devices/cpu/kernels/activations.ts';
import { packedFormat } from '../../src/devices/cpu/kernels/packing.ts';
import { quantizedTakeKernel } from '../../src/devices/cpu/kernels/quantized-take.ts';
import { flushSubnormal } from '../../src/numerics/fma.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { fromBits, roundTo } from '../../src/numerics/rounding.ts';
import { skip } from './cpu-emit-harness.ts';
import {
  assertSameBits,
  check,
  checkShapes,
  extremeWeight,
  floatFormats,
  generator,
  integerFormats,
  randomWeight,
  testSets,
} from './cpu-products-harness.ts';
import { Guarded, packed, runKernel } from './native-kernel.ts';

for (const [index, format] of integerFormats.entries()) {
  const { blockSize } = blockFormat(format);
  const nine = 9 * blockSize;
  for (const [numerics, Ks] of [
    ['f32', [blockSize, 2 * blockSize]],
    ['bf16', [blockSize, nine]],
  ] as const) {
    testSets(`${format} in ${numerics} numerics has the reference's bits`, (machine) => {
      checkShapes(
        format,
        numerics,
        machine.emulated ? Ks.slice(0, numerics === 'bf16' ? 1 : 2) : Ks,
        machine,
        31 + index,
      );
    });
  }
}

/** Lengths of rows, whole blocks. */
const Ks = (format: string, some: readonly number[]) => {
  const { blockSize } = blockFormat(format);
  return [...new Set(some.map((K) => Math.ceil(K / blockSize) * blockSize))];
};

for (const [index, format] of floatFormats.entries()) {
  testSets(`${format} in f32 numerics has the reference's bits`, (machine) => {
    checkShapes(format, 'f32', Ks(format, [1, 7, 8, 64, 77]), machine, 51 + index);
  });
  testSets(`${format} in bf16 numerics has the reference's bits`, (machine) => {
    checkShapes(format, 'bf16', Ks(format, machine.emulated ? [1, 77] : [1, 7, 64, 77, 290]), machine, 55 + index);
  });
}

for (const [index, format] of [...integerFormats, ...floatFormats].entries()) {
  testSets(`${format} in bf16 numerics treats subnormals, infinities and NaN as the reference`, (machine) => {
    const next = generator(75 + index);
    const { blockSize, blockBytes } = blockFormat(format);
    const [N, T, K] = [16, 12, Math.max(blockSize, 64)];
    const scales = [0x3c00, 0x0001, 0xfbff, 0x7c00, 0x7e00];
    for (const scale of machine.emulated ? scales.slice(2) : scales) {
      // Products and sums around the smallest normal number; and any bits.
      const x = Float32Array.from({ length: T * K }, (_, i) => {
        const exponent = [-126, -120, -100, 0][Math.floor(i / K) % 4] as number;
        return (next() / 2 ** 31 - 1) * 2 ** exponent;
      });
      new Int32Array(x.buffer, 4 * (T - 2) * K).forEach((_, k, bits) => {
        bits[k] = k < K ? next() : k % 40 === 7 ? 0x7fffffff : 0x3f800000;
      });
      const weight =
        blockSize > 1
          ? extremeWeight(format, N * K, undefined, scale, next)
          : new Uint8Array(N * K * blockBytes).map(() => next());
      if (format === 'f32') {
        new Float32Array(weight.buffer).forEach((_, i, values) => {
          // The last rows have no large weights that would drown the small.
          if (i % 3 > 0 || i >= 8 * K) values[i] = (next() / 2 ** 31 - 1) * 2 ** ((next() % 30) - 140);
        });
      }
      // The last rows are subnormal.
      if (format === 'bf16') {
        new Uint16Array(weight.buffer, 2 * 8 * K).forEach((bits, i, all) => {
          all[i] = bits & 0x807f;
        });
      }
      check({ format, numerics: 'bf16', N, K, T, x, weight, threads: 2, bias: false }, machine, next);
    }
  });
}

for (const element of ['f32', 'bf16'] as const) {
  test(`products: activations rounded to bf16, stored as ${element}, have the reference's bits`, { skip }, () => {
    const next = generator(88);
    for (const K of [1, 31, 32, 77]) {
      const T = 9;
      // Any bits: all exponents, infinities and NaNs too.
      const x = new Float32Array(Int32Array.from({ length: T * K }, () => next()).buffer);
      x.set([-0, 2 ** -126 - 2 ** -149, Number.NaN, 3.4e38, Number.NEGATIVE_INFINITY, 1e-40, 1.00390625].slice(0, K));
      new Int32Array(x.buffer).set([-1, 0x7f800001, 0x7fffffff], x.length - 3);
      const activations = { kind: 'rounded', element } as const;
      using input = Guarded.of(x);
      using output = new Guarded(activationBytes(activations, T, K));
      runKernel(activationsKernel(activations, { sym: 'T', max: T }, K), { x: input, activations: output }, T, [1, 0]);
      const view = new DataView(output.bytes.slice().buffer);
      for (let t = 0; t < T; t++) {
        for (let k = 0; k < 32 * Math.ceil(K / 32); k++) {
          const at = t * activationRowBytes(activations, K) + k * (element === 'f32' ? 4 : 2);
          const value = element === 'f32' ? view.getFloat32(at, true) : fromBits('bf16', view.getUint16(at, true));
          const expected = k < K ? roundTo('bf16', flushSubnormal(x[t * K + k] as number)) : 0;
          assert.ok(Object.is(value, expected), `[${t}, ${k}] of ${K} is ${value}, not ${expected}`);
        }
      }
    }
  });
}

for (const [index, format] of [...integerFormats, ...floatFormats].entries()) {
  test(`products: rows of ${format} are taken with the bits of its decoder`, { skip }, () => {
    const next = generator(91 + index);
    const { blockSize, decode } = blockFormat(format);
    for (const K of blockSize === 1 ? [1, 2, 7, 40] : [blockSize, 3 * blockSize]) {
      for (const N of [1, 15, 40]) {
        const isBlock = blockSize > 1;
        const weight = isBlock
          ? extremeWeight(format, N * K, undefined, 0x2e66, next)
          : randomWeight(format, N * K, next);
        using panels = Guarded.of(packed(packedFormat(format), weight, [N, K]));
        const ids = Int32Array.from([0, N - 1, N >> 1, -1, N, -(2 ** 31), 2 ** 31 - 1, next() % N]);
        using idMemory = Guarded.of(ids);
        using y = new Guarded(4 * ids.length * K);
        const kernel = quantizedTakeKernel({ format, tokens: ids.length / 2, each: 2, N, K });
        runKernel(kernel, { ids: idMemory, weight: panels, y }, 0, [0, 1, 2]);
        const values = new Float32Array(N * K);
        decode(weight, values);
        const expected = new Float32Array(ids.length * K);
        for (const [t, id] of ids.entries()) {
          const row = Math.max(0, Math.min(N - 1, id));
          expected.set(values.subarray(row * K, (row + 1) * K), t * K);
        }
        assertSameBits(y.floats(), expected, `${format} [${N}, ${K}]`);
      }
    }
  });
}
