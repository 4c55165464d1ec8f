/** How programs were divided, kept between starts: by program and mesh, and it gives the same programs again. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { localProgram } from '../../src/compiler/partition/partition.ts';
import { planOf } from '../../src/compiler/partition/plan.ts';
import { keptChoices } from '../../src/engine/kept-choices-node.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { parseMesh } from '../../src/ir/mesh.ts';
import { printProgram } from '../../src/ir/mlir/print.ts';
import type { Program } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';

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
