/** Perplexities of tiny models by both rules, against those of transformers (`make-perplexity-goldens.py`). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { measureDivergence } from '../../src/cli/eval-divergence.ts';
import { halfWindows, measurePerplexity, stridedWindows } from '../../src/cli/eval-perplexity.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { LocalEngine } from '../../src/engine/local-engine.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { fixtures } from '../fixtures.ts';

interface Golden {
  readonly model: string;
  readonly rule: 'strided' | 'halves';
  readonly stride?: number;
  readonly ids: readonly number[];
  readonly nll: number;
  readonly tokens: number;
}
const folder = fixtures('models');
const { length, begin, goldens }: { length: number; begin: number; goldens: readonly Golden[] } = JSON.parse(
  readFileSync(join(folder, 'perplexity.json'), 'utf8'),
);
const signal = new AbortController().signal;

/** These models have no words: ids go in as they are. */
const noTokenizer: Tokenizer = {
  vocabularySize: 1,
  endOfGeneration: new Set(),
  encode: () => [],
  shield: (text) => text,
  decode: () => '',
  tokenBytes: () => new Uint8Array(0),
  tokenText: () => '',
  stream: () => ({ push: () => '', end: () => '' }),
};

async function withEngine(name: string, work: (engine: LocalEngine) => Promise<void>): Promise<void> {
  await using checkpoint = await openCheckpoint(join(folder, name));
  await using device = createReferenceDevice();
  await using engine = await LocalEngine.load(device, openModel(checkpoint), noTokenizer, { contextLength: length });
  await work(engine);
  await engine.checkIntegrity();
}

for (const { model, rule, stride = 0, ids, nll, tokens } of goldens) {
  test(`the perplexity of ${model} by ${rule} windows ${stride || ''} is that of transformers`, async () => {
    const windows = rule === 'halves' ? halfWindows(ids, length, begin) : stridedWindows(ids, length, stride);
    await withEngine(model, async (engine) => {
      const steps: number[] = [];
      const measured = await measurePerplexity(engine, windows, (done) => steps.push(done), signal);
      assert.equal(measured.tokens, tokens);
      assert.ok(Math.abs(measured.nll - nll) < 1e-4, `${measured.nll}, not ${nll}`);
      assert.ok(Math.abs(measured.perplexity - Math.exp(nll)) < 1e-3 * Math.exp(nll));
      assert.deepEqual(
        steps,
        Array.from(windows.keys(), (i) => i + 1),
      );
    });
  });
}

test('a model is as far from itself as nothing, and farther from another', async () => {
  const { ids } = goldens[0];
  const windows = halfWindows(ids, length, begin);
  await withEngine('llama', async (engine) => {
    const { perplexity } = await measurePerplexity(engine, windows, () => {}, signal);
    const self = await measureDivergence(engine, engine, windows, () => {}, signal);
    assert.deepEqual([self.meanKl, self.maxKl, self.sameTop], [0, 0, 1]);
    assert.ok(Math.abs(self.perplexity - perplexity) < 1e-3 && self.referencePerplexity === self.perplexity);
    await withEngine('llama-linear', async (other) => {
      const divergence = await measureDivergence(engine, other, windows, () => {}, signal);
      // By its definition, from the rows of both.
      let sum = 0;
      let count = 0;
      for (const { tokens, first } of windows) {
        const [q, p] = await Promise.all([engine.logits(tokens, { first }), other.logits(tokens, { first })]);
        const size = engine.model.vocabularySize;
        for (let at = 0; at < q.length; at += size, count++) {
          const softmax = (rows: Float32Array) => {
            const powers = Array.from(rows.subarray(at, at + size), (logit) => Math.exp(logit));
            const total = powers.reduce((a, b) => a + b);
            return powers.map((power) => power / total);
          };
          const [qs, ps] = [softmax(q), softmax(p)];
          ps.forEach((share, i) => {
            sum += share * Math.log(share / qs[i]);
          });
        }
      }
      assert.equal(count, divergence.tokens);
      assert.ok(Math.abs(divergence.meanKl - sum / count) < 1e-6 && divergence.meanKl > 0.1);
      assert.ok(divergence.sameTop < 1 && divergence.maxKl >= divergence.medianKl);
    });
  });
});

test('windows: what is scored, and what is too short', () => {
  const ids = Array.from({ length: 10 }, (_, i) => i + 10);
  assert.deepEqual(halfWindows(ids, 4, 1), [
    { tokens: [1, 11, 12, 13], first: 3 },
    { tokens: [1, 15, 16, 17], first: 3 },
  ]);
  assert.deepEqual(halfWindows(ids, 4, undefined)[1].tokens, [14, 15, 16, 17]);
  assert.deepEqual(
    stridedWindows(ids, 4, 3).map(({ tokens, first }) => [tokens[0], tokens.length, first]),
    [
      [10, 4, 1],
      [13, 4, 1],
      [16, 4, 1],
    ],
  );
  assert.deepEqual(
    stridedWindows(ids, 6, 3).map(({ tokens, first }) => tokens.slice(first)),
    [[11, 12, 13, 14, 15], [16, 17, 18], [19]],
  );
  assert.throws(
    () => halfWindows(ids, 6, 1),
    (error) => isIngotError(error, 'InvalidArgument'),
  );
  assert.throws(
    () => stridedWindows([1], 6, 2),
    (error) => isIngotError(error, 'InvalidArgument'),
  );
});
