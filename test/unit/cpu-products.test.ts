import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packedBytes, packedFormat, packRows } from '../../src/devices/cpu/kernels/packing.ts';
import {
  type ActivationBlock,
  activationBytes,
  quantizeActivationsKernel,
} from '../../src/devices/cpu/kernels/quantize-activations.ts';
import { quantizedDotKernel } from '../../src/devices/cpu/kernels/quantized-dot.ts';
import { type DotNumerics, dotNumerics, quantizeActivations } from '../../src/numerics/dot.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { cannotRun, Guarded, load } from './native-code.ts';

const skip = cannotRun;

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

function runDot(c: Case, bias: Float32Array): Float32Array {
  const { numerics, N, K, T, threads } = c;
  const format = packedFormat(c.format);
  using weight = new Guarded(packedBytes(format, [N, K]));
  packRows(format, c.weight, N, K, weight.bytes);
  using y = new Guarded(4 * T * N);
  y.bytes.fill(0xff);
  using x = Guarded.of(c.x);
  const block = blockFormat(format).blockSize as ActivationBlock;
  using records = new Guarded(numerics === 'i8' ? activationBytes(block, T, K) : 0);
  if (numerics === 'i8') {
    const quantize = load(quantizeActivationsKernel(block, K));
    for (let i = 0; i < threads; i++) quantize([x.address, records.address, T], i, threads);
  }
  using biasMemory = Guarded.of(bias);
  const dot = load(quantizedDotKernel({ format, numerics, N, K, bias: c.bias }));
  const input = numerics === 'i8' ? records : x;
  const args = [input.address, weight.address, ...(c.bias ? [biasMemory.address] : []), y.address, T];
  for (let i = threads - 1; i >= 0; i--) dot(args, i, threads);
  for (const memory of [weight, y, x, records, biasMemory]) assert.ok(memory.isIntactBefore());
  return y.floats();
}

function check(c: Case, next: () => number): void {
  const bias = c.bias ? normals(c.N, next) : new Float32Array(0);
  const { format, numerics, N, K, T, threads } = c;
  assertSameBits(runDot(c, bias), reference(c, bias), `${format} ${numerics} [${T}, ${K}] x [${N}, ${K}], ${threads} threads`);
}

for (const format of ['q8_0', 'q4_0', 'q4_K', 'q6_K']) {
  test(`products: ${format} in i8 numerics has the reference's bits`, { skip }, () => {
    const next = generator(format.length * 77 + 5);
    const { blockSize, blockBytes, encode } = blockFormat(format);
    let round = 0;
    for (const K of [blockSize, 3 * blockSize]) {
      for (const N of [1, 15, 17, 100]) {
        for (const T of [1, 2, 3, 5, 9]) {
          const weight = new Uint8Array(((N * K) / blockSize) * blockBytes);
          encode(normals(N * K, next), weight);
          const x = normals(T * K, next);
          check({ format, numerics: 'i8', N, K, T, x, weight, threads: 1 + (round % 3), bias: round % 2 === 1 }, next);
          round++;
        }
      }
    }
  });
}
void quantizeActivations;
