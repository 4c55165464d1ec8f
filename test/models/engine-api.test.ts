/** The engine as programs get it from the package: loading by path, by name and without one; prompts, conversations, whole answers. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { openEngine } from '../../src/engine/open-node.ts';
import { bundledModel } from '../../src/hub/find-model.ts';
import { Engine } from '../../src/index.ts';
import { freshHub } from '../system/hub-harness.ts';
import { commitOf } from '../system/hub-server.ts';

const messages = [{ role: 'user', content: 'Tell me a story about a brave fox.' }];

test('prompts and conversations: events and whole answers say the same, options are those of a request', async () => {
  await using engine = await Engine.load(undefined, { contextLength: 128 });
  await using contract = await openEngine(bundledModel, { contextLength: 128 });
  const options = { maxTokens: 12, temperature: 1.2, topK: 20, seed: 7n, ignoreEnd: true };
  let expected = '';
  const sampling = { temperature: 1.2, topK: 20, seed: 7n };
  for await (const event of contract.generate({ prompt: { messages }, maxTokens: 12, ignoreEnd: true, sampling })) {
    expected += event.text;
  }
  assert.equal(await engine.chat(messages, options).text(), expected);
  assert.equal(await engine.chat({ messages, variables: {} }, options).text(), expected);
  assert.notEqual(await engine.chat(messages, { ...options, seed: 8n }).text(), expected);
  let text = '';
  let reason = '';
  for await (const event of engine.generate({ messages }, options)) {
    text += event.text;
    if (event.kind === 'end') reason = event.reason;
  }
  assert.deepEqual([text, reason], [expected, 'length']);
  assert.equal(
    await engine.generate('Once upon', { maxTokens: 3 }).text(),
    await engine.generate({ prompt: 'Once upon', maxTokens: 3 }).text(),
  );
});

test('without a limit an answer may fill the context; a signal and leaving the loop end it', async () => {
  await using engine = await Engine.load(bundledModel, { contextLength: 64 });
  const prompt = await engine.encode('Once upon a time');
  let tokens = 0;
  for await (const { kind } of engine.generate(prompt, { ignoreEnd: true })) if (kind === 'token') tokens++;
  assert.equal(tokens, 64 - prompt.length);
  const controller = new AbortController();
  const answer = engine.generate(prompt, { ignoreEnd: true, signal: controller.signal });
  const reasons: string[] = [];
  for await (const event of answer) {
    controller.abort();
    if (event.kind === 'end') reasons.push(event.reason);
  }
  assert.deepEqual(reasons, ['aborted']);
  for await (const _ of engine.generate(prompt, { ignoreEnd: true })) break;
  assert.equal((await engine.status()).running, 0);
  await assert.rejects(engine.generate('x '.repeat(200)).text(), (error) => isIngotError(error, 'ContextOverflow'));
  await assert.rejects(engine.generate('x', { topP: 2 }).text(), (error) => isIngotError(error, 'InvalidArgument'));
});

test('a model of the hub is fetched by its name once, and is then on this machine', async () => {
  const hub = await freshHub();
  const before = process.env.HF_ENDPOINT;
  after(() => {
    if (before === undefined) delete process.env.HF_ENDPOINT;
    else process.env.HF_ENDPOINT = before;
  });
  process.env.HF_ENDPOINT = hub.endpoint;
  const files = { 'tales-Q8_0.gguf': readFileSync(bundledModel) };
  hub.repositories.set('org/tales', { commit: commitOf('first'), files });
  await assert.rejects(Engine.load('hf:org/tales', { offline: true }), (error) => isIngotError(error, 'FileNotFound'));
  let fetched = 0;
  const onFetch = (done: number) => {
    fetched = done;
  };
  {
    await using engine = await Engine.load('hf:org/tales', { contextLength: 32, onFetch });
    assert.equal(engine.model.architecture, 'llama');
  }
  assert.equal(fetched, files['tales-Q8_0.gguf'].length);
  await hub[Symbol.asyncDispose]();
  await using engine = await Engine.load('hf:org/tales:Q8_0', { contextLength: 32, offline: true });
  assert.ok((await engine.generate('Once', { maxTokens: 2 }).text()).length > 0);
  await assert.rejects(Engine.load('hf:org'), (error) => isIngotError(error, 'Usage'));
});
