/** The likeliest of several answers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bestOf } from '../../src/server/best-of.ts';
import type { ChoiceEvent } from '../../src/server/generation.ts';
import { completionRequest } from '../../src/server/requests.ts';

test('of each prompt the answers are kept whose tokens are likeliest, and all of them are counted', async () => {
  const statistics = (generatedTokens: number) => ({
    ...{ promptTokens: 1, reusedTokens: 0, generatedTokens, queueSeconds: 0, totalSeconds: 0 },
  });
  const made = [[-1, -1], [-3, 0, 0], [], [-2], [-5], [-0.5, -0.5], [-4], [-6]];
  async function* events(): AsyncGenerator<ChoiceEvent, void, undefined> {
    for (let i = 0; i < 3; i++) {
      for (const [choice, logprobs] of made.entries()) {
        const logprob = logprobs[i];
        if (logprob === undefined) continue;
        yield { choice, event: { kind: 'token', id: i, logprob, text: `${choice} ` } };
      }
    }
    for (const [choice, { length }] of made.entries()) {
      yield { choice, event: { kind: 'end', text: '', reason: 'length', statistics: statistics(length) } };
    }
  }
  const texts: string[] = [];
  const counts: number[] = [];
  for await (const { choice, event } of bestOf(events(), 4, 2)) {
    texts[choice] = (texts[choice] ?? '') + event.text;
    if (event.kind === 'end') counts[choice] = event.statistics.generatedTokens;
  }
  // Equal ones stay in their order.
  assert.deepEqual(texts, ['0 0 ', '1 1 1 ', '5 5 ', '6 ']);
  assert.deepEqual(counts, [2 + 1, 3, 2 + 2, 1]);
});

test('fewer answers than wanted, and streams of the best, are refused by name', () => {
  const parse = (request: object) => completionRequest.safeParse({ prompt: 'a', ...request });
  for (const request of [
    {},
    { best_of: 3 },
    { n: 2, best_of: 2, stream: true },
    { best_of: null, n: 3, stream: true },
  ]) {
    assert.ok(parse(request).success, JSON.stringify(request));
  }
  for (const request of [{ n: 3, best_of: 2 }, { best_of: 2, stream: true }, { best_of: 0 }]) {
    const { error } = parse(request);
    assert.deepEqual(error?.issues[0]?.path, ['best_of'], JSON.stringify(request));
  }
});
