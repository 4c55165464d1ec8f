import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { affineDot, quantizedDot } from '../../src/composites/quantized_dot.ts';
import { affineTake, quantizedTake } from '../../src/composites/quantized_take.ts';
import { tensor } from '../../src/ir/types.ts';
import { assertClose, compile, generator, integer, normal } from './composites-harness.ts';

const T = { sym: 'T', max: 32 } as const;

/** x [rows, k] times w [n, k] transposed, plus bias. */
function product(x: readonly number[], w: readonly number[], k: number, bias?: readonly number[]): number[] {
  const [rows, n] = [x.length / k, w.length / k];
  const out: number[] = [];
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < n; c++) {
      let sum = bias?.[c] ?? 0;
      for (let i = 0; i < k; i++) sum += x[r * k + i] * w[c * k + i];
      out.push(sum);
    }
  }
  return out;
}

function rows(w: readonly number[], ids: readonly number[], k: number): number[] {
  return ids.flatMap((id) => w.slice(id * k, (id + 1) * k));
}

test('quantized_dot and quantized_take of a stored weight', async () => {
  const [n, k] = [5, 12];
  const run = await compile(
    {
      x: tensor('f32', [T, k]),
      x3: tensor('f32', [2, 3, k]),
      w: tensor('f32', [n, k]),
      half: tensor('f16', [n, k]),
      bias: tensor('f32', [n]),
      ids: tensor('i32', [T]),
    },
    (b, v) => ({
      plain: quantizedDot(b, v.x, v.w, { format: 'q8_0', numerics: 'f32' }),
      biased: quantizedDot(b, v.x, v.w, { format: 'f32', numerics: 'i8', bias: v.bias }),
      deep: quantizedDot(b, v.x3, v.half, { format: 'f16', numerics: 'bf16' }),
      taken: quantizedTake(b, v.w, v.ids, { format: 'q4_0' }),
    }),
  );
  const random = generator(5);
  const [w, bias, x3] = [normal(random, n * k), normal(random, n), normal(random, 6 * k)];
  const half = Array.from({ length: n * k }, () => integer(random, 64) / 16 - 2);
  for (const tokens of [1, 3, 17]) {
    const x = normal(random, tokens * k);
    const ids = Array.from({ length: tokens }, () => integer(random, n));
    const out = await run({ x, x3, w, half, bias, ids }, { T: tokens });
    assertClose(out.plain, product(x, w, k), 1e-5);
    assertClose(out.biased, product(x, w, k, bias), 1e-5);
    assertClose(out.deep, product(x3, half, k), 1e-5);
    assert.deepEqual(out.taken, rows(w, ids, k));
  }
});

test('affine weights: groups, zero points and minima of several types', async () => {
  const [n, k, group] = [3, 8, 4];
  const groups = k / group;
  for (const [element, low, count] of [
    ['i8', -128, 256],
    ['ui8', 0, 256],
    ['i4', -8, 16],
    ['ui4', 0, 16],
  ] as const) {
    for (const scaleElement of ['f32', 'f16', 'bf16'] as const) {
      const run = await compile(
        {
          x: tensor('f32', [T, k]),
          q: tensor(element, [n, k]),
          scales: tensor(scaleElement, [n, groups]),
          zeros: tensor(element, [n, groups]),
          minima: tensor('f32', [n, groups]),
          ids: tensor('i32', [T]),
        },
        (b, v) => {
          const symmetric = { quantized: v.q, scales: v.scales };
          const asymmetric = { ...symmetric, zeroPoints: v.zeros };
          const shifted = { ...symmetric, minima: v.minima };
          return {
            symmetric: affineDot(b, v.x, symmetric, { numerics: 'i8' }),
            asymmetric: affineDot(b, v.x, asymmetric, { numerics: 'i8' }),
            shifted: affineDot(b, v.x, shifted, { numerics: 'i8', bias: b.full('f32', [n], 0.5) }),
            taken: affineTake(b, { ...asymmetric, minima: v.minima }, v.ids),
          };
        },
      );
      const random = generator(6);
      const integers = (size: number) => Array.from({ length: size }, () => low + integer(random, count));
      const q = integers(n * k);
      const zeros = integers(n * groups);
      const scales = Array.from({ length: n * groups }, () => (1 + integer(random, 31)) / 64);
      const minima = normal(random, n * groups);
      const x = normal(random, 3 * k);
      const ids = [2, 0, 2];
      const out = await run({ x, q, scales, zeros, minima, ids }, { T: 3 });
      const weight = (zero: boolean, minimum: boolean) =>
        q.map((value, i) => {
          const g = Math.floor(i / group);
          return (value - (zero ? zeros[g] : 0)) * scales[g] + (minimum ? minima[g] : 0);
        });
      assertClose(out.symmetric, product(x, weight(false, false), k), 1e-4);
      assertClose(out.asymmetric, product(x, weight(true, false), k), 1e-4);
      assertClose(out.shifted, product(x, weight(false, true), k, [0.5, 0.5, 0.5]), 1e-4);
      assertClose(out.taken, rows(weight(true, true), ids, k), 1e-6);
    }
  }
});

test('weights that are no matrix and scales that do not divide K are refused', async () => {
  const types = {
    x: tensor('f32', [T, 8]),
    q: tensor('i8', [3, 8]),
    scales: tensor('f32', [3, 3]),
    cube: tensor('f32', [2, 3, 8]),
  };
  const refused = (error: unknown) => isIngotError(error, 'InvalidProgram');
  await assert.rejects(
    compile(types, (b, v) => ({ y: affineDot(b, v.x, { quantized: v.q, scales: v.scales }, { numerics: 'f32' }) })),
    refused,
  );
  await assert.rejects(
    compile(types, (b, v) => ({ y: quantizedDot(b, v.x, v.cube, { format: 'f32', numerics: 'f32' }) })),
    refused,
  );
});
