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
import { elementwise } from '../../src/ir/ops/elementwise.ts';
import type { Op, Parameter, Program, Value } from '../../src/ir/program.ts';
import { asTensor, type Dim, sameShape, tensor } from '../../src/ir/types.ts';
import { reads } from '../../src/ir/walk.ts';
import { decisions, randomProgram } from './random-program.ts';
import { randomStep, stepDecisions } from './random-step.ts';

const T = { sym: 'T', max: 4 } as const;
const parameter =
  (role: Parameter['role']) =>
  <const N extends string>(name: N, shape: readonly Dim[]) =>
    ({ name, type: tensor('f32', shape), role }) satisfies Parameter;
const [input, weight, state] = [parameter('input'), parameter('weight'), parameter('state')];
const places = <const N extends string>(name: N) =>
  ({ name, type: tensor('i32', [8]), role: 'input' }) satisfies Parameter;
const parameters = [
  input('x', [T, 8]),
  input('y', [T, 8]),
  weight('w', [8, 8]),
  weight('v', [8, 8]),
  weight('n', [8]),
  state('s', [8]),
  input('u', [1]),
  input('g', [8, 8]),
  input('f', [8]),
  state('p', [8, 8]),
  state('m', [8, 8]),
  state('q', [8, 8]),
  input('k', [32, 4]),
  state('r', [32, 4]),
  places('c'),
  places('d'),
] as const;
type Values = Readonly<Record<(typeof parameters)[number]['name'], Value>>;

function groupsOf(body: (b: Builder, v: Values) => Readonly<Record<string, Value>>): readonly string[] {
  const states = new Set<string>(parameters.filter(({ role }) => role === 'state').map(({ name }) => name));
  const { results } = new ProgramBuilder().program(parameters, body);
  const aliases = results.flatMap(({ name }) => (states.has(name) ? [[name, name as keyof Values]] : []));
  const program = new ProgramBuilder().program(parameters, body, Object.fromEntries(aliases));
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
    'parts of an input, turned and put side by side',
    (b, { y }) => {
      const [p, q] = [0, 4].map((at) => b.slice(y, 1, at, at + 4));
      return { out: b.concatenate([b.subtract(p, q), b.add(q, p)], 1) };
    },
    ['concatenate: slice slice subtract add concatenate'],
  ],
  [
    'a part of what is computed has loops of its own',
    (b, { x }) => ({ out: b.negate(b.slice(b.negate(x), 1, 2, 6)) }),
    ['elementwise: negate', 'elementwise: slice negate'],
  ],
  [
    'so have parts of different lengths, and what is put together is whole before others read it',
    (b, { x, y }) => ({
      out: b.negate(b.concatenate([b.negate(x), b.slice(y, 1, 2, 6)], 1)),
      even: b.negate(b.concatenate([b.negate(x), y], 1)),
    }),
    [
      'concatenate: negate concatenate',
      'elementwise: slice',
      'single: concatenate',
      'elementwise: negate',
      'elementwise: negate',
    ],
  ],
  [
    'a part of the state that is overwritten is read before',
    (b, { s, u }) => {
      const [p, q] = [0, 4].map((at) => b.slice(s, 0, at, at + 4));
      return { s: b.concatenate([q, p], 0), out: b.negate(u) };
    },
    ['elementwise: slice', 'elementwise: slice', 'single: concatenate', 'elementwise: negate'],
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
  [
    'a chain whose result is state',
    (b, { g, p, m }) => ({ p: b.add(b.multiply(b.subtract(p, g), m), g), out: b.negate(m) }),
    ['elementwise: subtract multiply add', 'elementwise: negate'],
  ],
  [
    "Adam's step: three states at once",
    (b, { g, p, m, q }) => {
      const all = (value: number) => b.full('f32', [8, 8], value);
      const first = b.add(b.multiply(m, all(0.5)), b.multiply(g, all(0.25)));
      const second = b.add(b.multiply(q, all(0.5)), b.multiply(b.multiply(g, g), all(0.25)));
      return { m: first, q: second, p: b.subtract(p, b.divide(first, b.unary('sqrt', second))) };
    },
    ['elementwise: multiply multiply add multiply multiply multiply add sqrt divide subtract'],
  ],
  [
    'a step with the gradient that a product computes',
    (b, { x, y, p }) => ({ p: b.subtract(p, b.dot(x, y, { contract: [[0, 0]] })) }),
    ['dot: dot_general subtract'],
  ],
  [
    'a product of the state that is overwritten runs before',
    (b, { g, p }) => ({ out: b.negate(p), p: b.subtract(p, dot(b, g, p)) }),
    ['elementwise: negate', 'dot: dot_general', 'elementwise: subtract'],
  ],
  [
    'so does one with activations that are made of it',
    (b, { g, p }) => ({ p: b.subtract(p, dot(b, b.negate(p), g)) }),
    ['dot: negate dot_general', 'elementwise: subtract'],
  ],
  [
    'a transpose of the state that is overwritten runs before',
    (b, { g, p }) => ({ p: b.add(b.multiply(p, g), b.transpose(p, [1, 0])) }),
    ['single: transpose', 'elementwise: multiply add'],
  ],
  [
    'a row of the state that is overwritten is repeated before',
    (b, { f, s, g }) => ({ out: b.multiply(b.broadcast(s, [8, 8], [1]), g), s: b.add(s, f) }),
    ['elementwise: broadcast_in_dim multiply', 'elementwise: add'],
  ],
  [
    'nor by a group of other loops than those that overwrite it',
    (b, { f, s, g }) => {
      const next = b.add(s, f);
      return { s: next, out: b.multiply(b.broadcast(next, [8, 8], [0]), b.add(g, b.broadcast(f, [8, 8], [0]))) };
    },
    ['elementwise: add', 'elementwise: broadcast_in_dim broadcast_in_dim add multiply'],
  ],
  [
    'nor by reductions, whose loops read a row again',
    (b, { p, x }) => {
      const sum = b.reduce('add', p, 0, [1]);
      return { p: b.multiply(p, b.broadcast(sum, [8, 8], [0])), out: b.negate(x) };
    },
    ['reduce: reduce', 'elementwise: broadcast_in_dim multiply', 'elementwise: negate'],
  ],
  [
    'rows that are reduced, into state that they are not of',
    (b, { k, r }) => {
      const old = b.negate(r);
      return { r: softmax(b, k), out: old };
    },
    ['elementwise: negate', 'reduce: reduce broadcast_in_dim subtract exponential reduce broadcast_in_dim divide'],
  ],
  [
    'rows that are reduced, into the state that they are of',
    (b, { r }) => ({ r: softmax(b, b.negate(r)) }),
    ['reduce: negate reduce broadcast_in_dim subtract exponential reduce broadcast_in_dim', 'elementwise: divide'],
  ],
  [
    'what is read of it afterwards is the new value',
    (b, { g, p }) => {
      const before = b.transpose(p, [1, 0]);
      const next = b.add(p, g);
      return { p: next, out: b.multiply(before, b.negate(next)) };
    },
    ['single: transpose', 'elementwise: add negate multiply'],
  ],
  [
    'no group that another has to follow before it overwrites',
    (b, { g, p }) => {
      const scaled = b.multiply(g, g);
      const old = b.negate(b.multiply(p, b.transpose(scaled, [1, 0])));
      return { p: b.add(p, scaled), out: old };
    },
    ['elementwise: multiply', 'single: transpose', 'elementwise: multiply negate', 'elementwise: add'],
  ],
];

const updates: typeof cases = [
  [
    'rows that go to places of a state, with what computes them',
    (b, { p, g, c }) => ({ p: b.put(p, c, b.negate(b.add(g, g))) }),
    ['scatter: add negate scatter'],
  ],
  [
    'rows that go to the same places of two states, together',
    (b, { p, q, g, c, y }) => ({ p: b.put(p, c, b.negate(g)), out: b.negate(y), q: b.put(q, c, g) }),
    ['scatter: negate scatter scatter', 'elementwise: negate'],
  ],
  [
    'rows that go to other places have a kernel of their own',
    (b, { p, q, g, c, d }) => ({ p: b.put(p, c, g), q: b.put(q, d, g) }),
    ['scatter: scatter', 'scatter: scatter'],
  ],
  [
    'so have sums of rows',
    (b, { p, q, g, c }) => ({ p: b.accumulate(p, c, b.negate(g)), q: b.accumulate(q, c, g) }),
    ['elementwise: negate', 'single: scatter', 'single: scatter'],
  ],
  [
    'rows that somebody else reads are computed before',
    (b, { p, g, c }) => {
      const rows = b.negate(g);
      return { out: b.transpose(rows, [1, 0]), p: b.put(p, c, rows) };
    },
    ['elementwise: negate', 'single: transpose', 'scatter: scatter'],
  ],
  [
    'so are rows that are made of the state',
    (b, { p, g, c }) => ({ p: b.put(p, c, b.multiply(p, g)) }),
    ['elementwise: multiply', 'scatter: scatter'],
  ],
  [
    'what reads the state as it was runs before, what reads it as it is after',
    (b, { p, q, g, c }) => {
      const old = b.transpose(p, [1, 0]);
      const next = b.put(p, c, g);
      return { old, p: next, q: b.put(q, c, b.negate(next)), out: b.negate(old) };
    },
    ['single: transpose', 'scatter: scatter', 'scatter: negate scatter', 'elementwise: negate'],
  ],
];
for (const [name, body, expected] of [...cases, ...updates])
  test(`fuse: ${name}`, () => assert.deepEqual(groupsOf(body), expected));

test('fuse: what follows a composite that is a kernel joins what comes after it', () => {
  const program = new ProgramBuilder().program(parameters, (b, { x, y, n }) => {
    const sum = b.add(y, rmsNorm(b, x, n, 1e-5));
    return { sum, out: softmax(b, sum) };
  });
  const groups = fuse(program, (name) => name === 'ingot.rms_norm').get(program.main) ?? [];
  const kinds = groups.filter(({ kind }) => kind !== 'data').map(({ kind, ops }) => `${kind} ${ops[0].name}`);
  assert.deepEqual(kinds, ['single composite', 'reduce add']);
});

/** What every grouping of a region keeps to. */
function check(program: Program, fused: ReturnType<typeof fuse>): number {
  const inPlace = planState(program);
  const homeOf = (value: Value): Value => {
    const target = inPlace.get(value);
    return target === undefined ? value : homeOf(target);
  };
  const sameShapes = ([first, ...rest]: readonly Value[]) =>
    rest.every((value) => sameShape(asTensor(value.type).shape, asTensor(first.type).shape));
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
      if (op.name === 'reshape' || !op.results.some((value) => inPlace.has(value))) return;
      const own = position.get(op) ?? -1;
      const placeOf = (other: Op) => position.get(other) ?? -1;
      const reading = ['broadcast_in_dim', 'reduce', 'scatter'];
      if (!Object.hasOwn(elementwise, op.name) && !reading.includes(op.name)) {
        assert.equal(groups[own].ops.length, 1, 'an update is alone');
        region.body.forEach((other, i) => {
          if (other !== op) assert.equal(placeOf(other) < own, i < at, 'nothing moves across an update');
        });
        return;
      }
      const home = homeOf(op.results[0]);
      for (const reader of region.body.slice(0, at)) {
        const old = [...reads(reader)].filter((value) => homeOf(value) === home);
        if (old.length === 0) continue;
        const pointwise =
          op.name !== 'scatter' &&
          Object.hasOwn(elementwise, reader.name) &&
          sameShapes([...old, op.results[0], reader.results[0]]);
        assert.ok(placeOf(reader) < own || (placeOf(reader) === own && pointwise), 'old values are read first');
      }
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

test('random steps overwrite states after all readers of what they were', () => {
  fc.assert(
    fc.property(stepDecisions, (list) => {
      const program = randomStep(list);
      try {
        planState(program);
      } catch {
        return;
      }
      check(program, fuse(program));
    }),
    { seed: 5, numRuns: 300 },
  );
});
