/** Programs that nobody has told how they lie, on several ranks: the results of one rank. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Mesh } from '../../src/ir/mesh.ts';
import type { Parameter, Program } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
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
