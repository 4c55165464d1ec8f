import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from '../../src/compiler/compile.ts';
import { raise } from '../../src/compiler/raise.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter, Program, Value } from '../../src/ir/program.ts';
import { type Dim, tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';
import type { ElementType } from '../../src/numerics/element-types.ts';
import { execute } from './compiler-harness.ts';

const T = { sym: 'T', max: 4 } as const;
const [N, K, G] = [6, 8, 2];

const parameter =
  (role: Parameter['role']) =>
  <const S extends string>(name: S, element: ElementType, shape: readonly Dim[]) =>
    ({ name, type: tensor(element, shape), role }) satisfies Parameter;
const [input, weight] = [parameter('input'), parameter('weight')];
const parameters = [
  input('x', 'f32', [T, K]),
  input('xs', 'f32', [2, K, 3]),
  input('ids', 'i32', [T]),
  input('ids2', 'i32', [2, 3, 1]),
  input('free', 'f32', [N]),
  input('act', 'f16', [N, K]),
  weight('f', 'f32', [N, K]),
  weight('h', 'f16', [N, K]),
  weight('hT', 'bf16', [K, N]),
  weight('q', 'i8', [N, K]),
  weight('u', 'ui8', [N, K]),
  weight('q4', 'i4', [K, N]),
  weight('wide', 'i32', [N, K]),
  weight('s', 'f32', [N]),
  weight('sK', 'f32', [K]),
  weight('sG', 'f16', [N, G]),
  weight('sGT', 'f32', [G, 1, N]),
  weight('z', 'ui8', [N, 1]),
  weight('m', 'f32', [N, G]),
] as const;
type Values = Readonly<Record<(typeof parameters)[number]['name'], Value>>;
type Body = (b: Builder, v: Values) => Value;

function build(body: Body): Program {
  const program = new ProgramBuilder().program(parameters, (b, values) => ({ out: body(b, values) }));
  verify(program);
  return program;
}

const f32 = (b: Builder, value: Value) => b.convert(value, 'f32');
/** A row's entry for each of its columns. */
const rows = (b: Builder, value: Value) =>
  b.broadcast(value, [N, K], value.type.kind === 'tensor' && value.type.shape.length === 2 ? [0, 1] : [0]);
const grouped = [N, G, K / G];
const groups = (b: Builder, value: Value) => b.broadcast(f32(b, value), grouped, [0, 1]);
const dot = (b: Builder, x: Value, w: Value) => b.dot(x, w, { contract: [[1, 1]] });

const cases: readonly [name: string, body: Body, raised: string][] = [
  ['f16', (b, { x, h }) => dot(b, x, f32(b, h)), 'quantized_dot f16'],
  ['bf16, columns first', (b, { x, hT }) => b.dot(x, f32(b, hT), { contract: [[1, 0]] }), 'quantized_dot bf16'],
  [
    'transposed after conversion',
    (b, { x, h }) => b.dot(x, b.transpose(f32(b, h), [1, 0]), { contract: [[1, 0]] }),
    'quantized_dot f16',
  ],
  ['weight on the left', (b, { xs, h }) => b.dot(f32(b, h), xs, { contract: [[1, 1]] }), 'quantized_dot f16'],
  ['activations of rank 3', (b, { xs, h }) => b.dot(xs, f32(b, h), { contract: [[1, 1]] }), 'quantized_dot f16'],
  ['a scale a row', (b, { x, q, s }) => dot(b, x, b.multiply(f32(b, q), rows(b, s))), 'quantized_dot affine'],
  ['the scale first', (b, { x, q, s }) => dot(b, x, b.multiply(rows(b, s), f32(b, q))), 'quantized_dot affine'],
  ['one scale', (b, { x, q }) => dot(b, x, b.multiply(f32(b, q), b.full('f32', [N, K], 0.25))), 'quantized_dot affine'],
  [
    'a scale a row of columns first, in 4 bits',
    (b, { x, q4, s }) => b.dot(x, b.multiply(f32(b, q4), b.broadcast(s, [K, N], [1])), { contract: [[1, 0]] }),
    'quantized_dot affine',
  ],
  [
    'zero points in f32',
    (b, { x, u, s, z }) => dot(b, x, b.multiply(b.subtract(f32(b, u), rows(b, f32(b, z))), rows(b, s))),
    'quantized_dot affine',
  ],
  [
    'zero points in integers',
    (b, { x, u, s, z }) => {
      const difference = b.subtract(b.convert(u, 'i32'), b.convert(rows(b, z), 'i32'));
      return dot(b, x, b.multiply(f32(b, difference), rows(b, s)));
    },
    'quantized_dot affine',
  ],
  [
    'groups with scales in f16 and minima',
    (b, { x, u, sG, m }) => {
      const value = b.add(b.multiply(b.reshape(f32(b, u), grouped), groups(b, sG)), groups(b, m));
      return dot(b, x, b.reshape(value, [N, K]));
    },
    'quantized_dot affine',
  ],
  [
    'groups of columns first',
    (b, { x, q4, sGT }) => {
      const shape = [G, K / G, N];
      const value = b.multiply(f32(b, b.reshape(q4, shape)), b.broadcast(sGT, shape, [0, 1, 2]));
      return b.dot(x, b.reshape(value, [K, N]), { contract: [[1, 0]] });
    },
    'quantized_dot affine',
  ],
  [
    'in groups, with a scale a row',
    (b, { x, q, s, m }) => {
      const scaled = b.multiply(b.reshape(f32(b, q), grouped), b.broadcast(s, grouped, [0]));
      return dot(b, x, b.reshape(b.add(scaled, groups(b, m)), [N, K]));
    },
    'quantized_dot affine',
  ],
  ['rows of f16', (b, { ids, h }) => b.take(f32(b, h), ids), 'quantized_take f16'],
  ['rows of integers', (b, { ids, q, s }) => b.take(b.multiply(f32(b, q), rows(b, s)), ids), 'quantized_take affine'],
  [
    'rows by index vectors',
    (b, { ids2, h }) =>
      b.op('gather', [f32(b, h), ids2], {
        offset_dims: [2],
        collapsed_slice_dims: [0],
        operand_batching_dims: [],
        start_indices_batching_dims: [],
        start_index_map: [0],
        index_vector_dim: 2,
        slice_sizes: [1, K],
        indices_are_sorted: false,
      })[0],
    'quantized_take f16',
  ],

  [
    'a scale applied in f16 has rounded: its result is the weight',
    (b, { x, q, h }) => dot(b, x, f32(b, b.multiply(b.convert(q, 'f16'), h))),
    'quantized_dot f16',
  ],
  [
    'zero points subtracted in a type that wraps: so is theirs',
    (b, { x, u, s, z }) => dot(b, x, b.multiply(f32(b, b.subtract(u, rows(b, z))), rows(b, s))),
    'quantized_dot affine',
  ],

  ['a weight in f32 is none to raise', (b, { x, f }) => dot(b, x, f), ''],
  ['a scale a column', (b, { x, q, sK }) => dot(b, x, b.multiply(f32(b, q), b.broadcast(sK, [N, K], [1]))), ''],
  ['a scale that is an input', (b, { x, q, free }) => dot(b, x, b.multiply(f32(b, q), rows(b, free))), ''],
  ['activations on both sides', (b, { x, act }) => dot(b, x, f32(b, act)), ''],
  ['a product in f16', (b, { x, h }) => dot(b, b.convert(x, 'f16'), h), ''],
];

function raisedIn(program: Program): string {
  return program.main.body
    .flatMap((op) => {
      if (op.name !== 'composite') return [];
      return `${op.attributes.name.replace('ingot.', '')} ${op.attributes.composite_attributes.format}`;
    })
    .join();
}

for (const [name, body, expected] of cases) {
  test(`raise: ${name}`, async () => {
    const program = build(body);
    const result = raise(program);
    verify(result);
    assert.equal(raisedIn(result), expected);
    assert.equal(raise(result), result, 'what is raised stays');
    const compiled = compile(program, { verify: true });
    assert.equal(raisedIn(compiled), expected);
    for (let seed = 0; seed < 3; seed++) {
      assert.deepEqual(await execute(compiled, seed), await execute(program, seed));
    }
  });
}

test('a weight that is passed to a function is a weight there, if every call passes one', () => {
  const module = new ProgramBuilder();
  const types = [tensor('f32', [T, K]), tensor('f16', [N, K])];
  const linear = module.define('linear', types, (b, x, h) => [dot(b, x, f32(b, h))]);
  const other = module.define('other', types, (b, x, h) => [dot(b, x, f32(b, h))]);
  const program = module.program(parameters, (b, { x, h, act }) => ({
    weights: b.add(b.call(linear, [x, h])[0], b.call(linear, [x, h])[0]),
    mixed: b.add(b.call(other, [x, h])[0], b.call(other, [x, act])[0]),
  }));
  const { functions } = raise(program);
  assert.deepEqual(
    functions.get('linear')?.body.map(({ name }) => name),
    ['composite'],
  );
  assert.deepEqual(
    functions.get('other')?.body.map(({ name }) => name),
    ['convert', 'dot_general'],
  );
});
