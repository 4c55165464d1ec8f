import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { compile } from '../../src/compiler/compile.ts';
import { simplify } from '../../src/compiler/simplify.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import { literalArray } from '../../src/ir/literal.ts';
import type { Parameter, Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';
import { definedBy } from '../../src/ir/walk.ts';
import type { ElementType } from '../../src/numerics/element-types.ts';
import { execute, opNames } from './compiler-harness.ts';
import { decisions, randomProgram } from './random-program.ts';

const input = (name: string, element: ElementType, shape: readonly number[] = [4]) =>
  ({ name, type: tensor(element, shape), role: 'input' }) as const satisfies Parameter;
const parameters = [
  input('x', 'f32'),
  input('y', 'f32'),
  input('i', 'i32'),
  input('h', 'f16'),
  input('c', 'i8'),
  input('p', 'i1', []),
  input('q', 'i1'),
] as const;
type Values = Readonly<Record<(typeof parameters)[number]['name'], Value>>;

function build(body: (b: Builder, values: Values) => Value) {
  const program = new ProgramBuilder().program(parameters, (b, values) => ({ out: body(b, values) }));
  verify(program);
  return program;
}

const full = (b: Builder, element: ElementType, value: number) => b.full(element, [4], value);
const rules: readonly [name: string, body: (b: Builder, v: Values) => Value, ops: readonly string[]][] = [
  ['x * 1', (b, { x }) => b.multiply(x, full(b, 'f32', 1)), []],
  ['1 * x', (b, { x }) => b.multiply(full(b, 'f32', 1), x), []],
  ['x + -0', (b, { x }) => b.add(x, full(b, 'f32', -0)), []],
  ['x + 0 stays: -0 becomes 0', (b, { x }) => b.add(x, full(b, 'f32', 0)), ['constant', 'add']],
  ['x - 0', (b, { x }) => b.subtract(x, full(b, 'f32', 0)), []],
  ['x - -0 stays', (b, { x }) => b.subtract(x, full(b, 'f32', -0)), ['constant', 'subtract']],
  ['i + 0', (b, { i }) => b.add(i, full(b, 'i32', 0)), []],
  ['i and -1', (b, { i }) => b.and(i, full(b, 'i32', -1)), []],
  ['i or i', (b, { i }) => b.or(i, i), []],
  ['q and true', (b, { q }) => b.and(q, full(b, 'i1', 1)), []],
  ['x * 0 stays: of infinity it is NaN', (b, { x }) => b.multiply(x, full(b, 'f32', 0)), ['constant', 'multiply']],
  ['x / 1', (b, { x }) => b.divide(x, full(b, 'f32', 1)), []],
  ['x / 8 is a product', (b, { x }) => b.divide(x, full(b, 'f32', 8)), ['constant', 'multiply']],
  ['x / 3 stays', (b, { x }) => b.divide(x, full(b, 'f32', 3)), ['constant', 'divide']],
  ['-(-x)', (b, { x }) => b.negate(b.negate(x)), []],
  ['max(x, x)', (b, { x }) => b.maximum(x, x), []],
  ['x - x stays: of infinity it is NaN', (b, { x }) => b.subtract(x, x), ['subtract']],
  ['select of one value', (b, { q, x }) => b.select(q, x, x), []],
  ['select by a constant', (b, { x, y }) => b.select(b.scalar('i1', true), x, y), []],
  ['select by not', (b, { q, x, y }) => b.select(b.not(q), x, y), ['select']],
  ['there and back to a wider float', (b, { h }) => b.convert(b.convert(h, 'f32'), 'f16'), []],
  [
    'there and back to a narrower float stays',
    (b, { x }) => b.convert(b.convert(x, 'f16'), 'f32'),
    ['convert', 'convert'],
  ],
  ['by a wider integer', (b, { c }) => b.convert(b.convert(c, 'i32'), 'i16'), ['convert']],
  [
    'an integer by a float to one that would wrap stays',
    (b, { c }) => b.convert(b.convert(c, 'f32'), 'ui8'),
    ['convert', 'convert'],
  ],
  ['an integer by a float to a wider one', (b, { c }) => b.convert(b.convert(c, 'f32'), 'i32'), ['convert']],
  [
    'an integer that a float cannot hold stays',
    (b, { i }) => b.convert(b.convert(i, 'f32'), 'f64'),
    ['convert', 'convert'],
  ],
  ['reshape of a reshape', (b, { x }) => b.reshape(b.reshape(x, [2, 2]), [1, 4]), ['reshape']],
  ['reshape there and back', (b, { x }) => b.reshape(b.reshape(x, [2, 2]), [4]), []],
  [
    'two transposes',
    (b, { x }) => b.transpose(b.transpose(b.reshape(x, [2, 2, 1]), [2, 0, 1]), [1, 2, 0]),
    ['reshape'],
  ],
  [
    'two transposes that make a third',
    (b, { x }) => b.transpose(b.transpose(b.reshape(x, [2, 2, 1]), [2, 0, 1]), [2, 0, 1]),
    ['reshape', 'transpose'],
  ],
  [
    'broadcast of a broadcast',
    (b, { x }) => b.broadcast(b.broadcast(x, [4, 3], [0]), [2, 4, 3], [1, 2]),
    ['broadcast_in_dim'],
  ],
  ['a whole slice', (b, { x }) => b.op('slice', [x], { start_indices: [0], limit_indices: [4], strides: [1] })[0], []],
  ['a part of a part', (b, { x }) => b.slice(b.slice(x, 0, 1, 4, 2), 0, 1, 2), ['slice']],
  ['nothing of a part', (b, { x }) => b.slice(b.slice(x, 0, 1, 4), 0, 2, 2), ['slice']],
  [
    'a part that is divided, then cut',
    (b, { x }) => b.slice(b.reshape(b.slice(b.reshape(x, [1, 4]), 1, 2, 4), [1, 1, 2, 1]), 2, 1, 2),
    ['reshape', 'slice'],
  ],
  [
    'a part that loses its dimension stays',
    (b, { x }) => b.reshape(b.slice(b.reshape(x, [2, 2]), 1, 1, 2), [2]),
    ['reshape', 'slice', 'reshape'],
  ],
  [
    'a part that is not where divided ones begin stays',
    (b, { x }) => b.reshape(b.slice(x, 0, 1, 3), [1, 2]),
    ['slice', 'reshape'],
  ],
  [
    'if true',
    (b, { x, y }) =>
      b.if(
        b.scalar('i1', true),
        (c) => [c.negate(x)],
        () => [y],
      )[0],
    ['negate'],
  ],
  [
    'case out of range',
    (b, { x, y }) => {
      const regions = [x, y].map((value) => b.region([], () => [value]));
      return b.op('case', [b.scalar('i32', 9)], {}, { regions })[0];
    },
    [],
  ],
  [
    'a loop that never turns',
    (b, { x }) =>
      b.while(
        [x],
        (c) => c.scalar('i1', false),
        (c, v) => [c.negate(v)],
      )[0],
    [],
  ],
  ['equal ops', (b, { x, y }) => b.multiply(b.add(x, y), b.add(x, y)), ['add', 'multiply']],
  [
    'equal ops with regions',
    (b, { x }) => b.add(b.reduce('add', x, 0, [0]), b.reduce('add', x, 0, [0])),
    ['constant', 'reduce', 'add', 'add'],
  ],
  [
    'unequal ops with regions',
    (b, { x }) => b.add(b.reduce('add', x, 0, [0]), b.reduce('maximum', x, 0, [0])),
    ['constant', 'reduce', 'add', 'reduce', 'maximum', 'add'],
  ],
  [
    'an op inside that is known outside',
    (b, { x, y, p }) =>
      b.multiply(
        b.add(x, y),
        b.if(
          p,
          (c) => [c.add(x, y)],
          () => [y],
        )[0],
      ),
    ['add', 'if', 'multiply'],
  ],
  [
    'an op outside that is known inside stays',
    (b, { x, y, p }) => {
      const [chosen] = b.if(
        p,
        (c) => [c.add(x, y)],
        () => [y],
      );
      return b.multiply(b.add(x, y), chosen);
    },
    ['if', 'add', 'add', 'multiply'],
  ],
  [
    'what nobody needs',
    (b, { x, y, p }) => {
      b.if(
        p,
        (c) => [c.add(x, y)],
        () => [y],
      );
      return b.negate(x);
    },
    ['negate'],
  ],
];
for (const [name, body, ops] of rules) {
  test(`simplify: ${name}`, async () => {
    const program = build(body);
    const simple = simplify(program);
    verify(simple);
    assert.deepEqual(opNames(simple), ops);
    for (let seed = 0; seed < 4; seed++) {
      assert.deepEqual(await execute(simple, seed), await execute(program, seed));
    }
  });
}

const half = (b: Builder) => b.constant(tensor('f32', [2, 2]), [1, 2, 3, 4]);
const folded: readonly [name: string, body: (b: Builder) => Value, expected: readonly number[]][] = [
  ['rounded sums', (b) => b.add(b.scalar('f16', 2048), b.scalar('f16', 1)), [2048]],
  [
    'wrapped integers',
    (b) => b.multiply(b.constant(tensor('i8', [2]), [100, 3]), b.constant(tensor('i8', [2]), [2, 3])),
    [-56, 9],
  ],
  ['unsigned integers', (b) => b.subtract(b.scalar('ui32', 0), b.scalar('ui32', 1)), [4294967295]],
  ['a transpose', (b) => b.transpose(half(b), [1, 0]), [1, 3, 2, 4]],
  ['a broadcast', (b) => b.broadcast(b.constant(tensor('f32', [2]), [5, 6]), [2, 2], [0]), [5, 5, 6, 6]],
  [
    'a slice',
    (b) => b.op('slice', [half(b)], { start_indices: [0, 1], limit_indices: [2, 2], strides: [1, 1] })[0],
    [2, 4],
  ],
  [
    'a comparison and a choice',
    (b) => b.select(b.compare('LT', half(b), b.full('f32', [2, 2], 3)), half(b), b.full('f32', [2, 2], 0)),
    [1, 2, 0, 0],
  ],
  ['conversions', (b) => b.convert(b.constant(tensor('i32', [2]), [257, -1]), 'ui8'), [1, 255]],
];
for (const [name, body, expected] of folded) {
  test(`fold: ${name}`, async () => {
    const program = new ProgramBuilder().program([], (b) => ({ out: body(b) }));
    const simple = simplify(program);
    const value = definedBy(simple.main.results[0], 'constant')?.attributes.value;
    assert.ok(value);
    assert.deepEqual([...literalArray(value, expected.length)], expected);
    assert.deepEqual((await execute(program, 0)).out, expected);
  });
}

test('a broadcast constant stays one element', () => {
  const program = new ProgramBuilder().program([], (b) => ({
    out: b.add(b.broadcast(b.scalar('f32', 2), [1000, 1000]), b.full('f32', [1000, 1000], 1)),
  }));
  const value = definedBy(simplify(program).main.results[0], 'constant')?.attributes.value;
  assert.ok(value);
  assert.ok(value.splat && value.data instanceof Uint8Array && value.data.length === 4);
});

test('functions with equal bodies become one, and unused ones go', () => {
  const module = new ProgramBuilder();
  const type = tensor('f32', [4]);
  const define = (name: string) => module.define(name, [type], (b, x) => [b.negate(x)]);
  const [f, g] = [define('f'), define('g')];
  define('unused');
  const program = module.program([input('x', 'f32')], (b, { x }) => ({ out: b.call(g, b.call(f, [x]))[0] }));
  assert.equal(simplify(program).functions.size, 1);
});

test('state is read where the program reads it', () => {
  const type = tensor('f32', [4]);
  const program = new ProgramBuilder().program(
    [{ name: 's', type, role: 'state' }, input('u', 'f32', [1])],
    (b, { s, u }) => {
      const before = b.multiply(s, b.full('f32', [4], 1));
      const flipped = b.transpose(b.reshape(before, [2, 2]), [1, 0]);
      const next = b.op('dynamic_update_slice', [s, u, b.scalar('i32', 0)], {})[0];
      return { next, y: b.transpose(flipped, [1, 0]), z: before };
    },
    { next: 's' },
  );
  compile(program, { verify: true });
});

test('random programs compute the same bits after compilation', async () => {
  let [before, after] = [0, 0];
  await fc.assert(
    fc.asyncProperty(decisions, fc.nat(1000), fc.constantFrom(0, 1, 4), async (list, seed, T) => {
      const program = randomProgram(list);
      const compiled = compile(program, { verify: true });
      before += opNames(program).length;
      after += opNames(compiled).length;
      assert.deepEqual(await execute(compiled, seed, { T }), await execute(program, seed, { T }));
    }),
    { seed: 3, numRuns: 120 },
  );
  assert.ok(after < 0.95 * before, `${before} ops became ${after}`);
});
