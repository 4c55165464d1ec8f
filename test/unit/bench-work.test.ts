/** What benchmarks make of tokens that come together, as those of short answers of small models do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timeAnswers } from '../../src/cli/bench-work.ts';
import type { Engine, GenerateRequest } from '../../src/engine/engine.ts';
import { addedStatus, noTotals } from '../../src/engine/status.ts';

/** Seconds of a step, and between the tokens of a request. */
const [ofStep, ofToken] = [0.002, 0.003];
const bytesOfStep = 100;

/** Tells all tokens at once. The steps of the first are over when the first request is read, and are those of all. */
function suddenEngine(): Pick<Engine, 'generate' | 'status'> {
  let totals = noTotals;
  return {
    status: async () => ({ ...addedStatus([]), totals }),
    async *generate({ maxTokens: steps }: GenerateRequest) {
      if (totals === noTotals) totals = { ...totals, steps, stepSeconds: ofStep * steps, bytes: bytesOfStep * steps };
      for (let i = 0; i < steps; i++) yield { kind: 'token', id: 1, logprob: 0, text: '' };
      const counts = { promptTokens: 1, reusedTokens: 0, generatedTokens: steps };
      const statistics = { ...counts, queueSeconds: 0, totalSeconds: 1, tbotSeconds: ofToken };
      yield { kind: 'end', reason: 'length', text: '', statistics };
    },
  };
}

const n = 8;
const requests = (count: number): GenerateRequest[] =>
  Array.from({ length: count }, () => ({ prompt: [1], maxTokens: n + 1 }));
const close = (found: number, expected: number) => assert.ok(Math.abs(found - expected) < 1e-9 * expected, `${found}`);

test('one answer takes what the engine says, however its tokens are told', async () => {
  const { seconds, bytes } = await timeAnswers(suddenEngine(), requests(1), n);
  close(seconds, n * ofToken);
  close(bytes, n * bytesOfStep);
});

test('answers side by side take no less than their steps', async () => {
  const { seconds, bytes } = await timeAnswers(suddenEngine(), requests(2), n);
  close(seconds, n * ofStep);
  close(bytes, n * bytesOfStep);
});
