/** How programs were divided, kept between starts: by program and mesh, and it gives the same programs again. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { planOf } from '../../src/compiler/partition/plan.ts';
import { keptDivisions, keptLayouts } from '../../src/engine/kept-divisions-node.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { parseMesh } from '../../src/ir/mesh.ts';
import { printProgram } from '../../src/ir/mlir/print.ts';
import type { Program } from '../../src/ir/program.ts';
import { outlineOf, programText } from '../../src/ir/program-text.ts';
import { tensor } from '../../src/ir/types.ts';
import type { Model } from '../../src/models/model.ts';
import { Division, type KeptDivisions } from '../../src/parallel/division.ts';

const home = mkdtempSync(join(tmpdir(), 'ingot-divisions-'));
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

test('programs of ranks come back for the same program on the same mesh alone, and are made only when somebody looks into them', () => {
  const mesh = parseMesh('tensor=2');
  const first = new Division(mesh, 2, { divisions: keptDivisions(mesh) }).of(mlp(24));
  const found = keptDivisions(mesh)?.find(mlp(24));
  assert.ok(found !== undefined && found.choices.length > 0);
  assert.equal(keptDivisions(mesh)?.find(mlp(28)), undefined);
  assert.equal(keptDivisions(parseMesh('tensor=3'))?.find(mlp(24)), undefined);
  let looks = 0;
  const { main, ...rest } = mlp(24);
  const program: Program = {
    ...rest,
    get main() {
      looks++;
      return main;
    },
  };
  const again = new Division(mesh, 2, { divisions: { find: () => found, keep: () => assert.fail() } }).of(program);
  again.forEach((local, rank) => {
    assert.deepEqual(local.parameters, first[rank].parameters);
    assert.equal(programText(local.program), printProgram(first[rank].program));
  });
  assert.equal(looks, 0);
  again.forEach(({ program }, rank) => {
    assert.deepEqual(outlineOf(program), outlineOf(first[rank].program));
    assert.equal(printProgram(program), printProgram(first[rank].program));
  });
  assert.ok(looks > 0);
});

test('what was chosen for the first program holds for those after it, whatever is kept of them', () => {
  const mesh = parseMesh('tensor=2');
  const whole = { find: () => undefined, keep: () => {} };
  const division = new Division(mesh, 2, { divisions: whole });
  const [{ parameters }] = division.of(mlp(24));
  const found = {
    choices: [],
    ranks: division.of(mlp(28)).map(({ program, parameters }) => {
      return { outline: outlineOf(program), text: 'of another division', parameters };
    }),
  };
  let kept: readonly unknown[] = [];
  const keep: KeptDivisions['keep'] = (_, { choices }) => {
    kept = choices;
  };
  const other = new Division(mesh, 2, { divisions: { find: () => (kept.length > 0 ? found : whole.find()), keep } });
  assert.deepEqual(other.of(mlp(24))[0].parameters, parameters);
  assert.ok(kept.length > 0);
  assert.notEqual(programText(other.of(mlp(28))[0].program), 'of another division');
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
