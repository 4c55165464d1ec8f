/** Which heads `compiler/join-sampling.ts` makes one with what is sampled from them, and that the bits of the reference device stay. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joinSampling } from '../../src/compiler/join-sampling.ts';
import { simplify } from '../../src/compiler/simplify.ts';
import { quantizedDot } from '../../src/composites/quantized_dot.ts';
import { sample } from '../../src/composites/sample.ts';
import { samplingInputs, samplingState } from '../../src/composites/step.ts';
import { type Builder, ProgramBuilder } from '../../src/ir/build.ts';
import type { Program, Value } from '../../src/ir/program.ts';
import { tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';
import { execute } from './compiler-harness.ts';

const limits = {
  ...{ maxTokens: 4, maxSequences: 2, maxRows: 3, blockSize: 4, blockCount: 1, blocksPerSequence: 1 },
  maxBias: 2,
};
const inputs = samplingInputs(limits);
const [R] = inputs[0].type.shape;

/** A head of V tokens with a bias, sampled, and what `more` makes of the logits. */
function build(
  V: number,
  more: (
    b: Builder,
    logits: Value,
  ) => { readonly read?: Value; readonly results?: Readonly<Record<string, Value>> } = () => ({}),
): Program {
  const program = new ProgramBuilder().program(
    [
      ...inputs,
      samplingState(limits, V)[1],
      { name: 'x', type: tensor('f32', [R, 32]), role: 'input' },
      { name: 'weight', type: tensor('f32', [V, 32]), role: 'weight', format: 'q8_0' },
      { name: 'bias', type: tensor('f32', [V]), role: 'weight' },
    ],
    (b, values) => {
      const { x, weight, bias } = values;
      const logits = quantizedDot(b, x, weight, { format: 'q8_0', numerics: 'f32', bias });
      const { read = logits, results } = more(b, logits);
      return { ...sample(b, read, values), ...results };
    },
    { counts: 'counts' },
  );
  verify(program);
  return program;
}

const names = (program: Program) =>
  program.main.body.flatMap((op) => (op.name === 'composite' ? [op.attributes.name.replace('ingot.', '')] : []));

const apart = ['quantized_dot', 'sample'];
const cases: readonly [name: string, program: Program, left: readonly string[]][] = [
  ['a head', build(256), ['sampled_dot']],
  ['logits that the program returns', build(256, (_, logits) => ({ results: { logits } })), apart],
  [
    'logits that somebody else reads',
    build(256, (b, logits) => ({ results: { first: b.slice(logits, 1, 0, 1) } })),
    apart,
  ],
  ['logits that change before they are sampled', build(256, (b, logits) => ({ read: b.unary('tanh', logits) })), apart],
  ['a vocabulary of one segment', build(128), apart],
  ['a vocabulary that is no whole segments', build(200), apart],
];
for (const [name, program, left] of cases) {
  test(`join sampling: ${name}`, async () => {
    const result = joinSampling(program, () => true);
    verify(result);
    assert.deepEqual(names(result), left);
    assert.deepEqual(await execute(simplify(result), 3, { R: 3 }), await execute(program, 3, { R: 3 }));
  });
}

test('join sampling: a weight that no kernel reads stays as it is', () => {
  assert.deepEqual(names(joinSampling(build(256), () => false)), apart);
});
