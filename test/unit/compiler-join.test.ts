/** What `compiler/join-products.ts` makes one product, what it leaves, and that the bits of the reference device stay. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { joinProducts } from '../../src/compiler/join-products.ts';
import { simplify } from '../../src/compiler/simplify.ts';
import { planState } from '../../src/compiler/state.ts';
import type { JoinedDotAttributes } from '../../src/composites/joined_dot.ts';
import { quantizedDot } from '../../src/composites/quantized_dot.ts';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Op, Parameter, Program, Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';
import { execute } from './compiler-harness.ts';

const T = { sym: 'T', max: 4 } as const;
const [K, N] = [64, 64];
const parameter = (name: string, role: Parameter['role'], shape: Parameter['type']['shape'], format?: string) =>
  ({ name, type: tensor('f32', shape), role, ...(format && { format }) }) satisfies Parameter;
const parameters: readonly Parameter[] = [
  parameter('x', 'input', [T, K]),
  parameter('y', 'input', [T, K]),
  parameter('norm', 'weight', [K]),
  ...['a', 'b', 'c', 'd'].map((name) => parameter(name, 'weight', [N, K], 'q8_0')),
  parameter('odd', 'weight', [40, K], 'q8_0'),
  parameter('other', 'weight', [N, K], 'q4_0'),
  parameter('p', 'weight', [N]),
  parameter('q', 'weight', [N]),
  parameter('s', 'state', [4, K]),
];
type Dot = (x: Value, weight: string, bias?: string) => Value;

function build(body: (b: Builder, dot: Dot, v: Readonly<Record<string, Value>>) => Readonly<Record<string, Value>>) {
  const program = new ProgramBuilder().program(
    parameters,
    (b, values) => {
      const dot: Dot = (x, weight, bias) => {
        const format = parameters.find(({ name }) => name === weight)?.format ?? assert.fail();
        return quantizedDot(b, x, values[weight], { format, numerics: 'f32', ...(bias && { bias: values[bias] }) });
      };
      return { s: values.s, ...body(b, dot, values) };
    },
    { s: 's' },
  );
  verify(program);
  return program;
}

/** Products as matrices, those with a residual marked: '2', '1+'. */
function products(program: Program): readonly string[] {
  return program.main.body.flatMap((op: Op) => {
    if (op.name !== 'composite') return [];
    const { matrices, residual } = op.attributes.composite_attributes as Partial<JoinedDotAttributes>;
    if (op.attributes.name === 'ingot.quantized_dot') return ['plain'];
    return op.attributes.name === 'ingot.joined_dot' ? [`${matrices}${residual ? '+' : ''}`] : [];
  });
}

const isProduct = (op: { readonly attributes: { readonly name: string } }) => op.attributes.name.endsWith('_dot');
const joined = (program: Program) => joinProducts(program, isProduct);

const cases: readonly [name: string, program: Program, left: readonly string[]][] = [
  ['neighbours', build((b, dot, { x }) => ({ out: b.multiply(dot(x, 'a'), dot(x, 'b')) })), ['2']],
  [
    'three with biases, of which one is divided',
    build((b, dot, { x }) => {
      const [one, two, three] = [dot(x, 'a', 'p'), dot(x, 'b', 'q'), dot(x, 'c', 'p')];
      return { out: b.multiply(b.negate(one), two), heads: b.negate(b.reshape(three, [T, 4, 16])) };
    }),
    ['3'],
  ],
  [
    'other activations',
    build((b, dot, { x, y }) => ({ out: b.multiply(dot(x, 'a'), dot(y, 'b')) })),
    ['plain', 'plain'],
  ],
  ['other formats', build((b, dot, { x }) => ({ out: b.multiply(dot(x, 'a'), dot(x, 'other')) })), ['plain', 'plain']],
  [
    'biases of some',
    build((b, dot, { x }) => ({ out: b.multiply(dot(x, 'a', 'p'), dot(x, 'b')) })),
    ['plain', 'plain'],
  ],
  [
    'panels that are not whole',
    build((b, dot, { x }) => ({ one: b.negate(dot(x, 'odd')), two: b.negate(dot(x, 'b')) })),
    ['plain', 'plain'],
  ],
  [
    'products with something between them',
    build((b, dot, { x }) => {
      const one = b.negate(dot(x, 'a'));
      return { out: b.multiply(one, dot(x, 'b')) };
    }),
    ['plain', 'plain'],
  ],
  [
    'results that must lie by themselves: of the program',
    build((b, dot, { x }) => {
      const [one, two] = [dot(x, 'a'), dot(x, 'b')];
      return { one, two: b.negate(two) };
    }),
    ['plain', 'plain'],
  ],
  [
    'results that must lie by themselves: read by a kernel',
    build((b, dot, { x }) => {
      const [one, two] = [dot(x, 'a'), dot(x, 'b')];
      return { out: b.multiply(dot(b.reshape(one, [T, K]), 'c'), two) };
    }),
    ['plain', 'plain', 'plain'],
  ],
  ['what a product is added to', build((b, dot, { x, y }) => ({ out: b.add(y, dot(x, 'a')) })), ['1+']],
  ['what is added to a product', build((b, dot, { x, y }) => ({ out: b.add(dot(x, 'a', 'p'), y) })), ['1+']],
  [
    'a sum of two products: the first is there before the second',
    build((b, dot, { x, y }) => {
      const first = dot(x, 'a');
      return { out: b.add(first, dot(y, 'b')) };
    }),
    ['plain', '1+'],
  ],
  [
    'what is not there yet',
    build((b, dot, { x, y }) => {
      const product = dot(x, 'a');
      return { out: b.add(product, b.negate(y)) };
    }),
    ['plain'],
  ],
  [
    'a product that somebody else reads',
    build((b, dot, { x, y }) => {
      const product = dot(x, 'a');
      return { out: b.add(product, y), product: b.negate(product) };
    }),
    ['plain'],
  ],
  [
    'a product that is added to itself',
    build((b, dot, { x }) => {
      const product = dot(x, 'a');
      return { out: b.add(product, product) };
    }),
    ['plain'],
  ],
  [
    'a norm between two residuals',
    build((b, dot, { x, y, norm }) => {
      const first = b.add(x, dot(y, 'a'));
      return { out: b.add(first, dot(rmsNorm(b, first, norm, 1e-5), 'b')) };
    }),
    ['1+', '1+'],
  ],
];
for (const [name, program, left] of cases) {
  test(`join: ${name}`, async () => {
    const result = joined(program);
    verify(result);
    planState(result);
    assert.deepEqual(products(result), left);
    assert.deepEqual(await execute(simplify(result), 3, { T: 3 }), await execute(program, 3, { T: 3 }));
  });
}

test('join: what overwrites state stays an op of its own', () => {
  const program = new ProgramBuilder().program(
    [
      { name: 's', type: tensor('f32', [4, N]), role: 'state' },
      parameter('x', 'input', [4, K]),
      parameter('a', 'weight', [N, K], 'q8_0'),
    ],
    (b, { s, x, a }) => ({ s: b.add(s, quantizedDot(b, x, a, { format: 'q8_0', numerics: 'f32' })) }),
    { s: 's' },
  );
  assert.deepEqual(products(joined(program)), ['plain']);
});

test('join: random neighbours and sums keep every bit', async () => {
  let changed = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(5), fc.nat(50), fc.nat(50)), { minLength: 3, maxLength: 10 }),
      async (drawn) => {
        const program = build((b, dot, { x, y }) => {
          const values = [x, y];
          for (const [kind, i, j] of drawn) {
            const [left, right] = [values[i % values.length], values[j % values.length]];
            const weight = ['a', 'b', 'c', 'd'][j % 4];
            const ops = [
              () => dot(left, weight),
              () => dot(left, weight, 'p'),
              () => b.add(left, right),
              () => b.negate(left),
              () => b.add(dot(right, weight), left),
              () => b.reshape(b.reshape(left, [T, 2, 32]), [T, 64]),
            ];
            values.push(ops[kind]());
          }
          return Object.fromEntries(values.slice(-4).map((value, i) => [`out${i}`, b.negate(value)]));
        });
        const result = joined(program);
        verify(result);
        if (products(result).some((name) => name !== 'plain')) changed++;
        assert.deepEqual(await execute(result, drawn.length, { T: 2 }), await execute(program, drawn.length, { T: 2 }));
      },
    ),
    { seed: 11, numRuns: 60 },
  );
  assert.ok(changed > 20, `only ${changed} programs were changed`);
});
