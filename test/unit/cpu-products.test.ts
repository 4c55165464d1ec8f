import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import {
  activationBytes,
  activationRowBytes,
  activationsKernel,
  activationsOf,
} from '../../src/devices/cpu/kernels/activations.ts';
import { blocks } from '../../src/devices/cpu/kernels/blocks.ts';
import { type IntegerFormat, isIntegerFormat, levels } from '../../src/devices/cpu/kernels/levels.ts';
import { packedBytes, packedFormat } from '../../src/devices/cpu/kernels/packing.ts';
import {
  quantizeActivationsKernel,
  type RecordKind,
  recordSize,
  records,
} from '../../src/devices/cpu/kernels/quantize-activations.ts';
import { quantizedDotKernel } from '../../src/devices/cpu/kernels/quantized-dot.ts';
import { quantizedTakeKernel } from '../../src/devices/cpu/kernels/quantized-take.ts';
import { type InstructionSet, targets } from '../../src/devices/cpu/target.ts';
import type { Dim } from '../../src/ir/types.ts';
import { type DotNumerics, dotNumerics, quantizeActivations } from '../../src/numerics/dot.ts';
import { flushSubnormal } from '../../src/numerics/fma.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { fromBits, roundTo } from '../../src/numerics/rounding.ts';
import { skip } from './cpu-emit-harness.ts';
import { type Machine, machineOf } from './machine.ts';
import { Guarded, packed, runKernel } from './native-kernel.ts';

/** xorshift32: the same numbers in every run. */
function generator(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

function normals(length: number, next: () => number): Float32Array {
  return Float32Array.from({ length }, () => {
    const [u, v] = [(next() + 1) / 2 ** 32, next() / 2 ** 32];
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
  });
}

function assertSameBits(actual: Float32Array, expected: Float32Array, what: string): void {
  assert.equal(actual.length, expected.length);
  const [a, e] = [actual, expected].map((floats) => new Int32Array(floats.buffer, floats.byteOffset, floats.length));
  for (let i = 0; i < actual.length; i++) {
    const bothNaN = Number.isNaN(actual[i]) && Number.isNaN(expected[i]);
    if (a?.[i] !== e?.[i] && !bothNaN) assert.fail(`${what}: [${i}] is ${actual[i]}, not ${expected[i]}`);
  }
}

interface Case {
  readonly format: string;
  readonly numerics: DotNumerics;
  readonly N: number;
  readonly K: number;
  readonly T: number;
  readonly threads: number;
  readonly bias: boolean;
  readonly x: Float32Array;
  /** Blocks of the format. */
  readonly weight: Uint8Array;
}

function reference({ format, numerics, N, K, T, x, weight }: Case, bias: Float32Array): Float32Array {
  const blocks = blockFormat(format);
  const rowBytes = (K / blocks.blockSize) * blocks.blockBytes;
  const y = new Float32Array(T * N);
  for (let t = 0; t < T; t++) {
    const row = dotNumerics[numerics](x.subarray(t * K, (t + 1) * K), blocks);
    for (let n = 0; n < N; n++) {
      const product = row(weight.subarray(n * rowBytes, (n + 1) * rowBytes));
      y[t * N + n] = bias.length > 0 ? product + (bias[n] as number) : product;
    }
  }
  return y;
}

const teams: Readonly<Record<number, readonly number[]>> = { 1: [0], 2: [1, 0], 3: [2, 0, 1] };

function runDot(c: Case, bias: Float32Array, machine: Machine): Float32Array {
  const { target } = machine;
  const { numerics, N, K, T, threads } = c;
  const format = packedFormat(c.format);
  const team = teams[threads] ?? assert.fail();
  // Every other kernel is made for this number of tokens alone.
  const tokens: Dim = threads === 2 ? T : { sym: 'T', max: T };
  using weight = new Guarded(packedBytes(format, [N, K]), machine);
  weight.bytes.set(packed(format, c.weight, [N, K]));
  using y = new Guarded(4 * T * N, machine);
  using floats = Guarded.of(c.x, machine);
  const activations = activationsOf(format, numerics, target);
  const prepared = activations.kind !== 'plain';
  using made = new Guarded(prepared ? activationBytes(activations, T, K) : 0, machine);
  if (prepared) runKernel(activationsKernel(activations, tokens, K), { x: floats, activations: made }, T, team);
  using biasMemory = Guarded.of(bias, machine);
  const x = prepared ? made : floats;
  const kernel = quantizedDotKernel({ format, numerics, tokens, N, K, bias: c.bias }, target);
  runKernel(kernel, { x, weight, y, ...(c.bias && { bias: biasMemory }) }, T, team);
  return y.floats();
}

function check(c: Case, machine: Machine, next: () => number): void {
  const bias = c.bias ? normals(c.N, next) : new Float32Array(0);
  const { format, numerics, N, K, T, threads } = c;
  assertSameBits(
    runDot(c, bias, machine),
    reference(c, bias),
    `${format} ${numerics} [${T}, ${K}] x [${N}, ${K}], ${threads} threads`,
  );
}

/** Where code for AVX2 runs. */
function native(): Machine {
  const machine = machineOf('avx2');
  return typeof machine === 'string' ? assert.fail(machine) : machine;
}

/** A test for the code of each instruction set: all of them have the same bits. */
function testSets(what: string, run: (machine: Machine) => void): void {
  for (const set of Object.keys(targets) as InstructionSet[]) {
    const machine = machineOf(set);
    test(`products: ${what} (${set})`, { skip: typeof machine === 'string' && machine }, () =>
      run(typeof machine === 'string' ? assert.fail(machine) : machine),
    );
  }
}

const integerFormats = Object.keys(levels) as IntegerFormat[];
const plainFormats = ['f32', 'f16', 'bf16'] as const;

function randomWeight(format: string, values: number, next: () => number): Uint8Array {
  const { blockSize, blockBytes, encode } = blockFormat(format);
  if (encode === undefined) return extremeWeight(format, values, undefined, 0x2e66, next);
  const weight = new Uint8Array((values / blockSize) * blockBytes);
  encode(normals(values, next), weight);
  return weight;
}

/** Every shape that takes another way through the code: few and many rows and tokens, with and without tails. */
const shapes: readonly (readonly [N: number, T: number])[] = [1, 15, 17, 100].flatMap((N) =>
  [1, 2, 3, 5, 9, 33].map((T) => [N, T] as const),
);
const moreShapes = [
  [32, 0],
  [8, 4],
  [48, 70],
  [17, 131],
  [40, 300],
] as const;
/** An emulator is slow. */
const fewShapes = [
  [1, 1],
  [17, 15],
  [36, 33],
  [32, 0],
] as const;

function checkShapes(
  format: string,
  numerics: DotNumerics,
  Ks: readonly number[],
  machine: Machine,
  seed: number,
): void {
  const next = generator(seed);
  let round = 0;
  const checkShape = (K: number, [N, T]: readonly [number, number]) => {
    const weight = randomWeight(format, N * K, next);
    const x = normals(T * K, next);
    const threads = 1 + (round % 3);
    check({ format, numerics, N, K, T, x, weight, threads, bias: round % 2 === 1 }, machine, next);
    round++;
  };
  for (const K of Ks) for (const shape of machine.emulated ? fewShapes : shapes) checkShape(K, shape);
  if (!machine.emulated) for (const shape of moreShapes) checkShape(Ks[0] as number, shape);
}

for (const [index, format] of integerFormats.entries()) {
  const { blockSize } = blockFormat(format);
  const nine = 9 * 32 * (blockSize / 32);
  for (const [numerics, Ks] of [
    ['i8', [blockSize, 3 * blockSize, nine]],
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

for (const [index, format] of plainFormats.entries()) {
  testSets(`${format} in f32 numerics has the reference's bits`, (machine) => {
    checkShapes(format, 'f32', [1, 7, 8, 64, 77], machine, 51 + index);
  });
  testSets(`${format} in bf16 numerics has the reference's bits`, (machine) => {
    checkShapes(format, 'bf16', machine.emulated ? [1, 77] : [1, 7, 64, 77, 290], machine, 55 + index);
  });
}

/** Blocks whose levels and sub-scales are all `fill` (random bytes if undefined) and whose f16 scales are `scale`. */
function extremeWeight(format: string, values: number, fill: number | undefined, scale: number, next: () => number) {
  const { blockSize, blockBytes } = blockFormat(format);
  const weight = new Uint8Array((values / blockSize) * blockBytes).map(() => fill ?? next());
  const view = new DataView(weight.buffer);
  if (!isIntegerFormat(format)) return weight;
  const { d, minimum } = blocks[format];
  for (let at = 0; at < weight.length; at += blockBytes) {
    // Exponents of 8 bits: those of the f16, the ends among them.
    if (levels[format].d === 'e8m0')
      view.setUint8(at + d, [0x3c00, 0x2e66].includes(scale) ? 120 : scale === 0x7bff ? 254 : scale);
    else if (levels[format].d === 'e4m3')
      view.setUint32(at + d, scale * 0x10001 + (scale === 0x2e66 ? 0 : 0x80000000), true);
    else view.setUint16(at + d, scale, true);
    if (minimum !== undefined) view.setUint16(at + minimum, scale, true);
  }
  return weight;
}

const extremeActivations: readonly ((k: number, next: () => number) => number)[] = [
  () => 3,
  () => -3,
  (k) => (k % 2 === 0 ? 1 : -1),
  (k) => (k % 4 < 2 ? 1 : -1),
  () => 0,
  () => 3.4e38,
  (_, next) => ((next() % 255) - 127) * 1e-44,
  (k, next) => (next() % 7 === 0 ? 1e-38 : k * 1e-39),
  (k) => (k === 5 ? Number.NaN : k === 9 ? Number.POSITIVE_INFINITY : k),
  (k) => (k === 20 ? Number.NEGATIVE_INFINITY : -k),
];

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
      for (const scale of machine.emulated ? scales.slice(2, 4) : scales) {
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
      native(),
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

for (const [index, format] of [...integerFormats, ...plainFormats].entries()) {
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

for (const [index, format] of [...integerFormats, ...plainFormats].entries()) {
  test(`products: rows of ${format} are taken with the bits of its decoder`, { skip }, () => {
    const next = generator(91 + index);
    const { blockSize, decode } = blockFormat(format);
    for (const K of blockSize === 1 ? [1, 2, 7, 40] : [blockSize, 3 * blockSize]) {
      for (const N of [1, 15, 40]) {
        const isInteger = blockSize > 1;
        const weight = isInteger
          ? extremeWeight(format, N * K, undefined, 0x2e66, next)
          : randomWeight(format, N * K, next);
        using panels = Guarded.of(packed(packedFormat(format), weight, [N, K]));
        const ids = Int32Array.from([0, N - 1, N >> 1, -1, N, -(2 ** 31), 2 ** 31 - 1, next() % N]);
        using idMemory = Guarded.of(ids);
        using y = new Guarded(4 * ids.length * K);
        const kernel = quantizedTakeKernel({ format, tokens: ids.length, N, K });
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
