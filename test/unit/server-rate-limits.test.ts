/** Limits by key: token buckets on a clock that the test moves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ApiError } from '../../src/server/failure.ts';
import { RateLimits } from '../../src/server/rate-limits.ts';

test('a key gets what it may have, and is told when there is more', () => {
  let now = 0;
  const limits = new RateLimits({ requestsPerMinute: 2, tokensPerMinute: 600 }, () => now);
  const first = limits.take('a', 100);
  assert.deepEqual(first.headers, {
    'x-ratelimit-limit-requests': '2',
    'x-ratelimit-remaining-requests': '1',
    'x-ratelimit-reset-requests': '30s',
    'x-ratelimit-limit-tokens': '600',
    'x-ratelimit-remaining-tokens': '500',
    'x-ratelimit-reset-tokens': '10s',
  });
  // It has cost 700: the bucket is in debt.
  first.settle(700);
  first.settle(700);
  const refused = (key: string, tokens: number) => {
    try {
      limits.take(key, tokens);
    } catch (error) {
      assert.ok(error instanceof ApiError && error.status === 429 && error.code === 'rate_limit_exceeded');
      return { retryAfter: error.retryAfter, message: error.message, remaining: error.headers };
    }
    return undefined;
  };
  const why = refused('a', 50);
  assert.match(why?.message ?? '', /600 tokens a minute/);
  assert.equal(why?.retryAfter, 15, '150 tokens at 10 a second');
  assert.equal(why?.remaining['x-ratelimit-remaining-tokens'], '0');
  assert.equal(refused('b', 50), undefined, 'another key has its own');
  now = 15_000;
  assert.equal(refused('a', 50), undefined);
  now = 16_000;
  assert.match(refused('a', 0)?.message ?? '', /2 requests a minute/);
  now = 10 * 60_000;
  assert.equal(refused('a', 1e9), undefined, 'more than a minute has waits for a full bucket only');
});

test('without limits nothing is refused and nothing said', () => {
  const charge = new RateLimits({}).take('a', 1e12);
  assert.deepEqual(charge.headers, {});
  charge.settle(1e12);
});

test('whatever comes when: no minute has more than two minutes may have, and waiting as told helps', () => {
  const asks = fc.array(fc.record({ after: fc.nat(20_000), tokens: fc.nat(100) }), { maxLength: 60 });
  fc.assert(
    fc.property(asks, (all) => {
      let now = 0;
      const limits = new RateLimits({ requestsPerMinute: 5, tokensPerMinute: 200 }, () => now);
      const admitted: { at: number; tokens: number }[] = [];
      for (const { after, tokens } of all) {
        now += after;
        try {
          limits.take('a', tokens).settle(tokens);
          admitted.push({ at: now, tokens });
        } catch (error) {
          assert.ok(error instanceof ApiError);
          now += Math.ceil(1000 * (error.retryAfter ?? 0));
          // Of the other bucket there may be too little still: then that is what is said.
          try {
            limits.take('a', tokens).settle(tokens);
            admitted.push({ at: now, tokens });
          } catch (again) {
            assert.ok(again instanceof ApiError && again.message !== error.message);
          }
        }
      }
      for (const { at } of admitted) {
        const minute = admitted.filter((each) => each.at >= at && each.at < at + 60_000);
        assert.ok(minute.length <= 10, `${minute.length} requests in a minute`);
        assert.ok(minute.reduce((sum, { tokens }) => sum + tokens, 0) <= 400.001);
      }
    }),
    { seed: 1, numRuns: 300 },
  );
});
