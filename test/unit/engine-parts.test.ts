import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIngotError } from '../../src/base/errors.ts';
import { likeliest, logSumExp } from '../../src/engine/logits.ts';
import { checkSampling, greedy } from '../../src/engine/sampling.ts';
import { StopStrings } from '../../src/engine/stop-strings.ts';

const seed = 20261123;

test('text is shown up to the first stop string, however it is cut into pieces', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 });
  const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 }), {
    maxLength: 3,
  });
  fc.assert(
    fc.property(letters, stops, fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 30 }), (text, stopList, cuts) => {
      const positions = stopList.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
      // A stop string that ends first wins over one that would begin earlier but has not ended yet.
      const ends = stopList.flatMap((stop) => (text.includes(stop) ? [text.indexOf(stop) + stop.length] : []));
      const stream = new StopStrings(stopList);
      let shown = '';
      let stopped = false;
      for (let at = 0, i = 0; at < text.length && !stopped; i++) {
        const piece = text.slice(at, at + (cuts[i] ?? 1));
        at += piece.length;
        const result = stream.push(piece);
        shown += result.text;
        stopped = result.stopped !== undefined;
      }
      if (!stopped) shown += stream.end();
      assert.equal(stopped, positions.length > 0);
      if (!stopped) assert.equal(shown, text);
      else {
        assert.ok(text.startsWith(shown) && shown.length <= Math.min(...ends));
        for (const stop of stopList) assert.ok(!shown.includes(stop), 'a stop string was shown');
      }
    }),
    { seed, numRuns: 500 },
  );
});

test('the likeliest tokens of a row are those that sorting all of it finds, ties to the lower id', () => {
  const values = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constant(Number.NEGATIVE_INFINITY));
  fc.assert(
    fc.property(fc.array(values, { minLength: 1, maxLength: 60 }), fc.integer({ min: 1, max: 70 }), (row, count) => {
      const logits = Float32Array.from([...row, 0]);
      const total = logSumExp(logits);
      const sorted = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b).slice(0, count);
      const expected = sorted.map((id) => ({ id, logprob: logits[id] - total }));
      assert.deepEqual(likeliest(logits, count, total), expected);
    }),
    { seed },
  );
});

test('sampling parameters outside their range are named', () => {
  const wrong = [
    { temperature: -1 },
    { temperature: Number.NaN },
    { topK: 1.5 },
    { topP: 1.1 },
    { minP: -0.1 },
    { repetitionPenalty: 0 },
    { seed: 1n << 64n },
    { logitBias: new Map([[100, 1]]) },
  ];
  for (const part of wrong) {
    const [name] = Object.keys(part);
    assert.throws(
      () => checkSampling({ ...greedy, ...part }, 100, 8),
      (error) => isIngotError(error, 'InvalidArgument') && error.message.includes(name),
      name,
    );
  }
  checkSampling(greedy, 100, 8);
});
