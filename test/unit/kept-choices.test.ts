/** How programs were divided, kept between starts: by program and mesh, and it gives the same programs again. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { localProgram } from '../../src/compiler/partition/partition.ts';
import { planOf } from '../../src/compiler/partition/plan.ts';
import { keptChoices, keptLayouts } from '../../src/engine/kept-choices-node.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { parseMesh } from '../../src/ir/mesh.ts';
import { printProgram } from '../../src/ir/mlir/print.ts';
import type { Program } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import type { Model } from '../../src/models/model.ts';

const home = mkdtempSync(join(tmpdir(), 'ingot-choices-'));
const before = process.env.XDG_CACHE_HOME;
process.env.XDG_CACHE_HOME = home;
after(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
  rmSync(home, { recursive: true, force: true });
});

function mlp(hidden: number): Program {
  return new ProgramBuilder().program(
    [
      { name: 'x', type: tensor('f32', [5, 12]), role: 'input' },
      { name: 'up', type: tensor('f32', [12, hidden]), role: 'weight' },
      { name: 'down', type: tensor('f32', [hidden, 12]), role: 'weight' },
    ],
    (b, { x, up, down }) => ({
      y: b.dot(b.unary('tanh', b.dot(x, up, { contract: [[1, 0]] })), down, { contract: [[1, 0]] }),
    }),
  );
}

test('what was chosen comes back for the same program on the same mesh alone', () => {
  const mesh = parseMesh('tensor=2');
  const program = mlp(24);
  const plan = planOf(program, mesh);
  assert.ok(plan.choices.length > 0);
  keptChoices(mesh)?.keep(program, plan.choices);
  const found = keptChoices(mesh)?.find(mlp(24));
  assert.deepEqual(found, plan.choices);
  assert.equal(keptChoices(mesh)?.find(mlp(28)), undefined);
  assert.equal(keptChoices(parseMesh('tensor=3'))?.find(program), undefined);
  const again = planOf(program, mesh, found === undefined ? {} : { choices: found });
  for (const rank of [0, 1]) {
    assert.equal(printProgram(localProgram(again, rank).program), printProgram(localProgram(plan, rank).program));
  }
});

test('what ranks take of weights comes back for the same model on the same mesh alone', () => {
  const bytes = memoryBytes(new Uint8Array(4 * 12 * 24));
  const modelOf = (hidden: number): Model => {
    const up = { name: 'up', format: 'f32', shape: [12, hidden], bytes };
    return { architecture: 'mlp', weights: new Map([['up', up]]) } as unknown as Model;
  };
  const mesh = parseMesh('tensor=2');
  const program = mlp(24);
  const { splitsOf } = planOf(program, mesh);
  const layouts = new Map(
    program.parameters.map(({ name }, i) => [name, { splits: splitsOf(program.main.parameters[i]) }]),
  );
  assert.ok(layouts.get('up')?.splits[1] !== undefined && layouts.get('up')?.splits[0] === undefined);
  keptLayouts(mesh, modelOf(24))?.keep(layouts);
  assert.deepEqual(keptLayouts(mesh, modelOf(24))?.find(), layouts);
  assert.equal(keptLayouts(mesh, modelOf(28))?.find(), undefined);
  assert.equal(keptLayouts(parseMesh('tensor=3'), modelOf(24))?.find(), undefined);
});
