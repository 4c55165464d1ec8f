import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { formatType, tensor } from '../../src/ir/types.ts';

const T = { sym: 'T', max: 8 } as const;

test('a program is built with inferred types and one function for equal composites', () => {
  const module = new ProgramBuilder();
  const program = module.program(
    [
      { name: 'x', type: tensor('f32', [T, 4]), role: 'input' },
      { name: 'w', type: tensor('f32', [4]), role: 'weight' },
    ],
    (b, { x, w }) => ({ y: rmsNorm(b, rmsNorm(b, x, w, 1e-5), w, 1e-5), z: rmsNorm(b, x, w, 1e-6) }),
  );
  assert.deepEqual(
    program.results.map(({ name, type }) => `${name}: ${formatType(type)}`),
    ['y: tensor<?x4xf32, #ingot.dim<T, 8>>', 'z: tensor<?x4xf32, #ingot.dim<T, 8>>'],
  );
  assert.deepEqual([...program.functions.keys()], ['rms_norm.impl', 'rms_norm.impl_1']);
});

test('an op that does not fit its operands is refused by name', () => {
  const module = new ProgramBuilder();
  assert.throws(
    () =>
      module.program(
        [
          { name: 'x', type: tensor('f32', [2, 3]), role: 'input' },
          { name: 'y', type: tensor('f32', [3, 2]), role: 'input' },
        ],
        (b, { x, y }) => ({ z: b.add(x, y) }),
      ),
    (error) => isIngotError(error, 'InvalidProgram') && error.place.op === 'add',
  );
});

test('a constant fills a symbolic dimension, also one of at most 1', () => {
  for (const max of [1, 8]) {
    new ProgramBuilder().program(
      [{ name: 'x', type: tensor('f32', [{ sym: 'T', max }]), role: 'input' }],
      (b, { x }) => ({
        y: b.add(x, b.full('f32', [{ sym: 'T', max }], 1)),
      }),
    );
  }
});
