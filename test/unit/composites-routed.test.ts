/** Routing and the products of experts against plain TypeScript. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { type RouteAttributes, route } from '../../src/composites/route.ts';
import { routedDot } from '../../src/composites/routed_dot.ts';
import { tensor } from '../../src/ir/types.ts';
import { assertClose, assertSameBits, compile, generator, integer, normal } from './composites-harness.ts';

const T = { sym: 'T', max: 32 } as const;

function softmax(x: readonly number[]): number[] {
  const largest = Math.max(...x);
  const powers = x.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** Sorted, the lower id first among equals. */
function best(scores: readonly number[], count: number): number[] {
  const ids = scores.map((_, id) => id);
  return ids.sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b).slice(0, count);
}

function routed(logits: readonly number[], { chosen, weights, scale, groups = 1, kept = 1 }: RouteAttributes) {
  const probabilities = softmax(logits);
  const size = logits.length / groups;
  const bestOf = (group: number) => Math.max(...probabilities.slice(group * size, (group + 1) * size));
  const good = best(
    Array.from({ length: groups }, (_, group) => bestOf(group)),
    kept,
  );
  const scores = probabilities.map((p, id) => (good.includes(Math.floor(id / size)) ? p : 0));
  const ids = best(weights === 'chosen' ? logits : scores, chosen);
  const picked = ids.map((id) => probabilities[id] as number);
  const sum = picked.reduce((a, b) => a + b, 0);
  const factors = weights === 'softmax' ? picked : picked.map((p) => p / sum);
  return { ids, weights: factors.map((factor) => factor * scale) };
}

const kinds: Readonly<Record<string, RouteAttributes>> = {
  'softmax over all': { chosen: 3, weights: 'softmax', scale: 1 },
  'normalized over the chosen': { chosen: 3, weights: 'normalized', scale: 1 },
  'softmax over the chosen, scaled': { chosen: 4, weights: 'chosen', scale: 2.5 },
  'limited to groups': { chosen: 4, weights: 'softmax', scale: 16, groups: 4, kept: 2 },
  'all experts': { chosen: 12, weights: 'normalized', scale: 1 },
  'one expert': { chosen: 1, weights: 'softmax', scale: 1 },
};

for (const [name, attributes] of Object.entries(kinds)) {
  test(`route: ${name}`, async () => {
    const E = 12;
    const run = await compile({ logits: tensor('f32', [T, E]) }, (b, v) => ({ ...route(b, v.logits, attributes) }));
    const random = generator(31);
    for (const tokens of [1, 2, 17]) {
      const logits = normal(random, tokens * E, 2);
      const out = await run({ logits }, { T: tokens });
      for (let t = 0; t < tokens; t++) {
        const expected = routed(logits.slice(t * E, (t + 1) * E), attributes);
        const range = [t * attributes.chosen, (t + 1) * attributes.chosen] as const;
        assert.deepEqual(out.ids.slice(...range), expected.ids);
        assertClose(out.weights.slice(...range), expected.weights, 1e-6);
      }
    }
  });
}

test('route: among equals the lower id comes first', async () => {
  const run = await compile({ logits: tensor('f32', [T, 6]) }, (b, v) => ({
    ...route(b, v.logits, { chosen: 4, weights: 'chosen', scale: 1 }),
  }));
  const logits = [0, 0, 0, 0, 0, 0, 1, 2, 1, 2, 2, 1, 5, -5, 5, -5, 5, -5];
  const { ids } = await run({ logits }, { T: 3 });
  assert.deepEqual(ids, [0, 1, 2, 3, 1, 3, 4, 0, 0, 2, 4, 1]);
});

test('routed_dot: random experts, one that takes all, ones that nobody chose', async () => {
  const [E, N, K, chosen] = [6, 5, 7, 3];
  const run = await compile(
    {
      x: tensor('f32', [T, K]),
      each: tensor('f32', [T, chosen, K]),
      w: tensor('f32', [E, N, K]),
      half: tensor('f16', [E, N, K]),
      ids: tensor('i32', [T, chosen]),
    },
    (b, v) => ({
      shared: routedDot(b, v.x, v.w, v.ids, { format: 'q4_0', numerics: 'i8' }),
      own: routedDot(b, v.each, v.w, v.ids, { format: 'f32', numerics: 'f32' }),
      half: routedDot(b, v.x, v.half, v.ids, { format: 'f16', numerics: 'bf16' }),
    }),
  );
  const random = generator(32);
  const w = normal(random, E * N * K);
  const half = Array.from({ length: E * N * K }, () => integer(random, 64) / 16 - 2);
  for (const [tokens, choose] of [
    [1, () => integer(random, E)],
    [17, () => integer(random, E)],
    [9, () => 4],
    [3, () => [-1, E, 2 ** 31 - 1, 0][integer(random, 4)] as number],
  ] as const) {
    const x = normal(random, tokens * K);
    const each = normal(random, tokens * chosen * K);
    const ids = Array.from({ length: tokens * chosen }, choose);
    const out = await run({ x, each, w, half, ids }, { T: tokens });
    const product = (rows: readonly number[], weight: readonly number[], perToken: number) =>
      ids.flatMap((id, i) => {
        const expert = Math.min(E - 1, Math.max(0, id));
        const row = Math.floor(i / perToken);
        return Array.from({ length: N }, (_, n) => {
          let sum = 0;
          for (let k = 0; k < K; k++) sum += rows[row * K + k] * weight[(expert * N + n) * K + k];
          return sum;
        });
      });
    assertClose(out.shared, product(x, w, chosen), 1e-5);
    assertClose(out.own, product(each, w, 1), 1e-5);
    assertClose(out.half, product(x, half, chosen), 1e-5);
    // A token's bits do not depend on the others.
    const last = await run(
      { x: x.slice(-K), each: each.slice(-chosen * K), w, half, ids: ids.slice(-chosen) },
      { T: 1 },
    );
    assertSameBits(out.shared.slice(-chosen * N), last.shared);
    assertSameBits(out.own.slice(-chosen * N), last.own);
  }
});

test('routed_dot and route refuse what does not fit', async () => {
  const types = {
    x: tensor('f32', [T, 8]),
    w: tensor('f32', [2, 3, 8]),
    flat: tensor('f32', [3, 8]),
    ids: tensor('i32', [T, 2]),
    three: tensor('f32', [T, 3, 8]),
  };
  const options = { format: 'f32', numerics: 'f32' } as const;
  const refused = (error: unknown) => isIngotError(error, 'InvalidProgram');
  await assert.rejects(
    compile(types, (b, v) => ({ y: routedDot(b, v.x, v.flat, v.ids, options) })),
    refused,
  );
  await assert.rejects(
    compile(types, (b, v) => ({ y: routedDot(b, v.three, v.w, v.ids, options) })),
    refused,
  );
  await assert.rejects(
    compile(types, (b, v) => ({ ...route(b, v.x, { chosen: 9, weights: 'softmax', scale: 1 }) })),
    refused,
  );
});
