import { test } from 'node:test';
import { type Activation, gatedActivation } from '../../src/composites/gated_activation.ts';
import { layerNorm } from '../../src/composites/layer_norm.ts';
import { rmsNorm } from '../../src/composites/rms_norm.ts';
import { tensor } from '../../src/ir/types.ts';
import { assertClose, compile, generator, normal } from './composites-harness.ts';

const T = { sym: 'T', max: 32 } as const;

function rowsOf(x: readonly number[], width: number): number[][] {
  return Array.from({ length: x.length / width }, (_, i) => x.slice(i * width, (i + 1) * width));
}

test('rms_norm and layer_norm agree with their definitions', async () => {
  const width = 13;
  const run = await compile(
    { x: tensor('f32', [T, width]), w: tensor('f32', [width]), c: tensor('f32', [width]) },
    (b, { x, w, c }) => ({
      rms: rmsNorm(b, x, w, 1e-2),
      layer: layerNorm(b, x, w, c, 1e-2),
      plain: layerNorm(b, x, w, undefined, 1e-2),
    }),
  );
  const random = generator(1);
  const [w, c] = [normal(random, width), normal(random, width)];
  for (const tokens of [1, 3, 17]) {
    const x = normal(random, tokens * width, 3).map((v) => Math.fround(v + 2));
    const out = await run({ x, w, c }, { T: tokens });
    const norm = (row: number[], centre: number) => {
      const square = row.reduce((s, v) => s + (v - centre) ** 2, 0) / width;
      return row.map((v, i) => ((v - centre) / Math.sqrt(square + 1e-2)) * w[i]);
    };
    const mean = (row: number[]) => row.reduce((s, v) => s + v, 0) / width;
    const rows = rowsOf(x, width);
    const centred = rows.map((row) => norm(row, mean(row)));
    assertClose(
      out.rms,
      rows.flatMap((row) => norm(row, 0)),
      2e-6,
    );
    assertClose(out.plain, centred.flat(), 2e-6);
    assertClose(
      out.layer,
      centred.flatMap((row) => row.map((v, i) => v + c[i])),
      2e-6,
    );
  }
});

/** Integral of the normal density from 0, by its Taylor series; 1/2 - tail by its continued fraction. */
function normalDistribution(x: number): number {
  const z = Math.abs(x);
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  if (z < 3) {
    let [term, sum] = [z, z];
    for (let n = 1; n < 80; n++) {
      term *= (z * z) / (2 * n + 1);
      sum += term;
    }
    return x < 0 ? 0.5 - density * sum : 0.5 + density * sum;
  }
  let fraction = z;
  for (let n = 60; n > 0; n--) fraction = z + n / fraction;
  return x < 0 ? density / fraction : 1 - density / fraction;
}

test('gated activations agree with their definitions, also far out', async () => {
  const definitions: Record<Activation, (x: number) => number> = {
    silu: (x) => x / (1 + Math.exp(-x)),
    gelu: (x) => x * normalDistribution(x),
    gelu_tanh: (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
    relu: (x) => Math.max(x, 0),
  };
  const gate = Array.from({ length: 241 }, (_, i) => Math.fround((i - 120) / 10));
  gate.push(-0, 1e-20, -1e-20, 50, -50, 1e4, -1e4, 3e38, -3e38);
  const up = normal(generator(2), gate.length);
  for (const activation of ['silu', 'gelu', 'gelu_tanh', 'relu'] as const) {
    const type = tensor('f32', [gate.length]);
    const run = await compile({ gate: type, up: type }, (b, v) => ({
      y: gatedActivation(b, v.gate, v.up, activation),
    }));
    const { y } = await run({ gate, up });
    // The largest gates overflow f32 where `up` is above 1; both then agree on infinity.
    const expected = gate.map((g, i) => Math.fround(Math.fround(definitions[activation](g)) * up[i]));
    assertClose(
      y.map((v) => (Number.isFinite(v) ? v : Math.sign(v) * 1e30)),
      expected.map((v) => (Number.isFinite(v) ? v : Math.sign(v) * 1e30)),
      1e-6,
      activation,
    );
  }
});

test('gelu keeps its relative precision where it is tiny', async () => {
  const gate = [-2, -3, -4, -5, -6, -8];
  const type = tensor('f32', [gate.length]);
  const run = await compile({ gate: type }, (b, v) => ({
    y: gatedActivation(b, v.gate, b.full('f32', [gate.length], 1), 'gelu'),
  }));
  const { y } = await run({ gate });
  assertClose(
    y.map((v, i) => v / (gate[i] * normalDistribution(gate[i]))),
    gate.map(() => 1),
    1e-5,
  );
});
