/** Rows that are made and prepared for a product in one launch: the bits of both done apart, for any number of rows and threads. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { inlineComposites } from '../../src/compiler/inline.ts';
import { planProgram } from '../../src/compiler/kernel/plan.ts';
import { rowOf } from '../../src/compiler/kernel/row.ts';
import { gatedActivation } from '../../src/composites/gated_activation.ts';
import { quantizedDot } from '../../src/composites/quantized_dot.ts';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import { createCpuDevice } from '../../src/devices/cpu/device.ts';
import { emitKernel } from '../../src/devices/cpu/emit/emit.ts';
import { activationRowBytes } from '../../src/devices/cpu/kernels/activations.ts';
import { quantizeActivationsKernel } from '../../src/devices/cpu/kernels/quantize-activations.ts';
import { rowChainKernel } from '../../src/devices/cpu/kernels/row-chain.ts';
import { findSystem } from '../../src/devices/cpu/os/open.ts';
import { whyNot } from '../../src/devices/cpu/target.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { type DotNumerics, dotNumerics } from '../../src/numerics/dot.ts';
import { encodableFormat } from '../../src/numerics/quant/formats.ts';
import { testEmitted } from './cpu-emit-harness.ts';
import { Guarded, runKernel } from './native-kernel.ts';

const found = findSystem();
const reason = found.usable ? whyNot(found.system) : found.reason;
const T = { sym: 'T', max: 40 } as const;
const [rows, K] = [48, 512];
const values = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) => 3 * Math.sin(seed + 3 * i) * Math.cos(i));

type Make = (b: Builder, x: Value, scale: Value) => Value;
const norm: Make = (b, x, scale) => rmsNorm(b, b.slice(x, 1, 0, K), scale, 1e-5);
const gate: Make = (b, x) => gatedActivation(b, b.slice(x, 1, 0, K), b.slice(x, 1, K, 2 * K), 'silu');

/** What is made of x [T, 2 K], times a weight, or by itself. */
async function run(
  make: Make,
  threads: number,
  count: number,
  x: Float32Array,
  dot?: { format: string; numerics: DotNumerics; weight: Uint8Array },
) {
  if (!found.usable) return assert.fail(found.reason);
  await using device = createCpuDevice(found.system, { threads, profile: 'sums' });
  const program = new ProgramBuilder().program(
    [
      { name: 'x', type: tensor('f32', [T, 2 * K]), role: 'input' },
      { name: 'scale', type: tensor('f32', [K]), role: 'input' },
      ...(dot ? [{ name: 'w', type: tensor('f32', [rows, K]), role: 'weight' as const, format: dot.format }] : []),
    ],
    (b, given) => {
      const made = make(b, given.x, given.scale);
      return { y: dot === undefined ? made : quantizedDot(b, made, given.w, dot) };
    },
  );
  using executable = await device.compile(program);
  const weights = new Map();
  if (dot)
    weights.set(
      'w',
      await device.pack({ name: 'w', format: dot.format, shape: [rows, K], bytes: memoryBytes(dot.weight) }),
    );
  using bound = await device.bind(executable, weights, new Map());
  const inputs = new Map(Object.entries({ x, scale: values(K, 9) }));
  const [view] = [
    ...(await device.wait(device.submit(bound, inputs, { T: count }), performance.now() + 60_000)).values(),
  ];
  const kernels = device.profile().kernels.map(({ kernel }) => kernel);
  const result = new Float32Array(view.buffer, view.byteOffset, view.byteLength / 4).slice();
  for (const weight of weights.values()) weight[Symbol.dispose]();
  return { result, kernels };
}

for (const [what, make] of Object.entries({ norm, gate })) {
  for (const [format, numerics, preparation] of [
    ['q4_0', 'i8', 'quantize_activations'],
    ['q6_K', 'i8', 'quantize_activations'],
    ['q8_0', 'bf16', 'round_activations'],
  ] as const) {
    test(`row chain: a ${what} and activations of ${format} in ${numerics}`, { skip: reason ?? false }, async () => {
      const encoder = encodableFormat(format);
      const rowBytes = (K / encoder.blockSize) * encoder.blockBytes;
      const weight = new Uint8Array(rows * rowBytes);
      encoder.encode(values(rows * K, 2), weight);
      for (const [threads, count] of [
        [1, 1],
        [2, 1],
        [2, 7],
        [3, 40],
      ] as const) {
        const x = values(count * 2 * K, count);
        const { result: made } = await run(make, threads, count, x);
        const { result, kernels } = await run(make, threads, count, x, { format, numerics, weight });
        const prepared = kernels.filter((kernel) => kernel.includes(preparation));
        assert.equal(prepared.length, 1);
        assert.ok(!prepared[0].startsWith(preparation), `${prepared[0]} is no launch of its own`);
        for (let t = 0; t < count; t++) {
          const row = dotNumerics[numerics](made.subarray(t * K, (t + 1) * K), encoder);
          const expected = Float32Array.from({ length: rows }, (_, n) =>
            row(weight.subarray(n * rowBytes, (n + 1) * rowBytes)),
          );
          assert.deepEqual(result.subarray(t * rows, (t + 1) * rows), expected);
        }
      }
    });
  }
}

const plan = planProgram(
  inlineComposites(
    new ProgramBuilder().program(
      [
        { name: 'x', type: tensor('f32', [T, K]), role: 'input' },
        { name: 'scale', type: tensor('f32', [K]), role: 'input' },
      ],
      (b, { x, scale }) => ({ y: rmsNorm(b, x, scale, 1e-5) }),
    ),
    () => false,
  ),
);

testEmitted('row chain: the bits of its kernels one after the other', (machine) => {
  const { target } = machine;
  const [step] = plan.main.steps;
  const loops = step?.kind === 'launch' ? step.kernel : assert.fail('the norm is one kernel');
  const row = rowOf(loops) ?? assert.fail('the norm goes along rows');
  const count = 11;
  const x = Guarded.of(values(count * K, 4), machine);
  const scale = Guarded.of(values(K, 5), machine);
  const guarded = (bytes: number) => new Guarded(bytes, machine);
  const recordBytes = activationRowBytes({ kind: 'integers', records: 32 }, K);
  const [apart, together] = [0, 1].map(() => ({ made: guarded(4 * count * K), records: guarded(count * recordBytes) }));
  // Each buffer in the kernel's order: what it makes, then what it reads.
  const names = loops.buffers.map(({ name }) => name);
  const buffers = (made: Guarded) => [made, x, scale];
  const first = Object.fromEntries(names.map((name, i) => [name, buffers(apart.made)[i]]));
  runKernel(emitKernel(loops, target), first, { T: count }, [0, 1, 2]);
  runKernel(
    quantizeActivationsKernel(32, T, K),
    { x: apart.made, activations: apart.records },
    { T: count },
    [1, 0, 2],
  );
  const parts = [
    { kernel: emitKernel(row.kernel, target), bytes: row.strides.map((stride) => 4 * stride) },
    { kernel: quantizeActivationsKernel(32, 1, K), bytes: [4 * K, recordBytes] },
  ];
  const chain = rowChainKernel(T, parts);
  const given = [...buffers(together.made), together.made, together.records];
  const args = chain.args.filter(({ kind }) => kind === 'buffer');
  const named = Object.fromEntries(args.map((arg, i) => ['name' in arg ? arg.name : '', given[i]]));
  runKernel(chain, named, { T: count }, [1, 0, 2]);
  assert.deepEqual(together.made.bytes, apart.made.bytes);
  assert.deepEqual(together.records.bytes, apart.records.bytes);
});
