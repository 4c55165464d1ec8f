/** Metrics under a load that is known to the last token: they say what the clients were told. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { repositoryPath } from '../fixtures.ts';
import { post, readMetrics, startServer } from './serve-harness.ts';

interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

test('counters, histograms and gauges add up, whatever was preempted, refused or streamed', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-serve-metrics-'));
  try {
    await using server = await startServer({ folder }, '--sequences', '6', '--context', '256');
    const { url } = server;
    const usages: Usage[] = [];
    let answers = 0;
    const whole = async (i: number) => {
      const prompt = `Once upon a time there were ${i % 4} foxes who lived in the forest near the sea`;
      const answer = await post(url, '/v1/completions', { prompt, max_tokens: 5 + i, seed: i, ignore_eos: true });
      usages.push(((await answer.json()) as { usage: Usage }).usage);
      answers++;
    };
    const streamed = async (i: number) => {
      const asked = { prompt: 'The end', max_tokens: 10 + i, ignore_eos: true, stream: true };
      const answer = await post(url, '/v1/completions', { ...asked, stream_options: { include_usage: true } });
      const lines = (await answer.text()).split('\n\n').filter((line) => line.startsWith('data: {'));
      const chunks = lines.map((line): { usage?: Usage } => JSON.parse(line.slice(6)));
      const usage = chunks.at(-1)?.usage ?? assert.fail('the stream ends with what it cost');
      usages.push(usage);
      answers++;
    };
    const begin = performance.now();
    await Promise.all(Array.from({ length: 24 }, (_, i) => (i % 3 === 0 ? streamed(i) : whole(i))));
    for (const body of ['{', { prompt: 1 }]) assert.equal((await post(url, '/v1/completions', body)).status, 400);
    const seconds = (performance.now() - begin) / 1000;
    const metrics = await readMetrics(url);
    const sum = (of: (usage: Usage) => number) => usages.reduce((total, usage) => total + of(usage), 0);
    const value = (name: string) => metrics(`ingot_${name}`);
    const text = await (await fetch(`${url}/metrics`)).text();
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    const rows = readFileSync(repositoryPath('docs', 'metrics.md'), 'utf8').match(/^\|.*\|$/gm) ?? [];
    const described = rows.flatMap((row) => [...row.split('|')[1].matchAll(/`(\w+)`/g)].map(([, name]) => name));
    assert.deepEqual(described.toSorted(), names.toSorted(), 'the table of docs/metrics.md');
    const model = '{model="tales"}';
    assert.equal(
      value('prompt_tokens_total'),
      sum((usage) => usage.prompt_tokens),
    );
    assert.equal(
      value('generated_tokens_total'),
      sum((usage) => usage.completion_tokens),
    );
    assert.equal(
      value('reused_tokens_total'),
      sum((usage) => usage.prompt_tokens_details.cached_tokens),
    );
    assert.equal(
      value('prefix_hits_total'),
      usages.filter((each) => each.prompt_tokens_details.cached_tokens > 0).length,
    );
    for (const name of ['queue_seconds', 'time_to_first_token_seconds', 'request_seconds', 'prompt_tokens']) {
      assert.equal(value(`${name}_count${model}`), answers, name);
    }
    assert.equal(value(`prompt_tokens_sum${model}`), value('prompt_tokens_total'));
    assert.equal(value(`generated_tokens_sum${model}`), value('generated_tokens_total'));
    assert.equal(value('http_requests_total{route="/v1/completions",status="200"}'), answers);
    assert.equal(value('http_requests_total{route="/v1/completions",status="400"}'), 2);
    assert.equal(value('http_request_seconds_count{route="/v1/completions"}'), answers + 2);
    // Each time to the first token is within the engine's time, and that within HTTP's.
    const sums = ['queue_seconds', 'time_to_first_token_seconds', 'request_seconds'].map((n) =>
      value(`${n}_sum${model}`),
    );
    const all = [...sums, value('http_request_seconds_sum{route="/v1/completions"}')];
    assert.deepEqual(
      all,
      all.toSorted((a, b) => a - b),
      all.join(),
    );
    assert.ok(value('step_seconds_total') <= seconds, 'steps do not overlap');
    const batch = value('step_requests_total') / value('steps_total');
    assert.ok(batch >= 1 && batch <= 6, `${batch} requests a step`);
    // Every token was in a step: of prompts those that were not known, of answers all but each last one.
    const computed =
      value('prompt_tokens_total') - value('reused_tokens_total') + value('generated_tokens_total') - answers;
    assert.ok(value('step_tokens_total') >= computed, `${value('step_tokens_total')} in steps, ${computed} needed`);
    assert.ok(value('step_tokens_total') <= 1.5 * computed + 100, 'steps ahead throw few away');
    assert.ok(value('step_operations_total') > 0 && value('step_bytes_total') > 0);
    for (const name of ['engine_heap_bytes', 'javascript_heap_bytes']) assert.ok(value(name) > 1e6, name);
    assert.ok(Number.isNaN(value('operations_share')), 'nobody has measured this machine');
    assert.equal(value('requests_running'), 0);
    assert.equal(value('requests_waiting'), 0);
    assert.equal(value('kv_cache_used_tokens'), 0);
    assert.ok(value('kv_cache_known_tokens') > 0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
