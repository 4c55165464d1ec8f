/** Streams of events: nothing is made that is not read, and a reader that stops is ended. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventStream } from '../../src/server/event-stream.ts';

const ignore = () => {};

function counted(most: number) {
  const state = { made: 0, ended: false };
  async function* texts(): AsyncGenerator<string, void, undefined> {
    while (state.made < most) yield JSON.stringify(state.made++);
  }
  return { state, texts: texts() };
}

test('each text is an event, and the end is said once', async () => {
  const { texts } = counted(3);
  let ends = 0;
  const stream = eventStream(texts, { onStopped: ignore, onEnd: () => ends++, patience: 1 });
  assert.equal(await new Response(stream).text(), 'data: 0\n\ndata: 1\n\ndata: 2\n\n');
  assert.equal(ends, 1);
});

test('a slow reader slows what is made, and a reader that stops is ended', async () => {
  const { state, texts } = counted(1000);
  const { promise: stopped, resolve } = withResolvers();
  const stream = eventStream(texts, { onStopped: resolve, onEnd: ignore, patience: 0.05 });
  const reader = stream.getReader();
  for (let i = 0; i < 10; i++) await reader.read();
  await new Promise((later) => setTimeout(later, 10));
  assert.ok(state.made <= 12, `${state.made} were made for 10 that were read`);
  await stopped;
  assert.ok(state.made <= 12);
  await reader.cancel();
});

test('a reader that stops is ended also where the first text took longer than it may', async () => {
  const { promise: stopped, resolve } = withResolvers();
  async function* texts(): AsyncGenerator<string, void, undefined> {
    await new Promise((later) => setTimeout(later, 30));
    for (;;) yield 'late';
  }
  const stream = eventStream(texts(), { onStopped: resolve, onEnd: ignore, patience: 0.005 });
  const reader = stream.getReader();
  await reader.read();
  await stopped;
  await reader.cancel();
});

test('a reader that goes away ends the work', async () => {
  const { texts } = counted(1000);
  let ends = 0;
  const stream = eventStream(texts, { onStopped: () => assert.fail('it went away'), onEnd: () => ends++, patience: 1 });
  const reader = stream.getReader();
  await reader.read();
  await reader.cancel();
  assert.equal(ends, 1);
});

function withResolvers() {
  let resolve: () => void = ignore;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
