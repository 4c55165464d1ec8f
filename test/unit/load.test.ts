/** Loads on servers (`ingot bench serve`), the parts that need no server: arrivals, traces, prompts, statistics. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { calibrate } from '../../src/cli/load/calibrate.ts';
import { seededRandom } from '../../src/cli/load/random.ts';
import { distribution, type Sample, summarize } from '../../src/cli/load/statistics.ts';
import { readTrace } from '../../src/cli/load/trace.ts';
import { drawnWords, promptText, wordsOf } from '../../src/cli/load/words.ts';
import { arrivalTimes, drawnRequests, traceRequests } from '../../src/cli/load/workload.ts';
import { dataPath, skipWithoutData } from '../fixtures.ts';

const folder = mkdtempSync(join(tmpdir(), 'ingot-load-'));
after(() => rmSync(folder, { recursive: true }));

const gapsOf = (times: readonly number[]) => times.slice(1).map((time, i) => time - times[i]);

/** Variance over mean of how many come in a second: 1 of a Poisson process, the size of a burst if they come in bursts. */
function dispersion(times: readonly number[]): number {
  const counts = new Array<number>(Math.floor(times[times.length - 1])).fill(0);
  for (const time of times) if (time < counts.length) counts[Math.floor(time)]++;
  const mean = counts.reduce((a, b) => a + b) / counts.length;
  return counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / counts.length / mean;
}

test('arrivals are a Poisson process: gaps are exponential (Kolmogorov and Smirnov at 1%), counts as they should be', () => {
  for (const seed of [1, 2, 3]) {
    const times = arrivalTimes({ rate: 8, burst: 1 }, 20_000, seededRandom(seed));
    assert.equal(times[0], 0);
    const gaps = gapsOf(times).sort((a, b) => a - b);
    const distance = Math.max(
      ...gaps.map((gap, i) => Math.abs(1 - Math.exp(-8 * gap) - (i + 0.5) / gaps.length) + 0.5 / gaps.length),
    );
    assert.ok(distance < 1.63 / Math.sqrt(gaps.length), `seed ${seed}: ${distance}`);
    const mean = gaps.reduce((a, b) => a + b) / gaps.length;
    assert.ok(Math.abs(mean * 8 - 1) < 0.03, `seed ${seed}: ${1 / mean} a second`);
    assert.ok(Math.abs(dispersion(times) - 1) < 0.1, `seed ${seed}: ${dispersion(times)}`);
  }
});

test('bursts come together, with the same mean rate and as many times the variance', () => {
  const times = arrivalTimes({ rate: 8, burst: 5 }, 40_000, seededRandom(4));
  for (let i = 0; i < times.length; i += 5) assert.equal(new Set(times.slice(i, i + 5)).size, 1);
  assert.ok(Math.abs(times.length / times[times.length - 1] / 8 - 1) < 0.03);
  assert.ok(Math.abs(dispersion(times) / 5 - 1) < 0.1, String(dispersion(times)));
  assert.equal(arrivalTimes({ rate: 8, burst: 5 }, 7, seededRandom(4)).length, 7);
});

test('lengths are drawn evenly; groups share their beginning and nobody shares more', () => {
  const lengths = { prompt: { low: 10, high: 19 }, output: { low: 5, high: 5 }, prefix: 30, groups: 3 };
  const plan = drawnRequests(5000, lengths, undefined, seededRandom(1));
  const counts = new Map<number, number>();
  for (const { at, prompt, outputTokens } of plan) {
    assert.deepEqual([at, prompt.length, prompt[0].tokens, outputTokens], [undefined, 2, 30, 5]);
    counts.set(prompt[1].tokens, (counts.get(prompt[1].tokens) ?? 0) + 1);
  }
  assert.equal(counts.size, 10);
  const chi = [...counts.values()].reduce((sum, count) => sum + (count - 500) ** 2 / 500, 0);
  assert.ok(chi < 21.7, `chi-squared ${chi} of 9 degrees of freedom, at 1%`);
  assert.equal(new Set(plan.map(({ prompt }) => prompt[0].seed)).size, 3);
  assert.equal(new Set(plan.map(({ prompt }) => prompt[1].seed)).size, 5000);
  assert.deepEqual(drawnRequests(5000, lengths, undefined, seededRandom(1)), plan);
  assert.notDeepEqual(drawnRequests(5000, lengths, undefined, seededRandom(2)), plan);
});

function traceFile(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

test('traces of Azure: columns by name, fractions of seconds kept', async () => {
  const path = traceFile(
    'a.csv',
    'TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:59.5000000,374,44\r\n2023-11-16 18:16:00.2500001,396,109\r\n2023-11-16 18:16:01,1,1\r\n',
  );
  const entries = await readTrace(path, 2);
  assert.deepEqual(
    entries.map(({ promptTokens, outputTokens }) => [promptTokens, outputTokens]),
    [
      [374, 44],
      [396, 109],
    ],
  );
  assert.ok(Math.abs(entries[1].at - entries[0].at - 0.75) < 1e-5);
  const plan = traceRequests(await readTrace(path, 9), 0.5, 4, seededRandom(1));
  assert.deepEqual(
    plan.map(({ at }) => at?.toFixed(3)),
    ['0.000', '0.250', '0.500'],
    'three in half a second: four gaps a second',
  );
  assert.deepEqual(
    plan.map(({ prompt, outputTokens }) => [prompt[0].tokens, outputTokens]),
    [
      [187, 22],
      [198, 55],
      [1, 1],
    ],
  );
});

test('traces of Mooncake: prompts whose blocks begin alike begin alike', async () => {
  const line = (at: number, length: number, ids: readonly number[]) =>
    JSON.stringify({ timestamp: at, input_length: length, output_length: 7, hash_ids: ids });
  const path = traceFile(
    'm.jsonl',
    [line(0, 1100, [0, 1, 2]), line(1500, 1024, [0, 1]), line(1500, 600, [0, 3]), ''].join('\n'),
  );
  const plan = traceRequests(await readTrace(path, 9), 1, undefined, seededRandom(1));
  assert.deepEqual(
    plan.map(({ at, prompt }) => [at, prompt.map(({ tokens }) => tokens)]),
    [
      [0, [512, 512, 76]],
      [1.5, [512, 512]],
      [1.5, [512, 88]],
    ],
  );
  const [long, same, other] = plan.map(({ prompt }) => promptText(prompt, drawnWords, { fixed: 1, perWord: 2 }));
  assert.ok(long.startsWith(`${same} `));
  const shared = [...other].findIndex((character, i) => character !== long[i]);
  assert.ok(shared >= 255 * 5 && shared < 262 * 5, `${shared} characters of the first block's 255 words`);
});

test('what is no trace is refused with the line where that shows', async () => {
  const heading = 'TIMESTAMP,ContextTokens,GeneratedTokens\n';
  const cases: readonly (readonly [string, number])[] = [
    ['', 0],
    ['time,tokens\n1,2\n', 1],
    [heading, 1],
    [`${heading}2023-11-16 18:15:59,374\n`, 2],
    [`${heading}2023-11-16 18:15:59,374,44\n2023-11-16 18:15:58,374,44\n`, 3],
    [`${heading}2023-11-16 18:15:59,1e99,44\n`, 2],
    ['{"timestamp": 0, "input_length": 600, "output_length": 1, "hash_ids": [0]}\n', 1],
    ['{"timestamp": 0, "input_length": 6, "output_length": 1, "hash_ids": [-1]}\n', 1],
    ['{"timestamp": 0, "input_length": 1e300, "output_length": 1, "hash_ids": []}\n', 1],
    ['{"timestamp": 0\n', 1],
  ];
  for (const [text, line] of cases) {
    await assert.rejects(readTrace(traceFile('bad', text), 9), (error) => {
      assert.ok(isIngotError(error, 'ParseError'), text);
      assert.equal(error.place.line, line, text);
      return true;
    });
  }
  await assert.rejects(readTrace(join(folder, 'none'), 9), (error) => isIngotError(error, 'FileNotFound'));
});

test('the published traces are read whole', { skip: skipWithoutData }, async () => {
  const azure = await readTrace(dataPath('traces/AzureLLMInferenceTrace_conv.csv'), 1e6);
  assert.equal(azure.length, 19_366);
  assert.deepEqual([azure[0].promptTokens, azure[0].outputTokens], [374, 44]);
  assert.ok(Math.abs(azure[19_365].at - azure[0].at - 3501.722) < 0.01, 'from 18:15:46.68 to 19:14:08.40');
  const mooncake = await readTrace(dataPath('traces/mooncake_conversation_trace.jsonl'), 1e6);
  assert.equal(mooncake.length, 12_031);
  assert.equal(mooncake[12_030].at, 3536.999);
});

test('prompts have the tokens that are asked for, where words are as the server said', async () => {
  // Four tokens beside the words, and each word is two.
  const tokens = (text: string) => 4 + 2 * text.split(' ').length;
  const reply = (promptTokens: number) => ({ endAt: 0, promptTokens, cachedTokens: 0, outputTokens: 1 });
  const rate = await calibrate(drawnWords, async (prompt) => reply(tokens(prompt)));
  assert.deepEqual(rate, { fixed: 4, perWord: 2 });
  const parts = [
    { seed: 1, tokens: 33 },
    { seed: 2, tokens: 20 },
    { seed: 3, tokens: 11 },
  ];
  assert.equal(tokens(promptText(parts, drawnWords, rate)), 64);
  assert.ok(promptText(parts, drawnWords, rate).startsWith(`${promptText(parts.slice(0, 1), drawnWords, rate)} `));
  const broken = { ...reply(0), error: 'status 500: no' };
  await assert.rejects(
    calibrate(drawnWords, async () => broken),
    (error) => isIngotError(error, 'Network'),
  );
  await assert.rejects(
    calibrate(drawnWords, async () => reply(0)),
    /how many tokens/,
  );
  const words = wordsOf('one two\n three ');
  assert.match(words(5, 4), /^(one two three one|two three one two|three one two three)$/);
  assert.equal(words(5, 4), words(5, 4));
});

test('percentiles are those of numpy', () => {
  // numpy.percentile([0.3, 0.1, 0.9, 0.4, 0.2], [50, 90, 95, 99])
  const found = distribution([0.3, 0.1, 0.9, 0.4, 0.2]);
  const expected = { mean: 0.38, p50: 0.3, p90: 0.7, p95: 0.8, p99: 0.88, max: 0.9 };
  for (const [name, value] of Object.entries(expected)) {
    assert.ok(Math.abs((found?.[name as keyof typeof expected] ?? 0) - value) < 1e-12, name);
  }
  assert.equal(distribution([]), undefined);
});

test('times begin with the arrival, failures count for nothing, goodput keeps all limits', () => {
  const sample = (times: Partial<Sample>): Sample => ({
    arrival: 0,
    sent: 0,
    first: 1,
    end: 2,
    promptTokens: 10,
    cachedTokens: 4,
    outputTokens: 5,
    ...times,
  });
  const samples = [
    sample({}),
    sample({ sent: 0.5, first: 1.5, end: 1.7 }),
    sample({ arrival: 2, sent: 2, first: 2.1, end: 4, outputTokens: 20 }),
    sample({ arrival: 3, sent: 3, first: 3.25, end: 3.25, outputTokens: 1 }),
    sample({ arrival: 3.5, sent: 3.5, end: 3.75, error: 'status 429' }),
  ];
  const summary = summarize(samples, { ttft: 1, tbot: 0.2 });
  assert.equal(summary.seconds, 4);
  assert.deepEqual([summary.requests, summary.failed, summary.peakConcurrency], [5, 1, 2]);
  assert.deepEqual([summary.promptTokens, summary.cachedTokens, summary.outputTokens], [40, 16, 31]);
  assert.deepEqual([summary.requestsPerSecond, summary.outputTokensPerSecond], [1, 31 / 4]);
  assert.equal(summary.ttft?.max, 1.5, 'the wait for room is part of it');
  assert.equal(summary.queue?.max, 0.5);
  assert.ok(Math.abs((summary.tbot?.max ?? 0) - 0.25) < 1e-12, 'one second for four tokens after the first');
  // The first is too slow between tokens, the second until its first; the fifth failed.
  assert.deepEqual(summary.goodput, { requestsPerSecond: 0.5, share: 0.4 });
  assert.equal(summarize([]).seconds, 0);
});
