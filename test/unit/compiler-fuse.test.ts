import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { compile } from '../../src/compiler/compile.ts';
import { opOperations, valueBytes } from '../../src/compiler/cost.ts';
import { fuse, type Group } from '../../src/compiler/fuse.ts';
import { inlineComposites } from '../../src/compiler/inline.ts';
import { planState } from '../../src/compiler/state.ts';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Op, Parameter, Program, Value } from '../../src/ir/program.ts';
import { asTensor, type Dim, tensor } from '../../src/ir/types.ts';
import { reads } from '../../src/ir/walk.ts';
import { decisions, randomProgram } from './random-program.ts';

const T = { sym: 'T', max: 4 } as const;
const parameter =
  (role: Parameter['role']) =>
  <const N extends string>(name: N, shape: readonly Dim[]) =>
    ({ name, type: tensor('f32', shape), role }) satisfies Parameter;
const [input, weight, state] = [parameter('input'), parameter('weight'), parameter('state')];
const parameters = [
  input('x', [T, 8]),
  input('y', [T, 8]),
  weight('w', [8, 8]),
  weight('v', [8, 8]),
  weight('n', [8]),
  state('s', [8]),
  input('u', [1]),
] as const;
type Values = Readonly<Record<(typeof parameters)[number]['name'], Value>>;

function groupsOf(body: (b: Builder, v: Values) => Readonly<Record<string, Value>>): readonly string[] {
  const aliases = (names: Readonly<Record<string, Value>>): Record<string, 's'> => ('s' in names ? { s: 's' } : {});
  const names = new ProgramBuilder().program(parameters, body).results.map(({ name }) => name);
  const program = new ProgramBuilder().program(
    parameters,
    body,
    aliases(Object.fromEntries(names.map((name) => [name, {} as Value]))),
  );
  const compiled = compile(
    inlineComposites(program, () => false),
    { verify: true },
  );
  const groups = fuse(compiled).get(compiled.main) ?? [];
  return groups
    .filter(({ kind }) => kind !== 'data')
    .map(
      ({ kind, ops }) =>
        `${kind}: ${ops
          .filter(({ name }) => name !== 'constant')
          .map(({ name }) => name)
          .join(' ')}`,
    );
}

/** Over the last of two dimensions. */
function softmax(b: Builder, x: Value): Value {
  const { shape } = asTensor(x.type);
  const over = (value: Value) => b.broadcast(value, shape, [0]);
  const e = b.exponential(b.subtract(x, over(b.reduce('maximum', x, Number.NEGATIVE_INFINITY, [1]))));
  return b.divide(e, over(b.reduce('add', e, 0, [1])));
}

const dot = (b: Builder, x: Value, w: Value) => b.dot(x, w, { contract: [[1, 1]] });
const cases: readonly [
  name: string,
  body: (b: Builder, v: Values) => Readonly<Record<string, Value>>,
  expected: readonly string[],
][] = [
  ['a chain', (b, { x, y }) => ({ out: b.negate(b.multiply(b.add(x, y), y)) }), ['elementwise: add multiply negate']],
  [
    'a norm: the sum of squares, then all that is done with it',
    (b, { x, n }) => ({ out: rmsNorm(b, x, n, 1e-5) }),
    ['reduce: multiply reduce multiply add rsqrt broadcast_in_dim multiply broadcast_in_dim multiply'],
  ],
  [
    'softmax',
    (b, { x }) => ({ out: softmax(b, x) }),
    ['reduce: reduce broadcast_in_dim subtract exponential reduce broadcast_in_dim divide'],
  ],
  [
    'two reductions of the same rows',
    (b, { x }) => {
      const over = (value: Value) => b.broadcast(value, [T, 8], [0]);
      const centered = b.subtract(x, over(b.reduce('add', x, 0, [1])));
      return { out: b.multiply(centered, over(b.reduce('add', b.multiply(centered, centered), 0, [1]))) };
    },
    ['reduce: reduce broadcast_in_dim subtract multiply reduce broadcast_in_dim multiply'],
  ],
  [
    'few rows keep their threads apart',
    (b, { w }) => ({ out: softmax(b, w) }),
    ['reduce: reduce', 'reduce: broadcast_in_dim subtract exponential reduce', 'elementwise: broadcast_in_dim divide'],
  ],
  [
    'a product with activations before it and bias and residual after it',
    (b, { x, y, w, n }) => ({
      out: b.add(y, b.unary('tanh', b.add(dot(b, b.negate(x), w), b.broadcast(n, [T, 8], [1])))),
    }),
    ['dot: negate dot_general broadcast_in_dim add tanh add'],
  ],
  [
    'activations that others need too have a kernel of their own',
    (b, { x, w, v }) => {
      const shared = b.negate(x);
      return { out: b.multiply(b.unary('logistic', dot(b, shared, w)), dot(b, shared, v)) };
    },
    ['elementwise: negate', 'dot: dot_general', 'dot: dot_general logistic multiply'],
  ],
  [
    'no group around another',
    (b, { x }) => {
      const twice = b.add(x, x);
      const sum = b.reduce('add', twice, 0, [0]);
      return { out: b.multiply(b.broadcast(sum, [T, 8], [1]), twice) };
    },
    ['reduce: add reduce', 'elementwise: broadcast_in_dim multiply'],
  ],
  [
    'nothing across an update of state',
    (b, { x, s, u }) => {
      const before = b.negate(x);
      const next = b.op('dynamic_update_slice', [s, u, b.scalar('i32', 0)], {})[0];
      return { s: next, out: b.add(before, b.broadcast(next, [T, 8], [1])) };
    },
    ['elementwise: negate', 'single: dynamic_update_slice', 'elementwise: broadcast_in_dim add'],
  ],
];
for (const [name, body, expected] of cases) test(`fuse: ${name}`, () => assert.deepEqual(groupsOf(body), expected));

/** What every grouping of a region keeps to. */
function check(program: Program, fused: ReturnType<typeof fuse>): number {
  const inPlace = planState(program);
  let saved = 0;
  for (const [region, groups] of fused) {
    const all = groups.flatMap(({ ops }) => ops);
    assert.equal(all.length, region.body.length);
    assert.deepEqual(new Set(all), new Set(region.body), 'groups partition the ops');

    const made = new Set<Value>();
    const isMade = (value: Value) =>
      value.owner.kind === 'region' || !region.body.includes(value.owner) || made.has(value);
    const position = new Map<Op, number>();
    groups.forEach((group, i) => {
      for (const value of group.inputs) assert.ok(isMade(value), 'groups run after those that they need');
      for (const op of group.ops) position.set(op, i);
      for (const op of group.ops) for (const value of op.results) made.add(value);
    });

    region.body.forEach((op, at) => {
      const updates = op.name !== 'reshape' && op.results.some((value) => inPlace.has(value));
      if (!updates) return;
      const own = position.get(op) ?? -1;
      assert.equal(groups[own].ops.length, 1, 'an update is alone');
      region.body.forEach((other, i) => {
        if (other !== op) assert.equal((position.get(other) ?? -1) < own, i < at, 'nothing moves across an update');
      });
    });

    const used = new Set([...region.body.flatMap((op) => [...reads(op)]), ...region.results]);
    const alone = (op: Op) =>
      [...reads(op), ...op.results.filter((value) => used.has(value))].reduce(
        (sum, value) => sum + valueBytes(value),
        0,
      );
    for (const group of groups) {
      const apart = group.ops.reduce((sum, op) => sum + alone(op), 0);
      assert.ok(group.bytes <= apart, 'fusion moves no more bytes');
      saved += apart - group.bytes;
      assert.equal(
        group.operations,
        group.ops.reduce((sum, op) => sum + opOperations(op), 0),
      );
      for (const value of group.outputs) assert.ok(used.has(value) && group.ops.includes(value.owner as Op));
    }
  }
  return saved;
}

test('random programs are partitioned in order, around state, and move fewer bytes', () => {
  let saved = 0;
  const kinds = new Map<Group['kind'], number>();
  fc.assert(
    fc.property(decisions, (list) => {
      const program = inlineComposites(randomProgram(list), () => false);
      const fused = fuse(program);
      saved += check(program, fused);
      for (const { kind, ops } of [...fused.values()].flat())
        if (ops.length > 1) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }),
    { seed: 5, numRuns: 150 },
  );
  assert.ok(saved > 1000, `${saved} bytes saved`);
  assert.ok((kinds.get('elementwise') ?? 0) > 10 && (kinds.get('dot') ?? 0) > 1, JSON.stringify([...kinds]));
});
