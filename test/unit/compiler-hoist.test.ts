import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { hoist } from '../../src/compiler/hoist.ts';
import { simplify } from '../../src/compiler/simplify.ts';
import { planState } from '../../src/compiler/state.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Func, Parameter, Program, Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';
import { execute, opNames } from './compiler-harness.ts';

const vector = tensor('f32', [3]);
const input = <const N extends string>(name: N) => ({ name, type: vector, role: 'input' }) satisfies Parameter;
const parameters = [input('x'), input('p'), input('q'), { name: 's', type: vector, role: 'state' }] as const;

/** `layer` called twice, one call after the other, with p both times. */
function twice(
  layer: (b: Builder, x: Value, p: Value) => Value,
  given: (values: { readonly p: Value; readonly q: Value }) => readonly [Value, Value] = ({ p }) => [p, p],
): Program {
  const module = new ProgramBuilder();
  const func = module.define('layer', [vector, vector], (b, x, p) => [layer(b, x, p)]);
  return module.program(
    parameters,
    (b, { x, p, q, s }) => {
      const [first, second] = given({ p, q });
      return { out: b.call(func, [b.call(func, [x, first])[0], second])[0], s: b.add(s, x) };
    },
    { s: 's' },
  );
}

const count = (func: Func | undefined, name: string) => func?.body.filter((op) => op.name === name).length;

const angles = (b: Builder, x: Value, p: Value) =>
  b.multiply(x, b.unary('cosine', b.multiply(p, b.full('f32', [3], 2))));
const cases: readonly [name: string, program: Program, main: number, layer: number][] = [
  ['what all calls are given alike', twice(angles), 1, 0],
  ['calls that are given different values', twice(angles, ({ p, q }) => [p, q]), 0, 1],
  ['what depends on more', twice((b, x, p) => b.unary('cosine', b.add(x, p))), 0, 1],
  ['a result of the function', twice((b, _, p) => b.unary('cosine', p)), 1, 0],
  [
    'what is repeated, before it is',
    twice((b, x, p) => b.add(x, b.broadcast(b.reshape(b.unary('cosine', b.slice(p, 0, 0, 1)), []), [3], []))),
    1,
    0,
  ],
];
for (const [name, program, main, layer] of cases) {
  test(`hoist: ${name}`, async () => {
    const hoisted = simplify(hoist(program));
    verify(hoisted);
    planState(hoisted);
    assert.equal(count(hoisted.main, 'cosine'), main);
    assert.equal(count(hoisted.functions.get('layer'), 'cosine'), layer);
    assert.deepEqual(await execute(hoisted, 1), await execute(program, 1));
  });
}

test('hoist: out of the function that calls, too', async () => {
  const module = new ProgramBuilder();
  const inner = module.define('inner', [vector, vector], (b, x, p) => [angles(b, x, p)]);
  const outer = module.define('outer', [vector, vector], (b, x, p) => [
    b.call(inner, [b.call(inner, [x, p])[0], p])[0],
  ]);
  const program = module.program(parameters.slice(0, 2), (b, { x, p }) => ({
    out: b.call(outer, [b.call(outer, [x, p])[0], p])[0],
  }));
  const hoisted = simplify(hoist(program));
  verify(hoisted);
  assert.equal(count(hoisted.main, 'cosine'), 1);
  assert.equal(opNames(hoisted).filter((name) => name === 'cosine').length, 1);
  assert.deepEqual(await execute(hoisted, 1), await execute(program, 1));
});

test('hoist: state, loops and single calls are left alone', () => {
  const module = new ProgramBuilder();
  const layer = module.define('layer', [vector, vector], (b, x, p) => [angles(b, x, p)]);
  const other = module.define('other', [vector, vector], (b, x, p) => [b.subtract(x, b.negate(p))]);
  const program = module.program(
    parameters,
    (b, { x, p, q, s }) => {
      const [once] = b.call(layer, [x, p]);
      const [, looped] = b.while(
        [b.scalar('i32', 0), once],
        (c, i) => c.compare('LT', i, c.scalar('i32', 2)),
        (c, i, y) => [c.add(i, c.scalar('i32', 1)), c.call(other, [c.call(other, [y, q])[0], q])[0]],
      );
      return { out: b.call(other, [looped, s])[0], s: b.add(s, x) };
    },
    { s: 's' },
  );
  assert.equal(hoist(program), program);
});

test('hoist: random layers keep every bit', async () => {
  let moved = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(4), fc.nat(50), fc.nat(50)), { minLength: 2, maxLength: 12 }),
      async (drawn) => {
        const module = new ProgramBuilder();
        const layer = module.define('layer', [vector, vector, vector], (b, x, p, q) => {
          const values = [x, p, q];
          for (const [kind, i, j] of drawn) {
            const [left, right] = [values[i % values.length], values[j % values.length]];
            const ops = [
              () => b.add(left, right),
              () => b.multiply(left, right),
              () => b.negate(left),
              () => b.full('f32', [3], i),
              () => b.broadcast(b.reduce('maximum', left, 0, [0]), [3], []),
            ];
            values.push(ops[kind]());
          }
          return [values.slice(-3).reduce((sum, value) => b.subtract(sum, value)), values[values.length - 2]];
        });
        const program = module.program(parameters.slice(0, 3), (b, { x, p, q }) => {
          const [one, two] = b.call(layer, [x, p, q]);
          const [three, four] = b.call(layer, [one, p, two]);
          return { three, four };
        });
        const hoisted = hoist(program);
        verify(hoisted);
        if (hoisted !== program) moved++;
        assert.deepEqual(await execute(hoisted, drawn.length), await execute(program, drawn.length));
      },
    ),
    { seed: 7, numRuns: 100 },
  );
  assert.ok(moved > 20, `only ${moved} programs had something to move`);
});
