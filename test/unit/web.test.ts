/** What the page computes without a browser: streams cut anywhere, metrics, conversations that two tabs wrote, failures in words. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Answer,
  append,
  type Conversation,
  lineOf,
  merge,
  promptOf,
  put,
  type Question,
  readConversation,
  show,
  titleOf,
  versionsOf,
} from '../../web/conversation.ts';
import { refusalOf } from '../../web/failure.ts';
import { firstBetween, readMetrics, speedBetween } from '../../web/metrics.ts';
import { defaultSettings, readSettings, samplingOf } from '../../web/settings.ts';
import { eventsOf } from '../../web/sse.ts';

function streamOf(bytes: Uint8Array, cuts: readonly number[]): ReadableStream<Uint8Array> {
  const ends = [...new Set(cuts.map((cut) => cut % bytes.length))].sort((a, b) => a - b);
  const starts = [0, ...ends];
  return new ReadableStream({
    start(controller) {
      for (const [i, start] of starts.entries()) controller.enqueue(bytes.subarray(start, starts[i + 1]));
      controller.close();
    },
  });
}

test('events of a stream are the same wherever its bytes are cut', async () => {
  const text =
    'data: {"a":"größer 🌊"}\n\n: a comment\n\nevent: x\r\ndata:one\r\ndata: two\r\n\r\ndata: [DONE]\n\ndata: unfinished';
  const bytes = new TextEncoder().encode(text);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat()), async (cuts) => {
      const events: string[] = [];
      for await (const data of eventsOf(streamOf(bytes, cuts))) events.push(data);
      assert.deepEqual(events, ['{"a":"größer 🌊"}', 'one\ntwo', '[DONE]']);
    }),
    { seed: 7, numRuns: 200 },
  );
});

test('metrics: samples of several models add up; speed and first token are of the time between two readings', () => {
  const text = (generated: number, first: number, count: number) =>
    [
      '# HELP ingot_requests_running Requests that are computed',
      'ingot_requests_running{model="a}{b"} 2',
      'ingot_requests_running{model="c"} 1',
      `ingot_generated_tokens_total ${generated}`,
      `ingot_time_to_first_token_seconds_bucket{le="0.1"} 4`,
      `ingot_time_to_first_token_seconds_sum ${first}`,
      `ingot_time_to_first_token_seconds_count ${count}`,
      'ingot_kv_cache_used_tokens 12',
      'ingot_kv_cache_capacity_tokens 4e3',
    ].join('\n');
  const before = readMetrics(text(100, 1, 2), 1000);
  const after = readMetrics(text(160, 1.5, 4), 3000);
  assert.equal(before.running, 3);
  assert.deepEqual(before.cache, { used: 12, known: 0, capacity: 4000 });
  assert.equal(speedBetween(before, after), 30);
  assert.equal(firstBetween(before, after), 0.25);
  assert.equal(firstBetween(after, after), undefined);
});

const question = (id: string, parent: string | null, at: number, text = id): Question => {
  return { id, parent, at, role: 'user', text };
};
const answer = (id: string, parent: string, at: number, more: Partial<Answer> = {}): Answer => {
  return {
    id,
    parent,
    at,
    role: 'assistant',
    model: 'm',
    text: id,
    reasoning: '',
    state: 'done',
    changed: at,
    ...more,
  };
};
const empty: Conversation = { id: 'c', messages: {}, leaf: null, settings: defaultSettings, changed: 0 };
const ids = (conversation: Conversation) => lineOf(conversation).map(({ id }) => id);

test('an edited question and a second answer stand beside the first; showing one shows what followed it', () => {
  const first = [question('q1', null, 1), answer('a1', 'q1', 2), question('q2', 'a1', 3), answer('a2', 'q2', 4)];
  const asked = first.reduce(append, empty);
  assert.deepEqual(ids(asked), ['q1', 'a1', 'q2', 'a2']);
  const edited = append(asked, question('q3', 'a1', 5));
  assert.deepEqual(ids(edited), ['q1', 'a1', 'q3']);
  const versions = versionsOf(edited, question('q3', 'a1', 5));
  assert.deepEqual(
    versions.map(({ id }) => id),
    ['q2', 'q3'],
  );
  assert.deepEqual(ids(show(edited, 'q2')), ['q1', 'a1', 'q2', 'a2']);
});

test('what is sent alternates, whatever failed between', () => {
  const line = [question('one', null, 1), answer('', 'one', 2, { state: 'failed' }), question('two', 'x', 3)];
  const asked = { ...empty, settings: { ...defaultSettings, system: 'Be brief.' } };
  assert.deepEqual(promptOf(asked, line), [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'one\n\ntwo' },
  ]);
});

test('two tabs: merging takes both, in any order, and says when there is nothing new', () => {
  const message = fc
    .record({ name: fc.constantFrom('a', 'b', 'c', 'd'), changed: fc.nat(9) })
    .map(({ name, changed }) => {
      // A message is written by one tab, so its text follows from when it was last changed.
      return answer(name, 'root', 0, { changed, text: `${name} ${changed}` });
    });
  const side = fc.record({ messages: fc.array(message), changed: fc.nat(9) }).map(({ messages, changed }) => {
    return { ...messages.reduce(put, empty), changed, leaf: `leaf ${changed}` };
  });
  fc.assert(
    fc.property(side, side, side, (a, b, c) => {
      assert.deepEqual(merge(a, b), merge(b, a));
      assert.deepEqual(merge(merge(a, b), c), merge(a, merge(b, c)));
      const both = merge(a, b);
      assert.equal(merge(both, a), both);
      assert.equal(merge(both, b), both);
    }),
    { seed: 3 },
  );
});

test('what lies in storage may be anything', () => {
  for (const stored of ['', 'null', '[]', '7', '{"messages":null}', '{"messages":[1,{"id":2}]}', '{"messages":{}']) {
    const read = readConversation('c', stored);
    assert.deepEqual(read?.messages ?? {}, {});
  }
  const kept = [question('q', null, 1, ' Hello\n there '), answer('a', 'q', 2)].reduce(append, empty);
  assert.deepEqual(readConversation('c', JSON.stringify(kept)), kept);
  assert.equal(titleOf(kept), 'Hello there');
  const circle = [question('x', 'y', 1), question('y', 'x', 2)].reduce(append, empty);
  assert.equal(lineOf(circle).length, 2, 'a circle ends');
  const settings = readSettings({ temperature: 99, topP: 'x', topK: 7, seed: 1.5, maxTokens: 3, system: 4 });
  assert.deepEqual(settings, { ...defaultSettings, topK: 7, maxTokens: 3 });
  assert.deepEqual(samplingOf(settings), { temperature: 0.8, top_p: 0.95, top_k: 7, min_p: 0.05, max_tokens: 3 });
});

test('failures are told apart by status, type and code, and in whole sentences', () => {
  const kinds = [
    [{ status: 401, message: '' }, 'key'],
    [{ status: 403, message: 'not yours' }, 'refused'],
    [{ status: 429, message: 'busy' }, 'busy'],
    [{ type: 'rate_limit_error', message: 'busy' }, 'busy'],
    [{ status: 400, message: 'long', code: 'context_length_exceeded' }, 'too long'],
    [{ status: 404, message: 'gone', code: 'model_not_found' }, 'model'],
    [{ status: 400, message: 'no' }, 'refused'],
    [{ status: 503, message: 'shutting down' }, 'server'],
    [{ message: 'the model cannot be run now' }, 'server'],
  ] as const;
  for (const [refusal, kind] of kinds) assert.equal(refusalOf(refusal).kind, kind);
  assert.equal(refusalOf({ status: 500, message: 'the model cannot be run now' }).hint, 'The model cannot be run now.');
});
