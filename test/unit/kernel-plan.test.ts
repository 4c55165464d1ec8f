/** Random programs as kernels give the bits of the reference device, fused or not, at every value of a symbolic dimension. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { compile } from '../../src/compiler/compile.ts';
import { fuse } from '../../src/compiler/fuse.ts';
import { planProgram } from '../../src/compiler/kernel/plan.ts';
import { planState } from '../../src/compiler/state.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter, Value } from '../../src/ir/program.ts';
import { asTensor, type Dim, tensor } from '../../src/ir/types.ts';
import type { ElementType } from '../../src/numerics/element-types.ts';
import { createPlanDevice } from '../conformance/plan-device.ts';
import { execute } from './compiler-harness.ts';
import { decisions, randomProgram } from './random-program.ts';
import { randomStep, stepDecisions } from './random-step.ts';

test('random programs have the bits of the reference device', async () => {
  await fc.assert(
    fc.asyncProperty(decisions, fc.nat(4), fc.boolean(), async (list, T, simplified) => {
      const program = simplified ? compile(randomProgram(list)) : randomProgram(list);
      const expected = await execute(program, 7, { T });
      assert.deepEqual(await execute(program, 7, { T }, {}, createPlanDevice()), expected);
    }),
    { numRuns: 300, seed: 5 },
  );
});

test('rows that are reduced and then computed with: one kernel, the bits of the reference device', async () => {
  const T = { sym: 'T', max: 4 } as const;
  for (const [shape, kept, reduced] of [
    [[T, 19], [T], [1]],
    [[20, 1], [20], [1]],
    [[4, 5, 6], [4, 5], [2]],
    [[16, 3, 6], [16], [1, 2]],
  ] as const) {
    const type = tensor('f32', shape);
    const parameters = [
      { name: 'x', type, role: 'input' },
      { name: 'y', type, role: 'input' },
    ] as const satisfies readonly Parameter[];
    const leading = kept.map((_, i) => i);
    const program = new ProgramBuilder().program(parameters, (b, { x, y }) => {
      const over = (value: Value) => b.broadcast(value, shape, leading);
      const sum = (value: Value) => b.reduce('add', value, 0, reduced);
      const h = b.add(x, y);
      const mean = sum(h);
      const centered = b.subtract(h, over(mean));
      const deviation = b.unary('sqrt', sum(b.multiply(centered, centered)));
      return { h, mean, deviation, out: b.divide(centered, over(deviation)) };
    });
    const plan = planProgram(program);
    assert.deepEqual(
      plan.main.steps.map((step) => (step.kind === 'launch' ? step.kernel.name : step.kind)),
      ['add_reduce_subtract_multiply_reduce_sqrt_divide'],
    );
    for (const dims of [{ T: 1 }, { T: 4 }]) {
      assert.deepEqual(await execute(program, 3, dims, {}, createPlanDevice()), await execute(program, 3, dims));
    }
  }
});

test('parts that are turned and put side by side: one kernel, the bits of the reference device', async () => {
  const T = { sym: 'T', max: 4 } as const;
  for (const [shape, axis] of [
    [[T, 3, 6], 2],
    [[T, 3, 5, 2], 3],
    [[6, 20], 0],
    [[T, 4, 7], 1],
  ] as const) {
    const parameters = [
      { name: 'x', type: tensor('f32', shape), role: 'input' },
      { name: 'y', type: tensor('f32', shape.slice(0, 1)), role: 'input' },
    ] as const satisfies readonly Parameter[];
    const program = new ProgramBuilder().program(parameters, (b, { x, y }) => {
      const half = (shape[axis] as number) / 2;
      const [p, q] = [0, half].map((at) => b.slice(x, axis, at, at + half));
      const scale = (value: Value) =>
        axis === 0 ? value : b.multiply(value, b.broadcast(y, asTensor(value.type).shape, [0]));
      const difference = b.subtract(scale(p), q);
      return { difference, out: b.concatenate([difference, b.add(q, p), p], axis) };
    });
    const names = planProgram(program).main.steps.map((step) =>
      step.kind === 'launch' ? step.kernel.name : step.kind,
    );
    assert.equal(names.length, 1, names.join());
    for (const dims of [{ T: 1 }, { T: 4 }]) {
      assert.deepEqual(await execute(program, 3, dims, {}, createPlanDevice()), await execute(program, 3, dims));
    }
  }
});

/** One op or a chain of x, with a value y of x's type beside it. */
const successors: readonly {
  readonly of: string;
  readonly shape?: readonly Dim[];
  readonly element?: ElementType;
  readonly takesPlace: boolean;
  readonly make: (b: Builder, x: Value, y: Value) => Value;
}[] = [
  { of: 'a chain', takesPlace: true, make: (b, x, y) => b.multiply(b.negate(x), y) },
  {
    of: 'a chain of T rows',
    shape: [{ sym: 'T', max: 4 }, 33],
    takesPlace: true,
    make: (b, x, y) => b.add(b.unary('abs', x), y),
  },
  { of: 'complex numbers', element: 'complex<f32>', takesPlace: true, make: (b, x, y) => b.multiply(x, y) },
  { of: 'a choice', takesPlace: true, make: (b, x, y) => b.select(b.compare('LT', x, y), y, x) },
  { of: 'what is turned', takesPlace: false, make: (b, x) => b.broadcast(b.negate(x), [33, 33], [1, 0]) },
  {
    of: 'what is put in order anew',
    takesPlace: false,
    make: (b, x) => b.op('reverse', [x], { dimensions: [0] })[0] as Value,
  },
  { of: 'what is turned, and itself', takesPlace: false, make: (b, x) => b.add(b.broadcast(x, [33, 33], [1, 0]), x) },
  {
    of: 'another type',
    takesPlace: false,
    make: (b, x) => b.convert(x, 'f64'),
  },
];

for (const { of, shape = [33, 33], element = 'f32', takesPlace, make } of successors) {
  test(`${of}: ${takesPlace ? 'in the place of' : 'beside'} what it is computed from, with the bits of the reference device`, async () => {
    const type = tensor(element, shape);
    const parameters = [
      { name: 'x', type, role: 'input' },
      { name: 'y', type, role: 'input' },
    ] as const satisfies readonly Parameter[];
    // A barrier: the operand is a temporary of its own.
    const program = new ProgramBuilder().program(parameters, (b, { x, y }) => {
      const [given] = b.op('optimization_barrier', [b.add(x, x)], {}) as readonly Value[];
      return { out: make(b, given as Value, y), y };
    });
    const { main } = planProgram(program);
    const places = main.steps.flatMap((step) => (step.kind === 'launch' ? [step.kernel] : []));
    const last = places.at(-1);
    assert.equal(
      last?.buffers.some(({ access }) => access === 'update'),
      takesPlace,
    );
    for (const dims of [{ T: 1 }, { T: 4 }]) {
      assert.deepEqual(await execute(program, 3, dims, {}, createPlanDevice()), await execute(program, 3, dims));
    }
  });
}

test('a value that is needed later keeps its place', async () => {
  const type = tensor('f32', [33]);
  const program = new ProgramBuilder().program([{ name: 'x', type, role: 'input' }], (b, { x }) => {
    const [given] = b.op('optimization_barrier', [b.add(x, x)], {}) as readonly Value[];
    const [out] = b.op('optimization_barrier', [b.negate(given as Value)], {}) as readonly Value[];
    return { out: out as Value, later: b.op('reverse', [given as Value], { dimensions: [0] })[0] as Value };
  });
  assert.deepEqual(await execute(program, 3, {}, {}, createPlanDevice()), await execute(program, 3, {}));
});

test('a loop may hand on its values in another order: none is overwritten before it is read', async () => {
  const parameters = [
    { name: 'x', type: tensor('f32', [3]), role: 'input' },
    { name: 'y', type: tensor('f32', [3]), role: 'input' },
    { name: 'z', type: tensor('f32', [3]), role: 'input' },
  ] as const satisfies readonly Parameter[];
  const program = new ProgramBuilder().program(parameters, (b, { x, y, z }) => {
    const [, first, second, third] = b.while(
      [b.scalar('i32', 0), x, y, z],
      (c, i) => c.compare('LT', i, c.scalar('i32', 4)),
      (c, i, p, q, r) => [c.add(i, c.scalar('i32', 1)), q, r, p],
    );
    return { first, second, third };
  });
  const given = { x: [1, 2, 3], y: [4, 5, 6], z: [7, 8, 9] };
  const rotated = { first: given.y, second: given.z, third: given.x };
  assert.deepEqual(await execute(program, 1, {}, given, createPlanDevice()), rotated);
});

test('a function that updates several states copies none of them', () => {
  const pool = tensor('f32', [64, 4]);
  const parameters = [
    { name: 'x', type: tensor('f32', [1, 4]), role: 'input' },
    { name: 'at', type: tensor('i32', []), role: 'input' },
    ...['a', 'b', 'c', 'd'].map((name): Parameter => ({ name, type: pool, role: 'state' })),
  ] as const satisfies readonly Parameter[];
  const module = new ProgramBuilder();
  const program = module.program(
    parameters,
    (b, { x, at, a, b: second, c, d }) => {
      const layer = b.program.defineOnce('layer', 'layer', [x.type, at.type, pool, pool], (inner, y, row, k, v) => {
        const put = (state: Value) =>
          inner.op('dynamic_update_slice', [state, y, row, inner.scalar('i32', 0)], {})[0] as Value;
        const [newK, newV] = [put(k), put(v)];
        const sum = inner.op('dynamic_slice', [newK, row, inner.scalar('i32', 0)], { slice_sizes: [1, 4] })[0] as Value;
        return [inner.add(sum, y), newK, newV];
      });
      const [first, newA, newB] = b.call(layer, [x, at, a, second]) as [Value, Value, Value];
      const [result, newC, newD] = b.call(layer, [first, at, c, d]) as [Value, Value, Value];
      return { result, a: newA, b: newB, c: newC, d: newD };
    },
    { a: 'a', b: 'b', c: 'c', d: 'd' },
  );
  const plan = planProgram(program);
  const copies = [...plan.functions.values()].flatMap(({ steps }) => steps.filter(({ kind }) => kind === 'copy'));
  assert.deepEqual(copies, []);
});

test('random steps that overwrite states have the bits of the reference device', async () => {
  let [within, refused] = [0, 0];
  await fc.assert(
    fc.asyncProperty(stepDecisions, async (list) => {
      const program = randomStep(list);
      try {
        planState(program);
      } catch {
        refused++;
        return;
      }
      const overwritten = new Set(program.aliases.map(({ result }) => program.main.results[result]));
      for (const { ops } of fuse(program).get(program.main) ?? []) {
        if (ops.length > 1 && ops.some(({ results }) => results.some((value) => overwritten.has(value)))) within++;
      }
      assert.deepEqual(await execute(program, 7, {}, {}, createPlanDevice()), await execute(program, 7, {}));
    }),
    { numRuns: 150, seed: 5 },
  );
  assert.ok(within > 30 && refused < 30, `${within} overwritten within groups, ${refused} refused`);
});
