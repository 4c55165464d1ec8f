/** Kernels of small programs as text, and the arithmetic that keeps their indices simple. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { inlineComposites } from '../../src/compiler/inline.ts';
import { strideAlong } from '../../src/compiler/kernel/affine.ts';
import { checkKernel } from '../../src/compiler/kernel/check.ts';
import { type Address, evaluatorOf } from '../../src/compiler/kernel/evaluate.ts';
import { constant } from '../../src/compiler/kernel/expressions.ts';
import { axisIndex, indexConstant, linearIndex, spreadIndex } from '../../src/compiler/kernel/index-arithmetic.ts';
import type { Axis, Buffer, Expression, Kernel, Statement } from '../../src/compiler/kernel/language.ts';
import { planProgram } from '../../src/compiler/kernel/plan.ts';
import { printExpression, printKernel } from '../../src/compiler/kernel/print.ts';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter, Value } from '../../src/ir/program.ts';
import { asTensor, tensor } from '../../src/ir/types.ts';
import { sumLanes } from '../../src/numerics/math.ts';

const T = { sym: 'T', max: 4 } as const;
const parameters = [
  { name: 'x', type: tensor('f32', [T, 8]), role: 'input' },
  { name: 'w', type: tensor('f16', [8, 8]), role: 'weight' },
  { name: 'scale', type: tensor('f32', [8]), role: 'weight' },
  { name: 'pool', type: tensor('f32', [16, 2, 4]), role: 'state' },
  { name: 'halves', type: tensor('bf16', [16, 2, 4]), role: 'state' },
  { name: 'slots', type: tensor('i32', [T]), role: 'input' },
] as const satisfies readonly Parameter[];
type Values = Readonly<Record<(typeof parameters)[number]['name'], Value>>;

/** Over the last of two dimensions. */
function softmax(b: Builder, x: Value): Value {
  const over = (value: Value) => b.broadcast(value, asTensor(x.type).shape, [0]);
  const e = b.exponential(b.subtract(x, over(b.reduce('maximum', x, Number.NEGATIVE_INFINITY, [1]))));
  return b.divide(e, over(b.reduce('add', e, 0, [1])));
}

function kernelsOf(body: (b: Builder, v: Values) => Readonly<Record<string, Value>>, aliases = {}): string[] {
  const program = new ProgramBuilder().program(parameters, body, aliases);
  const { main } = planProgram(inlineComposites(program, () => false));
  return main.steps.map((step) => {
    if (step.kind !== 'launch') return step.kind;
    checkKernel(step.kernel);
    return printKernel(step.kernel);
  });
}

const cases: readonly [string, string[], string][] = [
  [
    'a chain over rows that lie one after another is one loop in lanes, in the place of what it reads last',
    kernelsOf((b, { x }) => ({ out: b.negate(b.multiply(x, x)) })),
    `kernel multiply_negate (T)
  update out0: f32[32]
  vector i0i1 < (T * 8)
    let v2: f32 = out0[i0i1]
    let v3: f32 = (v2 * v2)
    let v4: f32 = negate(v3)
    out0[i0i1] = v4`,
  ],
  [
    'what belongs to a row is computed once a row',
    kernelsOf((b, { x, scale }) => ({ out: rmsNorm(b, x, scale, 0.5) })),
    `kernel multiply_reduce_divide_add_rsqrt_multiply (T)
  write out0: f32[32]
  read in0: f32[32]
  read in1: f32[8]
  parallel i0 < T
    let sum5: f32 = add from 0:f32 over r2 < 8
      let v3: f32 = in0[((i0 * 8) + r2)]
      let v4: f32 = (v3 * v3)
      of v4
    let v7: f32 = (sum5 / 8:f32)
    let v8: f32 = (v7 + 0.5:f32)
    let v9: f32 = rsqrt(v8)
    vector i1 < 8
      let v6: f32 = in0[((i0 * 8) + i1)]
      let v10: f32 = (v6 * v9)
      let v11: f32 = in1[i1]
      let v12: f32 = (v10 * v11)
      out0[((i0 * 8) + i1)] = v12`,
  ],
  [
    'a row of what takes long to compute is kept',
    kernelsOf((b, { x }) => ({ out: softmax(b, x) })),
    `kernel reduce_subtract_exponential_reduce_divide (T)
  write out0: f32[32]
  read in0: f32[32]
  private row10: f32[8]
  parallel i0 < T
    let sum4: f32 = maximum from -Infinity:f32 over r2 < 8
      let v3: f32 = in0[((i0 * 8) + r2)]
      of v3
    let sum9: f32 = add from 0:f32 over r5 < 8
      let v6: f32 = in0[((i0 * 8) + r5)]
      let v7: f32 = (v6 - sum4)
      let v8: f32 = exponential(v7)
      row10[r5] = v8
      of v8
    vector i1 < 8
      let v11: f32 = row10[i1]
      let v12: f32 = (v11 / sum9)
      out0[((i0 * 8) + i1)] = v12`,
  ],
  [
    'what is only moved is moved as words',
    kernelsOf((b, { w }) => ({ out: b.transpose(w, [1, 0]) })),
    `kernel transpose
  write out0: ui16[64]
  read in0: ui16[64]
  parallel i0 < 8
    vector i1 < 8
      let v2: ui16 = in0[((i1 * 8) + i0)]
      out0[((i0 * 8) + i1)] = v2`,
  ],
  [
    'rows go to slots of a state in order, elements of a row in lanes; slots outside are dropped',
    kernelsOf((b, { x, pool, slots }) => ({ pool: b.put(pool, slots, b.reshape(x, [T, 2, 4])) }), {
      pool: 'pool',
    }).slice(-1),
    `kernel scatter (T)
  write out0: ui32[128]
  read in0: ui32[32]
  read in1: i32[4]
  vector i0i1 < 8
    serial i2 < T
      let v3: i32 = in1[i2]
      let v4: i1 = ((v3 >= 0:i32) & (v3 <= 15:i32))
      let v5: ui32 = in0[(i0i1 + (i2 * 8))]
      out0[(i0i1 + (convert<index>(minimum(maximum(v3, 0:i32), 15:i32)) * 8))] = v5 where v4`,
  ],
  [
    'rows whose slots are not the same go there in any order',
    kernelsOf((b, { x, pool, slots }) => ({ pool: b.put(pool, slots, b.reshape(x, [T, 2, 4]), { unique: true }) }), {
      pool: 'pool',
    }).slice(-1),
    `kernel scatter (T)
  write out0: ui32[128]
  read in0: ui32[32]
  read in1: i32[4]
  parallel i0 < T
    let v3: i32 = in1[i0]
    let v4: i1 = ((v3 >= 0:i32) & (v3 <= 15:i32))
    vector i1i2 < 8
      let v5: ui32 = in0[(i1i2 + (i0 * 8))]
      out0[(i1i2 + (convert<index>(minimum(maximum(v3, 0:i32), 15:i32)) * 8))] = v5 where v4`,
  ],
  [
    'rows of two states in one kernel, converted on their way',
    kernelsOf(
      (b, { x, halves, pool, slots }) => ({
        pool: b.put(pool, slots, b.reshape(b.negate(x), [T, 2, 4])),
        halves: b.put(halves, slots, b.convert(b.reshape(x, [T, 2, 4]), 'bf16')),
      }),
      { pool: 'pool', halves: 'halves' },
    ).slice(-1),
    `kernel negate_scatter (T)
  write out0: f32[128]
  write out1: bf16[128]
  read in0: f32[32]
  read in1: i32[4]
  vector i0i1 < 8
    serial i2 < T
      let v3: i32 = in1[i2]
      let v4: i1 = ((v3 >= 0:i32) & (v3 <= 15:i32))
      let v5: f32 = in0[(i0i1 + (i2 * 8))]
      let v6: f32 = negate(v5)
      out0[(i0i1 + (convert<index>(minimum(maximum(v3, 0:i32), 15:i32)) * 8))] = v6 where v4
      let v7: i1 = ((v3 >= 0:i32) & (v3 <= 15:i32))
      let v8: bf16 = convert<bf16>(v5)
      out1[(i0i1 + (convert<index>(minimum(maximum(v3, 0:i32), 15:i32)) * 8))] = v8 where v7`,
  ],
];

for (const [name, kernels, expected] of cases) test(name, () => assert.equal(kernels.join('\n'), expected));

test('a composite that is a kernel is a step with its memory; its decomposition has no plan', () => {
  const program = new ProgramBuilder().program(parameters, (b, { x, scale }) => ({
    out: b.negate(rmsNorm(b, x, scale, 0.5)),
  }));
  const plan = planProgram(program, (name) => name === 'ingot.rms_norm');
  assert.deepEqual(
    plan.main.steps.map(({ kind }) => kind),
    ['composite', 'launch'],
  );
  const [step] = plan.main.steps;
  assert.ok(step.kind === 'composite');
  const { operands, results } = step.op;
  assert.deepEqual([operands.length, results.length], [2, 1]);
  assert.ok([...operands, ...results].every((value) => step.memory.has(value)));
  assert.equal(plan.functions.size, 1);
});

test('an index through reshapes that split and join is the index that it was', () => {
  const axis = (name: string, extent: number): Axis => ({ name, kind: 'parallel', extent: indexConstant(extent) });
  const index = [axis('t', 5), axis('h', 4), axis('d', 6)].map(axisIndex);
  const joined = spreadIndex(linearIndex(index, [T, 4, 6]), [T, 24]);
  assert.deepEqual(joined.map(printExpression), ['t', '((h * 6) + d)']);
  assert.deepEqual(spreadIndex(linearIndex(joined, [T, 24]), [T, 4, 6]).map(printExpression), ['t', 'h', 'd']);
});

/** The value of an index for values of its axes. */
function indexAt(e: Expression, at: ReadonlyMap<Axis, number>): number {
  if (e.kind === 'constant') return Number(e.value);
  if (e.kind === 'axis') return at.get(e.axis) ?? 0;
  assert.ok(e.kind === 'binary');
  const [a, b] = [indexAt(e.a, at), indexAt(e.b, at)];
  switch (e.op) {
    case 'add':
      return a + b;
    case 'subtract':
      return a - b;
    case 'multiply':
      return a * b;
    case 'divide':
      return Math.floor(a / b);
    default:
      assert.equal(e.op, 'remainder');
      return a % b;
  }
}

test('reshaped indices, simplified, are the right ones', () => {
  const factors = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 });
  /** A dimension begins at the first factor and at those whose bit is set in `cuts`. */
  const regroup = (list: readonly number[], cuts: number) => {
    const shape: number[] = [];
    for (const [i, n] of list.entries()) {
      if (i === 0 || (cuts >> i) & 1) shape.push(n);
      else shape[shape.length - 1] *= n;
    }
    return shape;
  };
  fc.assert(
    fc.property(factors, fc.nat(15), fc.nat(15), fc.nat(1000), (list, first, second, place) => {
      const [from, to] = [regroup(list, first), regroup(list.toReversed(), second)];
      const axes = from.map((extent, d): Axis => ({ name: `i${d}`, kind: 'serial', extent: indexConstant(extent) }));
      let rest = place % list.reduce((a, b) => a * b, 1);
      const at = new Map<Axis, number>();
      const linear = rest;
      for (const [d, extent] of [...from.entries()].toReversed()) {
        at.set(axes[d], rest % extent);
        rest = Math.floor(rest / extent);
      }
      const index = spreadIndex(linearIndex(axes.map(axisIndex), from), to);
      const values = index.map((e) => indexAt(e, at));
      assert.equal(
        values.reduce((sum, value, d) => sum * to[d] + value, 0),
        linear,
      );
      assert.ok(values.every((value, d) => value < to[d]));
      // An affine index moves by its stride.
      axes.forEach((axis) => {
        const here = at.get(axis) ?? 0;
        index.forEach((e, d) => {
          const stride = strideAlong(e, axis, () => undefined);
          if (stride !== undefined) assert.equal(indexAt(e, new Map(at).set(axis, here + 1)), values[d] + stride);
        });
      });
    }),
    { numRuns: 500, seed: 11 },
  );
});

const input: Buffer = { name: 'x', element: 'f32', elements: 37, access: 'read' };
const output: Buffer = { name: 'y', element: 'f32', elements: 1, access: 'write' };

function address(array: Float32Array): Address {
  return { bytes: new Uint8Array(array.buffer), offset: 0 };
}

function kernel(body: readonly Statement[]): Kernel {
  return { name: 'k', buffers: [input, output], privates: [], dims: [], body };
}

test('a float sum has the order of sumLanes', () => {
  const axis: Axis = { name: 'i', kind: 'serial', extent: indexConstant(37) };
  const into = { name: 'sum', type: 'f32' } as const;
  const value: Expression = { kind: 'load', type: 'f32', buffer: input, index: axisIndex(axis) };
  const sum = kernel([
    { kind: 'reduce', op: 'add', axes: [axis], body: [], value, init: constant('f32', 3), into },
    { kind: 'store', buffer: output, index: indexConstant(0), value: { kind: 'local', type: 'f32', local: into } },
  ]);
  checkKernel(sum);
  const x = Float32Array.from({ length: 37 }, (_, i) => Math.sin(i) * 10 ** (i % 7));
  const y = new Float32Array(1);
  evaluatorOf(sum)([address(x), address(y)], {});
  assert.equal(y[0], Math.fround(3 + sumLanes(x, 0, 37, 1, Math.fround)));
  assert.notEqual(y[0], Math.fround(x.reduce((a, b) => Math.fround(a + b), 3)));
});

test('the evaluator stops an access outside of a buffer, the check what is not of the language', () => {
  const store = (index: number, value: Expression): Statement => ({
    kind: 'store',
    buffer: output,
    index: indexConstant(index),
    value,
  });
  const outside = kernel([store(1, constant('f32', 0))]);
  assert.throws(
    () => evaluatorOf(outside)([address(new Float32Array(37)), address(new Float32Array(1))], {}),
    RangeError,
  );
  assert.throws(() => checkKernel(kernel([store(0, constant('i32', 0))])), /i32 where f32 is wanted/);
  const read: Expression = { kind: 'load', type: 'f32', buffer: output, index: indexConstant(0) };
  assert.throws(() => checkKernel(kernel([store(0, read)])), /for write only/);
});
