/** Predicted times of steps follow those that were taken. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { largestFitting } from '../../src/base/largest-fitting.ts';
import { between, seededRandom } from '../../src/cli/load/random.ts';
import { StepCost } from '../../src/engine/step-cost.ts';

const seed = 20261127;

const stepFacts = {
  ...{ weightBytes: 1e9, layerElements: 1.6e9, headElements: 0.4e9, kvBytesPerToken: 1e5 },
  ...{ readBytesPerSecond: 1e10, operationsPerSecond: 1e11 },
};

test('predictions follow what steps take, few tokens and many apart, and the nearest where none was seen', () => {
  const predictor = new StepCost(stepFacts);
  const few = { tokens: 1, rows: 1, contextTokens: 100 };
  const many = { tokens: 100, rows: 1, contextTokens: 5000 };
  assert.ok(predictor.predict(many) > predictor.predict(few));
  predictor.observe(few, 50_000);
  assert.ok(Math.abs(predictor.predict(few) / 50_000 - 1) < 1e-3, 'the first step says how wrong the figures are');
  for (let i = 0; i < 100; i++) {
    predictor.observe(few, 80_000);
    predictor.observe(many, 900_000);
  }
  assert.ok(Math.abs(predictor.predict(few) / 80_000 - 1) < 0.01);
  assert.ok(Math.abs(predictor.predict(many) / 900_000 - 1) < 0.01);
  // Two tokens are bound by reading as one is; 60 are near to 100.
  const some = predictor.predict({ tokens: 2, rows: 2, contextTokens: 100 });
  assert.ok(Math.abs(some / 80_000 - 1) < 0.05, `${some}`);
  const more = predictor.predict({ tokens: 60, rows: 1, contextTokens: 5000 });
  assert.ok(more > 500_000 && more < 900_000, `${more}`);
});

test('prompts, streams and long contexts are told apart, on machines that the figures do not fit', () => {
  // Microseconds of a step, of each of its tokens, of those that are sampled, and of a token of context.
  const machines = [
    { step: 36_000, token: 9_400, head: 2_400, context: 2 },
    { step: 5_000, token: 2_000, head: 500, context: 0.5 },
    { step: 60_000, token: 20_000, head: 5_000, context: 20 },
    { step: 10_000, token: 3_000, head: 500, context: 5 },
  ];
  for (const machine of machines) {
    const draw = seededRandom(seed);
    const predictor = new StepCost(stepFacts);
    const off: number[] = [];
    for (let i = 0; i < 600; i++) {
      const streams = between(draw, { low: 1, high: 16 });
      const tokens = streams + (draw() < 0.5 ? 0 : between(draw, { low: 1, high: 40 }));
      const load = { tokens, rows: streams, contextTokens: tokens * between(draw, { low: 10, high: 3000 }) };
      const took =
        machine.step + machine.token * tokens + machine.head * streams + machine.context * load.contextTokens;
      off.push(Math.abs(predictor.predict(load) / took - 1));
      predictor.observe(load, took);
    }
    const late = off.slice(200).sort((a, b) => a - b);
    assert.ok(late[200] < 0.06, `half of the predictions are off by ${late[200]} or more`);
    assert.ok(late[380] < 0.25, `a twentieth of them by ${late[380]} or more`);
  }
});

test('whatever steps take, every prediction is a time, and steps that are regular again are predicted again', () => {
  for (let run = 0; run < 50; run++) {
    const draw = seededRandom(seed + run);
    const predictor = new StepCost(stepFacts);
    const load = () => {
      const tokens = between(draw, { low: 1, high: 500 });
      return {
        tokens,
        rows: between(draw, { low: 0, high: tokens }),
        contextTokens: between(draw, { low: 1, high: 1e5 }),
      };
    };
    for (let i = 0; i < 100; i++) {
      // From a microsecond to a minute: as on a machine that stops at times.
      predictor.observe(load(), 10 ** (8 * draw()));
      const predicted = predictor.predict(load());
      assert.ok(predicted > 0 && Number.isFinite(predicted), `${predicted} microseconds`);
    }
    const usual = { tokens: 1, rows: 1, contextTokens: 100 };
    for (let i = 0; i < 200; i++) predictor.observe(usual, 50_000);
    assert.ok(Math.abs(predictor.predict(usual) / 50_000 - 1) < 0.01);
  }
});

test('beside streams a prompt gets what the pace leaves it, however slow the first steps were', () => {
  // Milliseconds of a product by its tokens, as kernels have it that multiply up to four at once (docs/results.md).
  const products = [35.4, 35.3, 35.2, 38.3, 48.8, 54.5, 60.9, 67.3, 75.7, 84.1, 92.5, 101, 109, 117, 125, 133];
  const took = (tokens: number) => 1000 * (products[tokens - 1] ?? (133 * tokens) / 16);
  const pace = 1.75;
  for (const streams of [1, 2, 4, 8]) {
    const idle = took(streams);
    let most = 1;
    while (took(streams + most + 1) <= pace * idle) most++;
    for (const cold of [1, 3, 10]) {
      const predictor = new StepCost(stepFacts);
      const load = (prompt: number, ends = 0) => ({
        tokens: streams + prompt,
        rows: streams + ends,
        contextTokens: 100 * (streams + prompt),
      });
      // The prompts of the streams, and what they say alone.
      predictor.observe({ tokens: 8, rows: 1, contextTokens: 36 }, cold * took(8));
      predictor.observe({ tokens: 24, rows: 3, contextTokens: 108 }, (1 + cold / 3) * took(24));
      for (let i = 0; i < 50; i++) predictor.observe(load(0), idle);
      let left = 512;
      let steps = 0;
      let slow = 0;
      for (; left > 0; steps++) {
        const limit = pace * predictor.predict(load(0));
        const fits = (count: number) => predictor.predict(load(count, count === left ? 1 : 0)) <= limit;
        const count = Math.max(1, largestFitting(Math.min(left, 128 - streams), fits));
        if (took(streams + count) > 2 * idle) slow++;
        predictor.observe(load(count, count === left ? 1 : 0), took(streams + count));
        left -= count;
      }
      const what = `${streams} streams, ${cold} times as slow at first`;
      assert.ok(steps <= (1.25 * 512) / most + 10, `${what}: ${steps} steps for what ${512 / most} could do`);
      assert.ok(slow <= 3, `${what}: ${slow} steps were too long`);
    }
  }
});
