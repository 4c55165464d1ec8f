/** Programs that nobody has told how they lie, on several ranks: the results of one rank. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { localProgram } from '../../src/compiler/partition/partition.ts';
import { planOf } from '../../src/compiler/partition/plan.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Mesh } from '../../src/ir/mesh.ts';
import type { Parameter, Program } from '../../src/ir/program.ts';
import type { DimSharding } from '../../src/ir/sharding.ts';
import { asTensor, tensor } from '../../src/ir/types.ts';
import { walk } from '../../src/ir/walk.ts';
import { assertSame, opsOf } from './partition-harness.ts';

const tensorMesh = (size: number): Mesh => ({ axes: [{ name: 'tensor', size }] });
const count = (program: Program, name: string) => opsOf(program).filter((each) => each === name).length;
const parameter = <N extends string>(name: N, shape: readonly number[], role: Parameter['role'] = 'weight') =>
  ({ name, type: tensor('f32', shape), role }) as const;

function mlp(hidden: number): Program {
  return new ProgramBuilder().program(
    [
      parameter('x', [5, 12], 'input'),
      parameter('up', [12, hidden]),
      parameter('bias', [hidden]),
      parameter('down', [hidden, 12]),
    ],
    (b, { x, up, bias, down }) => {
      const inner = b.add(b.dot(x, up, { contract: [[1, 0]] }), b.broadcast(bias, [5, hidden], [1]));
      const active = b.maximum(inner, b.full('f32', [5, hidden], 0));
      return { y: b.add(x, b.dot(active, down, { contract: [[1, 0]] })) };
    },
  );
}

for (const ranks of [2, 3, 4]) {
  for (const hidden of [24, 29]) {
    test(`an MLP of ${hidden} on ${ranks} ranks: one sum, each matrix in parts`, async () => {
      const [{ program }] = await assertSame(mlp(hidden), tensorMesh(ranks));
      assert.deepEqual(
        opsOf(program).filter((name) => /all_|scatter/.test(name)),
        ['all_reduce'],
      );
      const shapes = program.parameters.map(({ type }) => type.shape.join());
      const part = Math.ceil(hidden / ranks);
      assert.deepEqual(shapes, ['5,12', `12,${part}`, `${part}`, `${part},12`]);
    });
  }
}

/** Attention over heads with an order of its own, in plain operations. */
function attention(heads: number, dim: number): Program {
  const [length, hidden] = [6, 16];
  return new ProgramBuilder().program(
    [
      parameter('x', [length, hidden], 'input'),
      parameter('q', [hidden, heads * dim]),
      parameter('k', [hidden, heads * dim]),
      parameter('v', [hidden, heads * dim]),
      parameter('o', [heads * dim, hidden]),
    ],
    (b, { x, q, k, v, o }) => {
      const split = (w: typeof q) =>
        b.transpose(b.reshape(b.dot(x, w, { contract: [[1, 0]] }), [length, heads, dim]), [1, 0, 2]);
      const scores = b.dot(split(q), split(k), { batch: [[0, 0]], contract: [[2, 2]] });
      const shape = [heads, length, length];
      const causal = b.compare('GE', b.iota('i32', shape, 1), b.iota('i32', shape, 2));
      const masked = b.select(causal, scores, b.full('f32', shape, -1e30));
      const max = b.reduce('maximum', masked, Number.NEGATIVE_INFINITY, [2]);
      const weights = b.exponential(b.subtract(masked, b.broadcast(max, shape, [0, 1])));
      const normed = b.divide(weights, b.broadcast(b.reduce('add', weights, 0, [2]), shape, [0, 1]));
      const mixed = b.dot(normed, split(v), { batch: [[0, 0]], contract: [[2, 1]] });
      const joined = b.reshape(b.transpose(mixed, [1, 0, 2]), [length, heads * dim]);
      return { y: b.dot(joined, o, { contract: [[1, 0]] }) };
    },
  );
}

for (const [heads, ranks] of [
  [6, 3],
  [7, 2],
  [7, 3],
  [4, 4],
] as const) {
  test(`attention of ${heads} heads on ${ranks} ranks: whole heads on each, one sum`, async () => {
    const programs = await assertSame(attention(heads, 4), tensorMesh(ranks));
    for (const { program } of programs) {
      assert.equal(count(program, 'all_reduce'), 1);
      assert.equal(count(program, 'all_gather'), 0);
      assert.equal(Number(program.parameters[1].type.shape[1]) % 4, 0);
    }
    const widths = programs.map(({ program }) => Number(program.parameters[1].type.shape[1]));
    assert.equal(
      widths.reduce((a, b) => a + b, 0),
      heads * 4,
    );
  });
}

test('two sums that stand side by side are one meeting', async () => {
  const program = new ProgramBuilder().program(
    [parameter('x', [4, 12]), parameter('a', [12, 5], 'input'), parameter('c', [12, 3], 'input')],
    (b, { x, a, c }) => {
      const [left, right] = [b.dot(x, a, { contract: [[1, 0]] }), b.dot(x, c, { contract: [[1, 0]] })];
      return { y: b.concatenate([b.unary('tanh', left), b.unary('tanh', right)], 1) };
    },
  );
  const stated = state(program, { x: [[], ['tensor']] });
  const [{ program: local }] = await assertSame(stated, tensorMesh(3));
  assert.equal(count(local, 'all_reduce'), 1);
});

test('what was passed on as parts is not summed once more with what becomes of it', async () => {
  const program = new ProgramBuilder().program(
    [parameter('x', [4, 12]), parameter('a', [12, 5], 'input'), parameter('c', [12, 3], 'input')],
    (b, { x, a, c }) => {
      const left = b.unary('negate', b.dot(x, a, { contract: [[1, 0]] }));
      const right = b.dot(x, c, { contract: [[1, 0]] });
      return { y: b.concatenate([b.unary('tanh', left), b.unary('tanh', right)], 1) };
    },
  );
  const [{ program: local }] = await assertSame(state(program, { x: [[], ['tensor']] }), tensorMesh(3));
  const sums = [...walk(local.main)].filter(({ name }) => name === 'all_reduce');
  assert.deepEqual(
    sums.map(({ operands }) => operands.length),
    [2],
  );
});

const open: DimSharding = { axes: [], open: true };

/** The program with shardings of parameters: the axes of each dimension, undefined for an open one. */
function state(program: Program, shardings: Record<string, readonly (readonly string[] | undefined)[]>): Program {
  return {
    ...program,
    parameters: program.parameters.map((each) => {
      const dims = shardings[each.name]?.map((axes) => (axes === undefined ? open : { axes, open: false }));
      return dims === undefined ? each : { ...each, sharding: { dims, replicated: [] } };
    }),
  };
}

test('rows over one axis, columns over another: batch and model are split at once', async () => {
  const mesh: Mesh = {
    axes: [
      { name: 'data', size: 2 },
      { name: 'tensor', size: 2 },
    ],
  };
  const program = new ProgramBuilder().program(
    [parameter('x', [6, 8], 'input'), parameter('up', [8, 12]), parameter('down', [12, 8])],
    (b, { x, up, down }) => {
      const inner = b.unary('tanh', b.dot(x, up, { contract: [[1, 0]] }));
      return { y: b.dot(inner, down, { contract: [[1, 0]] }) };
    },
  );
  const ranks = await assertSame(state(program, { x: [['data'], []] }), mesh);
  const shapes = ranks.map(({ program }) => program.parameters.map(({ type }) => type.shape.join()).join(' '));
  assert.deepEqual(new Set(shapes), new Set(['3,8 8,6 6,8']));
});

test('ranks with shares of their own, and stated extents', async () => {
  const mesh: Mesh = { axes: [{ name: 'tensor', size: 2, shares: [3, 1] }] };
  const widths = (ranks: readonly { program: Program }[]) =>
    ranks.map(({ program }) => program.parameters[1].type.shape[1]);
  assert.deepEqual(widths(await assertSame(mlp(24), mesh)), [18, 6]);
  // However little a rank is to have, it has something.
  const lopsided: Mesh = { axes: [{ name: 'tensor', size: 3, shares: [100, 1, 1] }] };
  assert.deepEqual(widths(await assertSame(mlp(10), lopsided)), [8, 1, 1]);
  const program = mlp(24);
  const up = { dims: [open, { axes: ['tensor'], open: false, extents: [7, 17] }], replicated: [] };
  const stated = {
    ...program,
    parameters: program.parameters.map((each) => (each.name === 'up' ? { ...each, sharding: up } : each)),
  };
  assert.deepEqual(widths(await assertSame(stated, tensorMesh(2))), [7, 17]);
});

test('a constraint moves data from one dimension to the other, and a stated result is not gathered for nothing', async () => {
  const program = new ProgramBuilder().program([parameter('x', [6, 9], 'input')], (b, { x }) => {
    const doubled = b.add(x, x);
    const [turned] = b.op(
      'custom_call',
      [doubled],
      {
        call_target_name: 'sdy.sharding_constraint',
        has_side_effect: false,
        extra: { sharding: '<@mesh, [{}, {"tensor"}]>' },
      },
      { types: [doubled.type] },
    );
    return { y: b.unary('tanh', turned) };
  });
  const [{ program: local }] = await assertSame(state(program, { x: [['tensor'], []] }), tensorMesh(3));
  assert.equal(count(local, 'all_to_all'), 1);
  assert.equal(count(local, 'all_gather'), 1, 'of the result');
});

/** x times w, of which each rank has a part of the sum, where `x` is split along its columns. */
const contraction = { contract: [[1, 0]] } as const;

test('what every rank has is added to parts of a sum by one rank, where less of both is folded', async () => {
  const program = new ProgramBuilder().program(
    [parameter('x', [6, 9]), parameter('w', [9, 4], 'input'), parameter('c', [6, 4], 'input')],
    (b, { x, w, c }) => ({ y: b.unary('tanh', b.slice(b.add(b.dot(x, w, contraction), c), 0, 1, 3)) }),
  );
  const ranks = await assertSame(state(program, { x: [[], ['tensor']] }), tensorMesh(3));
  const folded = [...walk(ranks[0].program.main)].filter(({ name }) => name === 'all_reduce');
  assert.deepEqual(
    folded.map(({ results: [{ type }] }) => asTensor(type).shape),
    [[2, 4]],
  );
  assert.deepEqual(
    ranks.map(({ program: local }) => count(local, 'add')),
    ranks.map((_, rank) => (rank === 0 ? 2 : 1)),
    'that of the fold, and the one of rank 0',
  );
});

test('parts of sums pass neither through a product of two of them, nor beside what is whole', async () => {
  const program = new ProgramBuilder().program(
    [parameter('x', [6, 9]), parameter('y', [6, 9]), parameter('w', [9, 4], 'input'), parameter('c', [6, 4], 'input')],
    (b, { x, y, w, c }) => {
      const sum = () => b.dot(x, w, contraction);
      return {
        product: b.multiply(sum(), b.dot(y, w, contraction)),
        beside: b.concatenate([sum(), c], 0),
      };
    },
  );
  const stated = state(program, { x: [[], ['tensor']], y: [[], ['tensor']] });
  await assertSame(stated, tensorMesh(3));
});

test('a sum of which each rank wants a part is scattered', async () => {
  const program = new ProgramBuilder().program(
    [parameter('x', [6, 9], 'input'), parameter('w', [9, 6])],
    (b, { x, w }) => {
      const y = b.dot(x, w, { contract: [[1, 0]] });
      const [own] = b.op(
        'custom_call',
        [y],
        {
          call_target_name: 'sdy.sharding_constraint',
          has_side_effect: false,
          extra: { sharding: '<@mesh, [{"tensor"}, {}]>' },
        },
        { types: [y.type] },
      );
      return { z: b.unary('tanh', own) };
    },
  );
  const [{ program: local }] = await assertSame(state(program, { w: [['tensor'], []] }), tensorMesh(3));
  assert.equal(count(local, 'reduce_scatter'), 1);
  assert.equal(count(local, 'all_reduce'), 0);
});

test('rows of a split table by their numbers, and rows written into it', async () => {
  const type = tensor('i32', [7]);
  const program = new ProgramBuilder().program(
    [
      { name: 'table', type: tensor('f32', [10, 3]), role: 'state' },
      { name: 'ids', type, role: 'input' },
      parameter('rows', [7, 3], 'input'),
    ],
    (b, { table, ids, rows }) => ({ taken: b.take(table, ids), updated: b.accumulate(table, ids, rows) }),
    { updated: 'table' },
  );
  const given = { ids: [3, -2, 9, 0, 12, 5, 9] };
  for (const size of [2, 3]) {
    const [{ program: local }] = await assertSame(state(program, { table: [['tensor'], []] }), tensorMesh(size), {
      given,
    });
    assert.equal(count(local, 'all_reduce'), 1);
    assert.equal(count(local, 'all_gather'), 0);
  }
});

test('loops and branches carry what is split; folds of other kinds begin once', async () => {
  const program = new ProgramBuilder().program(
    [parameter('x', [9, 4]), { name: 'n', type: tensor('i32', []), role: 'input' }],
    (b, { x, n }) => {
      const [, grown] = b.while(
        [b.scalar('i32', 0), b.full('f32', [9, 4], 1)],
        (c, i) => c.compare('LT', i, n),
        (body, i, sum) => [body.add(i, body.scalar('i32', 1)), body.add(sum, x)],
      );
      const [chosen] = b.if(
        b.compare('GT', n, b.scalar('i32', 2)),
        (yes) => [yes.multiply(grown, x)],
        () => [grown],
      );
      return {
        sum: b.reduce('add', chosen, 3, [0]),
        max: b.reduce('maximum', chosen, 0.5, [0]),
        product: b.reduce('multiply', chosen, 2, [0]),
        cut: b.slice(chosen, 0, 2, 8),
        turned: b.op('reverse', [chosen], { dimensions: [0] })[0],
      };
    },
  );
  for (const n of [2, 4]) {
    const [{ program: local }] = await assertSame(state(program, { x: [['tensor'], []] }), tensorMesh(3), {
      given: { n: [n] },
    });
    assert.equal(count(local, 'while'), 1);
    const loop = [...walk(local.main)].find((op) => op.name === 'while');
    assert.deepEqual(
      loop?.results.map(({ type }) => asTensor(type).shape),
      [[], [3, 4]],
    );
  }
});

test('what does not fit is refused with the reason', () => {
  const refused = (work: () => unknown, message: RegExp) =>
    assert.throws(work, (error) => isIngotError(error, 'InvalidProgram') && message.test(error.message));
  const program = mlp(24);
  refused(() => planOf(state(program, { up: [[], ['model']] }), tensorMesh(2)), /no axis 'model'/);
  refused(() => planOf(state(program, { up: [['tensor'], ['tensor']] }), tensorMesh(2)), /'tensor' twice/);
  refused(() => planOf(state(program, { up: [[]] }), tensorMesh(2)), /has 1 dimensions/);
  refused(() => planOf(program, { axes: [{ name: 'tensor', size: 0 }] }), /0 ranks/);
  const { program: local } = localProgram(planOf(program, tensorMesh(2)), 0);
  refused(() => planOf(local, tensorMesh(2)), /one rank's already/);
});

test('a mesh of one rank leaves the program as it is', () => {
  const { program } = localProgram(planOf(mlp(24), tensorMesh(1)), 0);
  assert.deepEqual(opsOf(program), opsOf(mlp(24)));
});
