/** The inputs of steps lie in arrays that stay: nothing of one step is left in the next. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { between, seededRandom } from '../../src/cli/load/random.ts';
import { greedy } from '../../src/engine/sampling.ts';
import { StepInputs } from '../../src/engine/step-inputs.ts';

const limits = {
  ...{ maxTokens: 40, maxSequences: 4, maxRows: 4, blockSize: 4, blockCount: 64, blocksPerSequence: 8, maxBias: 6 },
  windows: [{ window: 6, blockCount: 20, blocksPerSequence: 5 }],
};

/** The bits of an input. */
function integers({ named }: StepInputs, name: string): Int32Array {
  const { buffer, byteOffset, byteLength } = named.get(name) ?? assert.fail(name);
  return new Int32Array(buffer, byteOffset, byteLength / 4);
}

/** A step of random requests. */
function drawStep(draw: () => number) {
  const entries = Array.from({ length: between(draw, { low: 1, high: 4 }) }, (_, row) => {
    const length = between(draw, { low: 1, high: 30 });
    const count = draw() < 0.5 ? 1 : between(draw, { low: 1, high: length });
    const blocks = Array.from({ length: Math.ceil(length / 4) }, () => between(draw, { low: 0, high: 63 }));
    const tokens = Array.from({ length }, () => between(draw, { low: 0, high: 999 }));
    const sequence = { tokens, blocks, computed: length, row };
    const windowTables = [blocks.map((block) => (draw() < 0.5 ? -1 : block % 20))];
    return { sequence, start: length - count, count, samples: draw() < 0.8, windowTables };
  });
  const sampling = entries.map(() => ({
    ...greedy,
    temperature: draw(),
    seed: BigInt(between(draw, { low: 0, high: 1e9 })) << 20n,
    logitBias: new Map(draw() < 0.5 ? [] : [[between(draw, { low: 0, high: 999 }), 1]]),
  }));
  return { entries, sampling };
}

test('a step has the same inputs whatever was computed before it', () => {
  const draw = seededRandom(20261128);
  const inputs = new StepInputs(limits, true);
  for (let i = 0; i < 300; i++) {
    const { entries, sampling } = drawStep(draw);
    const fresh = new StepInputs(limits, true);
    const dims = [inputs, fresh].map((each) => {
      const filled = each.fill(entries, ({ samples }) => (samples ? 1 : 0));
      each.fillSampling(entries, sampling);
      return filled;
    });
    assert.deepEqual(dims[0], dims[1]);
    const listed = integers(fresh, 'biasRow').filter((row) => row >= 0).length;
    for (const name of fresh.named.keys()) {
      // Behind the list of biases nobody looks at the others' tokens.
      const end = name === 'biasToken' || name === 'biasValue' ? listed : undefined;
      assert.deepEqual(integers(inputs, name).slice(0, end), integers(fresh, name).slice(0, end), name);
    }
  }
});

test('rows are of the last tokens of each text, as many as are asked for', () => {
  const inputs = new StepInputs(limits, true);
  const text = (length: number) => ({
    sequence: { tokens: Array.from({ length }, (_, i) => i), blocks: [0, 1], computed: length, row: 0 },
    ...{ start: 0, count: length, samples: false },
  });
  const rows = (...counts: readonly number[]) => {
    const entries = [text(3), text(5)];
    const dims = inputs.fill(entries, (entry) => counts[entries.indexOf(entry as (typeof entries)[number])]);
    assert.equal(dims.R, counts[0] + counts[1]);
    return [...integers(inputs, 'logitRows')];
  };
  assert.deepEqual(rows(1, 1), [2, 7]);
  assert.deepEqual(rows(0, 5), [3, 4, 5, 6, 7]);
  assert.deepEqual(rows(3, 0), [0, 1, 2]);
});
