import assert from 'node:assert/strict';
import { test } from 'node:test';
import { draw } from '../../src/composites/draw.ts';
import { gatedActivation } from '../../src/composites/gated_activation.ts';
import { joinedDot } from '../../src/composites/joined_dot.ts';
import { layerNorm } from '../../src/composites/layer_norm.ts';
import { pagedAttention } from '../../src/composites/paged_attention.ts';
import { affineDot } from '../../src/composites/quantized_dot.ts';
import { quantizedTake } from '../../src/composites/quantized_take.ts';
import { nameOperands } from '../../src/composites/quantized_weight.ts';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import { rope } from '../../src/composites/rope.ts';
import { route } from '../../src/composites/route.ts';
import { routedDot } from '../../src/composites/routed_dot.ts';
import { sample, sampleInputs } from '../../src/composites/sample.ts';
import { sampledDot } from '../../src/composites/sampled_dot.ts';
import { samplingInputs, samplingState, stepDims, stepInputs } from '../../src/composites/step.ts';
import { composites } from '../../src/composites/table.ts';
import { ProgramBuilder } from '../../src/ir/build.ts';
import { parseModule, programOf } from '../../src/ir/mlir/parse.ts';
import { printProgram } from '../../src/ir/mlir/print.ts';
import { tensor } from '../../src/ir/types.ts';
import { verify } from '../../src/ir/verify.ts';

const limits = {
  maxTokens: 8,
  maxSequences: 4,
  maxRows: 4,
  blockSize: 4,
  blockCount: 4,
  blocksPerSequence: 5,
  maxBias: 3,
};

function everyComposite() {
  const V = 40;
  const { T } = stepDims(limits);
  const pool = tensor('bf16', [16, 2, 4]);
  const counts = samplingState(limits, V)[1];
  return new ProgramBuilder().program(
    [
      ...stepInputs(limits),
      ...samplingInputs(limits),
      { name: 'q', type: tensor('f32', [T, 4, 4]), role: 'input' },
      { name: 'embedding', type: tensor('f32', [V, 4]), role: 'weight', format: 'q8_0' },
      { name: 'norm', type: tensor('f32', [4]), role: 'weight' },
      { name: 'head', type: tensor('ui4', [V, 4]), role: 'weight' },
      { name: 'headScales', type: tensor('f16', [V, 2]), role: 'weight' },
      { name: 'experts', type: tensor('f32', [5, 3, 4]), role: 'weight', format: 'f16' },
      { name: 'up', type: tensor('f32', [3, 4]), role: 'weight', format: 'f16' },
      { name: 'k', type: pool, role: 'state' },
      { name: 'v', type: pool, role: 'state' },
      counts,
    ],
    (b, v) => {
      const x = quantizedTake(b, v.embedding, v.tokens, { format: 'q8_0' });
      const normed = layerNorm(b, rmsNorm(b, x, v.norm, 1e-5), v.norm, v.norm, 1e-5);
      const gated = gatedActivation(b, normed, x, 'gelu');
      const q = rope(b, v.q, v.positions, {
        base: 1e4,
        dimensions: 4,
        layout: 'half',
        scaling: { kind: 'yarn', factor: 4, originalContextLength: 64, truncate: false },
      });
      const attended = pagedAttention(
        b,
        { ...v, q, kPool: v.k, vPool: v.v },
        { scale: 0.5, blockSize: 4, partition: 8, softCap: 3, window: 3 },
      );
      const head = { quantized: v.head, scales: v.headScales };
      const logits = affineDot(b, b.take(gated, v.logitRows), head, { numerics: 'i8' });
      const { ids, weights } = route(b, x, { chosen: 2, weights: 'softmax', scale: 1, groups: 2, kept: 1 });
      const expert = routedDot(b, gated, v.experts, ids, { format: 'f16', numerics: 'f32' });
      const joined = joinedDot(
        b,
        { x: gated, weights: [v.up, v.up], biases: [], residual: undefined },
        { format: 'f16', numerics: 'f32' },
      );
      const { operands, names } = nameOperands({ x: b.take(gated, v.logitRows), weight: v.embedding });
      const inputs = sampleInputs.map((name) => v[name]);
      const [greatest] = sampledDot(b, operands, inputs, { format: 'q8_0', numerics: 'f32', operands: names });
      return { joined, greatest, attended, weights, expert, drawn: draw(b, logits, v), ...sample(b, logits, v) };
    },
    { counts: 'counts' },
  );
}

test('programs of all composites verify, and come back from their text', () => {
  const program = everyComposite();
  verify(program);
  const used = program.main.body.flatMap((op) => (op.name === 'composite' ? [op.attributes.name] : []));
  assert.deepEqual(
    [...new Set(used)].sort(),
    Object.keys(composites)
      .map((name) => `ingot.${name}`)
      .sort(),
  );
  const text = printProgram(program);
  assert.equal(printProgram(programOf(parseModule(text))), text);
});

test('every row of the table stands under its name', () => {
  for (const [name, composite] of Object.entries(composites)) assert.equal(composite.name, name);
});
