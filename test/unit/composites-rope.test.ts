import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { rope } from '../../src/composites/rope.ts';
import { type RopeScaling, ropeFrequencies } from '../../src/composites/rope_frequencies.ts';
import { tensor } from '../../src/ir/types.ts';
import { assertClose, assertSameBits, compile, generator, normal } from './composites-harness.ts';
import golden from './fixtures/rope-frequencies.json' with { type: 'json' };

const T = { sym: 'T', max: 32 } as const;

test('frequencies of every scaling are those of transformers', () => {
  const kinds = new Set<string>();
  for (const { scaling, base, dimensions, inverse, attentionFactor } of golden) {
    const actual = ropeFrequencies(base, dimensions, scaling as RopeScaling);
    kinds.add(scaling.kind);
    assert.equal(actual.inverse.length, inverse.length);
    actual.inverse.forEach((frequency, i) => {
      const error = Math.abs(frequency / inverse[i] - 1);
      assert(error < 2e-6, `${JSON.stringify(scaling)} pair ${i}: ${frequency}, not ${inverse[i]}`);
    });
    assert(Math.abs(actual.attentionFactor - attentionFactor) < 1e-12);
  }
  assert.deepEqual([...kinds], ['none', 'linear', 'ntk', 'llama3', 'yarn']);
});

/** Pairs as complex numbers times exp(i * angle). */
function rotate(
  x: readonly number[],
  positions: readonly number[],
  {
    heads,
    headDim,
    dimensions,
    interleaved,
  }: { heads: number; headDim: number; dimensions: number; interleaved: boolean },
  frequency: (pair: number) => number,
  factor: number,
): number[] {
  const out = [...x];
  positions.forEach((position, t) => {
    for (let h = 0; h < heads; h++) {
      for (let pair = 0; pair < dimensions / 2; pair++) {
        const at = (t * heads + h) * headDim;
        const [i, j] = interleaved ? [at + 2 * pair, at + 2 * pair + 1] : [at + pair, at + pair + dimensions / 2];
        const [length, angle] = [Math.hypot(x[i], x[j]), Math.atan2(x[j], x[i])];
        const turned = angle + position * frequency(pair);
        out[i] = factor * length * Math.cos(turned);
        out[j] = factor * length * Math.sin(turned);
      }
    }
  });
  return out;
}

test('rope turns pairs of both layouts, whole heads and parts of them', async () => {
  const random = generator(3);
  const yarn: RopeScaling = { kind: 'yarn', factor: 4, originalContextLength: 64 };
  for (const [heads, headDim, dimensions, layout, scaling] of [
    [1, 2, 2, 'half', { kind: 'none' }],
    [3, 8, 8, 'half', { kind: 'none' }],
    [3, 8, 8, 'interleaved', { kind: 'linear', factor: 2 }],
    [2, 10, 4, 'half', yarn],
    [2, 10, 6, 'interleaved', yarn],
  ] as const) {
    const types = { x: tensor('f32', [T, heads, headDim]), positions: tensor('i32', [T]) };
    const run = await compile(types, (b, v) => ({
      y: rope(b, v.x, v.positions, { base: 1000, dimensions, layout, scaling }),
    }));
    const { inverse, attentionFactor } = ropeFrequencies(1000, dimensions, scaling);
    for (const tokens of [1, 3, 17]) {
      const x = normal(random, tokens * heads * headDim);
      const positions = Array.from({ length: tokens }, () => Math.floor(random() * 200));
      const { y } = await run({ x, positions }, { T: tokens });
      const shape = { heads, headDim, dimensions, interleaved: layout === 'interleaved' };
      assertClose(
        y,
        rotate(x, positions, shape, (pair) => inverse[pair], attentionFactor),
        1e-4,
      );
    }
  }
});

test('rope at position 0 changes no bit; frequency factors divide', async () => {
  const types = { x: tensor('f32', [T, 2, 6]), positions: tensor('i32', [T]), factors: tensor('f32', [3]) };
  const attributes = { base: 10000, dimensions: 6, layout: 'half', scaling: { kind: 'none' } } as const;
  const run = await compile(types, (b, v) => ({
    plain: rope(b, v.x, v.positions, attributes),
    divided: rope(b, v.x, v.positions, attributes, v.factors),
  }));
  const x = normal(generator(4), 3 * 12);
  const factors = [1, 2.5, 8];
  const still = await run({ x, positions: [0, 0, 0], factors }, { T: 3 });
  assertSameBits(still.plain, x);
  const positions = [1, 5, 40];
  const { divided } = await run({ x, positions, factors }, { T: 3 });
  const { inverse } = ropeFrequencies(10000, 6, { kind: 'none' });
  const shape = { heads: 2, headDim: 6, dimensions: 6, interleaved: false };
  assertClose(
    divided,
    rotate(x, positions, shape, (pair) => inverse[pair] / factors[pair], 1),
    1e-5,
  );
});

test('rope refuses odd or too many dimensions', async () => {
  const types = { x: tensor('f32', [T, 2, 6]), positions: tensor('i32', [T]) };
  for (const dimensions of [5, 8]) {
    await assert.rejects(
      compile(types, (b, v) => ({
        y: rope(b, v.x, v.positions, { base: 1e4, dimensions, layout: 'half', scaling: { kind: 'none' } }),
      })),
      (error) => isIngotError(error, 'InvalidProgram'),
    );
  }
});
