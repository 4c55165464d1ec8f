import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { compile } from '../../src/compiler/compile.ts';
import { inlineCalls, inlineComposites } from '../../src/compiler/inline.ts';
import { splitPrepare } from '../../src/compiler/prepare.ts';
import { planState } from '../../src/compiler/state.ts';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Parameter, Program, Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';
import { execute, opNames, type Values } from './compiler-harness.ts';
import { decisions, randomProgram } from './random-program.ts';

const matrix = tensor('f32', [2, 2]);
const parameter = <const N extends string>(name: N, role: Parameter['role']) =>
  ({ name, type: matrix, role }) satisfies Parameter;
const parameters = [parameter('x', 'input'), parameter('w', 'weight'), parameter('v', 'weight')] as const;

function build(body: (b: Builder, v: Readonly<Record<'x' | 'w' | 'v', Value>>) => Value): Program {
  return new ProgramBuilder().program(parameters, (b, values) => ({ out: body(b, values) }));
}

const names = (program: Program | undefined) => program?.parameters.map(({ name }) => name);
/** Runs the split program the way a device does: what `prepare` makes are weights. */
async function executeSplit(program: Program, seed: number): Promise<Values> {
  const { prepare, main } = splitPrepare(program);
  verify(main);
  if (prepare !== undefined) verify(prepare);
  const made = prepare === undefined ? {} : await execute(prepare, seed);
  return execute(main, seed, { T: 2 }, made);
}

const cases: readonly [
  name: string,
  program: Program,
  prepare: readonly string[],
  main: readonly string[],
  weights: readonly string[],
][] = [
  [
    'a transposed weight: the weight itself is no longer needed',
    build((b, { x, w }) => b.dot(x, b.transpose(w, [1, 0]), { contract: [[1, 0]] })),
    ['transpose'],
    ['dot_general'],
    ['x', 'prepared.0'],
  ],
  [
    'a weight that is used in two ways stays',
    build((b, { x, w }) => b.dot(b.add(x, w), b.negate(b.negate(w)), { contract: [[1, 0]] })),
    ['negate', 'negate'],
    ['add', 'dot_general'],
    ['x', 'w', 'prepared.0'],
  ],
  [
    'what is repeated is prepared before it is',
    build((b, { x, w }) => b.add(x, b.broadcast(b.reduce('add', w, 0, [0]), [2, 2], [1]))),
    ['constant', 'reduce', 'add'],
    ['broadcast_in_dim', 'add'],
    ['x', 'prepared.0'],
  ],
  [
    'names and repetitions stay',
    build((b, { x, w }) => b.add(b.reshape(b.add(x, b.full('f32', [2, 2], 1)), [4]), b.reshape(w, [4]))),
    [],
    ['constant', 'add', 'reshape', 'reshape', 'add'],
    ['x', 'w', 'v'],
  ],
  ["a result that is a weight's alone", build((b, { w, v }) => b.add(w, v)), ['add'], [], ['x', 'prepared.0']],
  [
    'captured by a branch',
    build(
      (b, { x, w }) =>
        b.if(
          b.scalar('i1', true),
          (c) => [c.add(x, b.negate(w))],
          () => [x],
        )[0],
    ),
    ['negate'],
    ['constant', 'if', 'add'],
    ['x', 'prepared.0'],
  ],
];
for (const [name, program, prepare, main, weights] of cases) {
  test(`prepare: ${name}`, async () => {
    const split = splitPrepare(program);
    assert.deepEqual(split.prepare === undefined ? [] : opNames(split.prepare), prepare);
    assert.deepEqual(opNames(split.main), main);
    assert.deepEqual(names(split.main), weights);
    assert.deepEqual(await executeSplit(program, 1), await execute(program, 1));
  });
}

test('random programs compute the same bits when split, and when inlined', async () => {
  let split = 0;
  await fc.assert(
    fc.asyncProperty(decisions, fc.nat(1000), async (list, seed) => {
      const program = compile(randomProgram(list));
      const expected = await execute(program, seed);
      assert.deepEqual(await executeSplit(program, seed), expected);
      if (splitPrepare(program).prepare !== undefined) split++;
      const flat = inlineCalls(inlineComposites(program, () => false));
      verify(flat);
      planState(flat);
      assert.equal(flat.functions.size, 0);
      assert.deepEqual(await execute(flat, seed), expected);
    }),
    { seed: 4, numRuns: 60 },
  );
  assert.ok(split > 10, `only ${split} programs had something to prepare`);
});

test('composites with a kernel are kept', () => {
  const module = new ProgramBuilder();
  const scale = tensor('f32', [2]);
  const inner = module.define('inner', [matrix, scale], (b, x, w) => [rmsNorm(b, x, w, 1)]);
  const program = module.program(
    [parameter('x', 'input'), { name: 'w', type: scale, role: 'weight' }],
    (b, { x, w }) => ({
      out: b.call(inner, [x, w])[0],
    }),
  );
  assert.ok(
    opNames(inlineComposites(program, ({ attributes }) => attributes.name === 'ingot.rms_norm')).includes('composite'),
  );
  const without = inlineComposites(program, () => false);
  verify(without);
  assert.ok(!opNames(without).includes('composite') && without.functions.size === 1);
});
