/** What a kernel does to each of its rows, one after another, is what it does to all of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inlineComposites } from '../../src/compiler/inline.ts';
import { checkKernel } from '../../src/compiler/kernel/check.ts';
import { evaluatorOf } from '../../src/compiler/kernel/evaluate.ts';
import type { Kernel } from '../../src/compiler/kernel/language.ts';
import { planProgram } from '../../src/compiler/kernel/plan.ts';
import { rowOf } from '../../src/compiler/kernel/row.ts';
import { gatedActivation } from '../../src/composites/gated_activation.ts';
import { layerNorm } from '../../src/composites/layer_norm.ts';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter, Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { elementBytes } from '../../src/numerics/element-types.ts';

const T = { sym: 'T', max: 6 } as const;
const parameters = [
  { name: 'x', type: tensor('f32', [T, 16]), role: 'input' },
  { name: 'fixed', type: tensor('f32', [20, 16]), role: 'input' },
  { name: 'scale', type: tensor('f32', [16]), role: 'weight' },
  { name: 'ids', type: tensor('i32', [T]), role: 'input' },
] as const satisfies readonly Parameter[];
type Values = Readonly<Record<(typeof parameters)[number]['name'], Value>>;

/** The last, where there are more. */
function kernelOf(body: (b: Builder, v: Values) => Value): Kernel {
  const program = new ProgramBuilder().program(parameters, (b, v) => ({ out: body(b, v) }));
  const { main } = planProgram(inlineComposites(program, () => false));
  const kernels = main.steps.flatMap((step) => (step.kind === 'launch' ? [step.kernel] : []));
  return kernels[kernels.length - 1];
}

const halves = (b: Builder, x: Value) => [b.slice(x, 1, 0, 8), b.slice(x, 1, 8, 16)] as const;
const cases: readonly [string, Kernel, number | 'T'][] = [
  ['a norm', kernelOf((b, { x, scale }) => rmsNorm(b, x, scale, 1e-5)), 'T'],
  ['a norm of a fixed number of rows', kernelOf((b, { fixed, scale }) => rmsNorm(b, fixed, scale, 1e-5)), 20],
  ['a norm around its mean', kernelOf((b, { x, scale }) => layerNorm(b, x, scale, undefined, 1e-5)), 'T'],
  ['a gate', kernelOf((b, { x }) => gatedActivation(b, ...halves(b, x), 'silu')), 'T'],
];

for (const [name, kernel, rows] of cases) {
  test(`rows: ${name}`, () => {
    const row = rowOf(kernel);
    assert.ok(row !== undefined);
    assert.equal(row.rows, rows);
    assert.deepEqual(row.kernel.dims, []);
    checkKernel(row.kernel);
    const count = rows === 'T' ? 5 : rows;
    const memory = () =>
      kernel.buffers.map(({ element, elements }, i) => {
        assert.equal(element, 'f32');
        const values = Float32Array.from({ length: elements }, (_, at) => Math.sin(at * (i + 1)));
        return { bytes: new Uint8Array(values.buffer), offset: 0 };
      });
    const [whole, each] = [memory(), memory()];
    evaluatorOf(kernel)(whole, { T: count });
    for (let r = 0; r < count; r++) {
      // A row's buffers begin there and end where they end for all.
      const shifted = each.map(({ bytes }, i) => {
        const at = row.strides[i] * elementBytes(kernel.buffers[i].element) * r;
        const longer = new Uint8Array(bytes.length + at);
        longer.set(bytes);
        return { bytes: longer, offset: at };
      });
      evaluatorOf(row.kernel)(shifted, {});
      shifted.forEach(({ bytes }, i) => {
        each[i].bytes.set(bytes.subarray(0, each[i].bytes.length));
      });
    }
    assert.deepEqual(each, whole);
  });
}

const others: readonly [string, Kernel][] = [
  ['rows that are one line', kernelOf((b, { x }) => b.exponential(x))],
  ['what threads share within rows', kernelOf((b, { x }) => b.transpose(b.reshape(x, [T, 4, 4]), [0, 2, 1]))],
  ['rows at places that data names', kernelOf((b, { fixed, ids }) => b.negate(b.take(fixed, ids)))],
  [
    'a row that depends on its number',
    kernelOf((b, { fixed }) => b.reduce('add', b.multiply(fixed, b.iota('f32', [20, 16], 0)), 0, [1])),
  ],
];
for (const [name, kernel] of others) {
  test(`rows: none in ${name}`, () => assert.equal(rowOf(kernel), undefined));
}
