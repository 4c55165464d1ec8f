/** Activations that several products of a program take are quantized once, and again where others have come between. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { quantizedDot } from '../../src/composites/quantized_dot.ts';
import { createCpuDevice } from '../../src/devices/cpu/device.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import { whyNot } from '../../src/devices/cpu/target.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter, Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { dotNumerics } from '../../src/numerics/dot.ts';
import { encodableFormat } from '../../src/numerics/quant/formats.ts';

const found = findSystem();
const reason = found.usable ? whyNot(found.system) : found.reason;
const [rows, K] = [16, 32];
const format = encodableFormat('q4_0');

const values = (count: number, seed: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(seed + 3 * i));

function encoded(seed: number): Uint8Array {
  const bytes = new Uint8Array(rows * format.blockBytes);
  format.encode(values(rows * K, seed), bytes);
  return bytes;
}

function expected(x: Float32Array, weight: Uint8Array): number[] {
  const row = dotNumerics.i8(x, format);
  return Array.from({ length: rows }, (_, n) =>
    row(weight.subarray(n * format.blockBytes, (n + 1) * format.blockBytes)),
  );
}

/** How often activations are quantized, and the results. */
async function run(build: (b: Builder, dot: (x: Value, w: Value) => Value, values: Record<string, Value>) => Value[]) {
  if (!found.usable) return assert.fail(found.reason);
  await using device = createCpuDevice(found.system, { threads: 2, profile: 'sums' });
  const parameters: readonly Parameter[] = [
    { name: 'x', type: tensor('f32', [1, K]), role: 'input' },
    { name: 'y', type: tensor('f32', [1, K]), role: 'input' },
    { name: 'v', type: tensor('f32', [rows, K]), role: 'weight', format: 'q4_0' },
    { name: 'w', type: tensor('f32', [rows, K]), role: 'weight', format: 'q4_0' },
  ];
  const program = new ProgramBuilder().program(
    parameters,
    (b, given) => {
      const dot = (x: Value, w: Value) => quantizedDot(b, x, w, { format: 'q4_0', numerics: 'i8' });
      return Object.fromEntries(build(b, dot, given).map((value, i) => [`r${i}`, value]));
    },
    {},
  );
  using executable = await device.compile(program);
  const pack = (name: string, seed: number) =>
    device.pack({ name, format: 'q4_0', shape: [rows, K], bytes: memoryBytes(encoded(seed)) });
  using v = await pack('v', 1);
  using w = await pack('w', 2);
  using bound = await device.bind(executable, new Map(Object.entries({ v, w })), new Map());
  const inputs = new Map(Object.entries({ x: values(K, 5), y: values(K, 6) }));
  const results = await device.wait(device.submit(bound, inputs, {}), performance.now() + 60_000);
  const quantized = device.profile().kernels.filter(({ kernel }) => kernel.startsWith('quantize_activations'));
  return {
    quantized: quantized.reduce((sum, { calls }) => sum + calls, 0),
    results: [...results.values()].map((view) => [
      ...new Float32Array(view.buffer, view.byteOffset, view.byteLength / 4),
    ]),
  };
}

const [x, y, v, w] = [values(K, 5), values(K, 6), encoded(1), encoded(2)];

test('products of the same activations quantize them once', { skip: reason ?? false }, async () => {
  const { quantized, results } = await run((_, dot, given) => [dot(given.x, given.v), dot(given.x, given.w)]);
  assert.equal(quantized, 1);
  assert.deepEqual(results, [expected(x, v), expected(x, w)]);
});

test('products of other activations in between do not change what they take', { skip: reason ?? false }, async () => {
  const { quantized, results } = await run((_, dot, given) => [
    dot(given.x, given.v),
    dot(given.y, given.v),
    dot(given.x, given.w),
  ]);
  assert.equal(quantized, 3);
  assert.deepEqual(results, [expected(x, v), expected(y, v), expected(x, w)]);
});

test('branches quantize for themselves', { skip: reason ?? false }, async () => {
  const { quantized, results } = await run((b, dot, given) => {
    const first = b.reshape(b.slice(b.slice(given.y, 0, 0, 1), 1, 0, 1), []);
    const isLess = b.compare('LT', first, b.scalar('f32', 0));
    const product = (inner: Builder, name: 'v' | 'w') =>
      quantizedDot(inner, given.x, given[name], { format: 'q4_0', numerics: 'i8' });
    const [chosen] = b.if(
      isLess,
      (inner) => [product(inner, 'v')],
      (inner) => [product(inner, 'w')],
    );
    return [chosen, dot(given.x, given.w)];
  });
  assert.equal(quantized, 2);
  assert.deepEqual(results, [expected(x, (y[0] as number) < 0 ? v : w), expected(x, w)]);
});
