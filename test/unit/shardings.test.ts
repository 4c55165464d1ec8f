/** Meshes and shardings as texts say them: JAX's (fixtures/shardings/make-shardings.py), ours, and wrong ones. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { formatMesh, groupsAlong, indexAlong, type Mesh, parseMesh } from '../../src/ir/mesh.ts';
import { parseModule, programOf } from '../../src/ir/mlir/parse.ts';
import { printProgram } from '../../src/ir/mlir/print.ts';
import { parseSharding, printSharding } from '../../src/ir/mlir/sharding-text.ts';
import { meshOfTiles, shardingOfTiles } from '../../src/ir/mlir/tile-sharding.ts';
import { fixtures } from '../fixtures.ts';
import { assertSame } from './partition-harness.ts';

interface Fixture {
  readonly name: string;
  readonly kind: 'shardy' | 'gspmd';
  readonly text: string;
  readonly local: readonly (readonly number[] | null)[];
}

const exported: readonly Fixture[] = JSON.parse(
  readFileSync(join(fixtures('unit'), 'shardings', 'shardings.json'), 'utf8'),
);

for (const { name, kind, text, local } of exported) {
  test(`${name} with ${kind}'s shardings: each rank has what JAX gives its devices, and the results of one`, async () => {
    const program = programOf(parseModule(text));
    assert.ok(program.mesh !== undefined);
    const ranks = await assertSame({ ...program, processes: { replicas: 1, partitions: 1 } }, program.mesh);
    assert.equal(ranks.length, 8);
    for (const rank of ranks) {
      local.forEach((shape, i) => {
        if (shape !== null) assert.deepEqual(rank.program.parameters[i].type.shape, shape, `argument ${i}`);
      });
    }
    program.results.forEach(({ sharding }, i) => {
      const isSplit = sharding?.dims.some((dim) => dim.axes.length > 0) ?? false;
      assert.equal(
        ranks[0].results[i].splits.some((split) => split !== undefined),
        isSplit,
      );
    });
    const again = programOf(parseModule(printProgram(program)));
    assert.deepEqual(again.mesh, program.mesh);
    assert.deepEqual(
      again.parameters.map(({ sharding }) => sharding),
      program.parameters.map(({ sharding }) => sharding),
    );
  });
}

test('attributes are printed as they were read', () => {
  for (const text of ['<@mesh, [{"x"}, {}]>', '<@mesh, [{"x", "y", ?}, {?}p1], replicated={"z"}>', '<@mesh, []>']) {
    assert.equal(printSharding(parseSharding(text)), text);
  }
});

test('tiles are the axes along which they are split, in the order of the devices', () => {
  const texts: [text: string, dims: string[][], replicated: string[]][] = [
    ['{devices=[2,1,4]<=[8] last_tile_dim_replicate}', [['axis_0'], []], ['axis_1']],
    ['{devices=[4,1,2]<=[2,4]T(1,0) last_tile_dim_replicate}', [['axis_1'], []], ['axis_0']],
    ['{devices=[8,1]<=[2,4]T(1,0)}', [['axis_1', 'axis_0'], []], []],
    ['{devices=[2,4]<=[8]}', [['axis_0'], ['axis_1']], []],
    ['{replicated}', [[], []], []],
  ];
  const mesh = meshOfTiles(texts.map(([text]) => text)) ?? assert.fail('there is no mesh');
  assert.deepEqual(
    mesh.axes.map(({ size }) => size),
    [2, 4],
  );
  for (const [text, axes, replicated] of texts) {
    const sharding = shardingOfTiles(text, mesh, 2);
    assert.deepEqual([sharding.dims.map((dim) => dim.axes), sharding.replicated], [axes, replicated], text);
  }
});

test('tiles of several grids share the coarsest mesh', () => {
  const mesh = meshOfTiles(['{devices=[4,2]<=[8]}', '{devices=[2,4]<=[8]}', '{devices=[1,8]0,1,2,3,4,5,6,7}']);
  assert.deepEqual(mesh, { axes: [0, 1, 2].map((i) => ({ name: `axis_${i}`, size: 2 })) });
  const dims = shardingOfTiles('{devices=[4,2]<=[8]}', mesh, 2).dims.map(({ axes }) => axes);
  assert.deepEqual(dims, [['axis_0', 'axis_1'], ['axis_2']]);
});

test('what cannot be said is refused', () => {
  const unsupported = (work: () => unknown) => assert.throws(work, (error) => isIngotError(error, 'UnsupportedOp'));
  const wrong = (work: () => unknown) => assert.throws(work, (error) => isIngotError(error, 'ParseError'));
  for (const text of [
    '{maximal device=0}',
    '{manual}',
    '{devices=[2,2]<=[8]}',
    '{devices=[2,2]3,2,1,0}',
    '{devices=[2,1,2]<=[4] last_tile_dims={manual}}',
    '{devices=[2,2]<=[2,2]T(0,0)}',
    '',
  ]) {
    unsupported(() => meshOfTiles([text]));
  }
  unsupported(() => meshOfTiles(['{devices=[6]<=[6]}', '{devices=[2,2]<=[4]}', '{devices=[4,3]<=[12]}']));
  unsupported(() => parseSharding('<@mesh, [{"x":(1)2}]>'));
  unsupported(() => parseSharding('<@mesh, [{"x"}], unreduced={"y"}>'));
  wrong(() => parseSharding('<@mesh, [{"x"}]'));
  wrong(() => parseSharding('<@mesh, [{x}]> more'));
});

test('ranks by their places in a mesh', () => {
  const mesh: Mesh = parseMesh('data=2,tensor=3');
  assert.deepEqual(groupsAlong(mesh, ['tensor']), [
    [0, 1, 2],
    [3, 4, 5],
  ]);
  assert.deepEqual(groupsAlong(mesh, ['data']), [
    [0, 3],
    [1, 4],
    [2, 5],
  ]);
  assert.equal(indexAlong(mesh, ['tensor', 'data'], 5), 5);
  assert.equal(indexAlong(mesh, ['tensor', 'data'], 3), 1);
  for (const text of ['tensor=2', 'data=2,tensor=3:1:1']) assert.equal(formatMesh(parseMesh(text)), text);
  for (const text of [
    '',
    'tensor',
    'tensor=0',
    'x=2',
    'tensor=2,tensor=2',
    'tensor=1:0',
    'tensor=99999999',
    'tensor=-1',
  ]) {
    assert.throws(
      () => parseMesh(text),
      (error) => isIngotError(error, 'Usage'),
      text,
    );
  }
});
