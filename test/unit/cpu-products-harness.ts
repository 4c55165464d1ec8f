/** What the tests of products share: cases, the references that they are held to, weights and activations at their ends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { activationBytes, activationsKernel, activationsOf } from '../../src/devices/cpu/kernels/activations.ts';
import { blocks } from '../../src/devices/cpu/kernels/blocks.ts';
import { type IntegerFormat, isIntegerFormat, levels } from '../../src/devices/cpu/kernels/levels.ts';
import { packedBytes, packedFormat } from '../../src/devices/cpu/kernels/packing.ts';
import { biasBuffer, quantizedDotKernel, weightBuffer } from '../../src/devices/cpu/kernels/quantized-dot.ts';
import { type InstructionSet, targetKey, targets } from '../../src/devices/cpu/target.ts';
import type { Dim } from '../../src/ir/types.ts';
import { type DotNumerics, dotNumerics } from '../../src/numerics/dot.ts';
import { blockFormat } from '../../src/numerics/quant/formats.ts';
import { fromBits } from '../../src/numerics/rounding.ts';
import { withDrawnSchedule } from './drawn-schedule.ts';
import { type Machine, machineOf } from './machine.ts';
import { Guarded, packed, runKernel } from './native-kernel.ts';

/** xorshift32: the same numbers in every run. */
export function generator(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

export function normals(length: number, next: () => number): Float32Array {
  return Float32Array.from({ length }, () => {
    const [u, v] = [(next() + 1) / 2 ** 32, next() / 2 ** 32];
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
  });
}

export function assertSameBits(actual: Float32Array, expected: Float32Array, what: string): void {
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
  /** Rows of several matrices, N in all. */
  readonly matrices?: readonly number[];
  /** What results are added to. */
  readonly residual?: Float32Array;
  readonly x: Float32Array;
  /** Blocks of the format. */
  readonly weight: Uint8Array;
}

function reference({ format, numerics, N, K, T, x, weight, residual }: Case, bias: Float32Array): Float32Array {
  const blocks = blockFormat(format);
  const rowBytes = (K / blocks.blockSize) * blocks.blockBytes;
  const y = new Float32Array(T * N);
  for (let t = 0; t < T; t++) {
    const row = dotNumerics[numerics](x.subarray(t * K, (t + 1) * K), blocks);
    for (let n = 0; n < N; n++) {
      const product = row(weight.subarray(n * rowBytes, (n + 1) * rowBytes));
      const biased = bias.length > 0 ? Math.fround(product + (bias[n] as number)) : product;
      y[t * N + n] = residual === undefined ? biased : (residual[t * N + n] as number) + biased;
    }
  }
  return y;
}

export const teams: Readonly<Record<number, readonly number[]>> = { 1: [0], 2: [1, 0], 3: [2, 0, 1] };

export function runDot(c: Case, bias: Float32Array, machine: Machine): Float32Array {
  const { target } = machine;
  const { numerics, N, K, T, threads, matrices = [N], residual = new Float32Array(0) } = c;
  const format = packedFormat(c.format);
  const team = teams[threads] ?? assert.fail();
  // Every other kernel is made for this number of tokens alone.
  const tokens: Dim = threads === 2 ? T : { sym: 'T', max: T };
  const parts: Record<string, Guarded> = {};
  let row = 0;
  for (const [i, rows] of matrices.entries()) {
    const rowBytes = c.weight.length / N;
    const part = new Guarded(packedBytes(format, [rows, K]), machine);
    part.bytes.set(packed(format, c.weight.subarray(row * rowBytes, (row + rows) * rowBytes), [rows, K]));
    parts[weightBuffer(i)] = part;
    if (c.bias) parts[biasBuffer(i)] = Guarded.of(bias.slice(row, row + rows), machine);
    row += rows;
  }
  using added = Guarded.of(residual, machine);
  using y = new Guarded(4 * T * N, machine);
  using floats = Guarded.of(c.x, machine);
  const activations = activationsOf(format, numerics, target);
  const prepared = activations.kind !== 'plain';
  using made = new Guarded(prepared ? activationBytes(activations, T, K) : 0, machine);
  if (prepared) runKernel(activationsKernel(activations, tokens, K), { x: floats, activations: made }, T, team);
  const x = prepared ? made : floats;
  const kernel = quantizedDotKernel(
    { format, numerics, tokens, N, K, bias: c.bias, matrices, residual: residual.length > 0 },
    target,
  );
  runKernel(kernel, { x, y, ...parts, ...(residual.length > 0 && { residual: added }) }, T, team);
  for (const part of Object.values(parts)) part[Symbol.dispose]();
  return y.floats();
}

export function check(c: Case, machine: Machine, next: () => number): void {
  const bias = c.bias ? normals(c.N, next) : new Float32Array(0);
  const { format, numerics, N, K, T, threads } = c;
  assertSameBits(
    runDot(c, bias, machine),
    reference(c, bias),
    `${format} ${numerics} [${T}, ${K}] x [${N}, ${K}], ${threads} threads, ${targetKey(machine.target)}`,
  );
}

/**
 * The sets whose code is tested. That of `dotprod` and `i8mm` is that of `neon` for numerics other than `i8`, that of `bf16`
 * is another for numerics `bf16` alone. And that of `neon` is translated from AVX2's, instruction by instruction, each of which has its own test, so that some formats do.
 */
export function testedSets(what: string): readonly InstructionSet[] {
  const isTested: Partial<Record<InstructionSet, boolean>> = {
    neon: /^(q4_0|q4_K|f16) /.test(what),
    // What differs between the two is one loop, the same for all formats.
    dotprod: /^(q8_0|q4_0|q4_K|nvfp4) in i8 numerics/.test(what),
    // With and without minima, blocks of 16, signs apart, codebooks, powers of three.
    // Values in loops and one after another, rows that are no whole steps, and weights that are bf16.
    bf16: /^(q4_0|q4_K|q6_K|f32|f16|bf16) in bf16 numerics/.test(what),
    i8mm: /^(q8_0|q4_0|q4_1|q2_K|q6_K|iq2_xs|iq4_nl|nvfp4|tq1_0|more) .*in i8 numerics/.test(what),
  };
  return (Object.keys(targets) as InstructionSet[]).filter((set) => isTested[set] ?? true);
}

/** A test for the code of each instruction set: all of them have the same bits. */
export function testSets(what: string, run: (machine: Machine) => void): void {
  for (const set of testedSets(what)) {
    const machine = machineOf(set);
    test(`products: ${what} (${set})`, { skip: typeof machine === 'string' && machine }, () =>
      run(typeof machine === 'string' ? assert.fail(machine) : machine),
    );
  }
}

export const integerFormats = Object.keys(levels) as IntegerFormat[];
export const floatFormats = ['f32', 'f16', 'bf16', 'e4m3_32', 'e5m2_32'] as const;

export function randomWeight(format: string, values: number, next: () => number): Uint8Array {
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
/** The walk over panels and tokens does not know the format: these have the others' shapes, tiles of 32 and of 256, and none. */
const walked: readonly string[] = ['q4_0', 'q4_K', 'f32', 'f16', 'bf16'];
const someShapes = [
  [1, 1],
  [17, 2],
  [15, 5],
  [36, 9],
  [40, 70],
] as const;
/** An emulator is slow. */
const fewShapes = [
  [1, 1],
  [17, 15],
  [36, 33],
  [32, 0],
] as const;

export function checkShapes(
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
    const on = round % 3 === 1 ? withDrawnSchedule(machine, next) : machine;
    check({ format, numerics, N, K, T, x, weight, threads, bias: round % 2 === 1 }, on, next);
    round++;
  };
  const isWalked = walked.includes(format);
  const some = machine.emulated ? fewShapes : isWalked ? shapes : someShapes;
  for (const K of Ks) for (const shape of some) checkShape(K, shape);
  if (!machine.emulated && isWalked) for (const shape of moreShapes) checkShape(Ks[0] as number, shape);
}

/** Blocks whose levels and sub-scales are all `fill` (random bytes if undefined) and whose f16 scales are `scale`. */
export function extremeWeight(
  format: string,
  values: number,
  fill: number | undefined,
  scale: number,
  next: () => number,
) {
  const { blockSize, blockBytes } = blockFormat(format);
  const weight = new Uint8Array((values / blockSize) * blockBytes).map(() => fill ?? next());
  const view = new DataView(weight.buffer);
  if (!isIntegerFormat(format)) {
    if (blockSize > 1) {
      for (let at = 0; at < weight.length; at += blockBytes) view.setFloat32(at, fromBits('f16', scale), true);
    }
    return weight;
  }
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

export const extremeActivations: readonly ((k: number, next: () => number) => number)[] = [
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
