/** Sums over ranks as messages: which of the two ways they go, by what both cost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { usualLink, wholeBytes } from '../../src/compiler/cost.ts';
import { exchangeOf, lowerCollectives } from '../../src/compiler/exchange.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import type { Region } from '../../src/ir/program.ts';
import { type Dim, tensor } from '../../src/ir/types.ts';
import { walk } from '../../src/ir/walk.ts';
import { sum } from './collective-program.ts';

const kindsIn = (region: Region) =>
  [...walk(region)].flatMap((op) => (op.name === 'custom_call' ? [exchangeOf(op)?.kind ?? ''] : []));

/** Of a sum of f32 [rows, 12] on so many ranks. */
function exchanges(rows: Dim, ranks: number) {
  const built = new ProgramBuilder().program(
    [{ name: 'x', type: tensor('f32', [rows, 12]), role: 'input' }],
    (b, { x }) => ({ y: sum(b, x, ranks) }),
  );
  const { main } = lowerCollectives({ ...built, processes: { replicas: 1, partitions: ranks } });
  const branches = [...walk(main)].find(({ name }) => name === 'if')?.regions.map(kindsIn);
  return { all: kindsIn(main), branches };
}

test('a sum goes whole to everybody as long as another meeting takes longer than the bytes that it saves', () => {
  assert.equal(wholeBytes(2, usualLink), Number.POSITIVE_INFINITY);
  assert.equal(Math.floor(wholeBytes(3, usualLink)), 75_000);
  assert.equal(Math.floor(wholeBytes(4, usualLink)), 33_333);
  for (const ranks of [3, 4]) {
    const few = Math.floor(wholeBytes(ranks, usualLink) / (12 * 4));
    assert.deepEqual(exchanges(few, ranks).all, ['gather']);
    assert.deepEqual(exchanges(few + 1, ranks).all, ['swap', 'gather']);
    // How many rows there are is known when it runs.
    const T = { sym: 'T', max: 2 * few } as const;
    assert.deepEqual(exchanges(T, ranks), {
      all: ['rows', 'swap', 'gather', 'gather'],
      branches: [['swap', 'gather'], ['gather']],
    });
  }
  assert.deepEqual(exchanges(100_000, 2).all, ['move']);
});
