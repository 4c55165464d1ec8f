/** The engine on the bundled model: goldens of the dequantized weights, sampling parameters, ends, errors, and what is left behind. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import type { Device } from '../../src/devices/device.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { Engine, type GenerateEvent, type GenerateRequest } from '../../src/engine/engine.ts';
import type { Checkpoint } from '../../src/formats/checkpoint.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import type { Model } from '../../src/models/model.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { fixtures, repositoryPath } from '../fixtures.ts';

const path = repositoryPath('models', 'tales', 'tales-q8_0.gguf');

interface Golden {
  readonly tokenizer: readonly { readonly text: string; readonly ids: readonly number[] }[];
  readonly cases: readonly {
    readonly ids: readonly number[];
    /** Of the token that follows `position`, in prompt and greedy text. */
    readonly logits: readonly {
      readonly position: number;
      readonly max_abs: number;
      readonly top: readonly (readonly [id: number, logit: number])[];
    }[];
    readonly greedy: readonly number[];
    readonly margins: readonly number[];
  }[];
}
const golden = JSON.parse(readFileSync(join(fixtures('models'), 'tales.json'), 'utf8')) as Golden;

let checkpoint: Checkpoint;
let model: Model;
let tokenizer: Tokenizer;
let device: Device;
let engine: Engine;

before(async () => {
  checkpoint = await openCheckpoint(path);
  model = openModel(checkpoint);
  tokenizer = await loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata }, model);
  device = createReferenceDevice();
  engine = await Engine.load(device, model, tokenizer);
});
after(async () => {
  engine.checkIntegrity();
  await engine[Symbol.asyncDispose]();
  const { weights, state } = device.memory();
  assert.deepEqual([weights.now, state.now], [0, 0], 'memory is left after the engine is closed');
  await device[Symbol.asyncDispose]();
  await checkpoint[Symbol.asyncDispose]();
});

type End = Extract<GenerateEvent, { kind: 'end' }>;
type Token = Extract<GenerateEvent, { kind: 'token' }>;

async function generate(request: Partial<GenerateRequest>) {
  const tokens: Token[] = [];
  let text = '';
  let end: End | undefined;
  for await (const event of engine.generate({ prompt: tokenizer.encode('The fox'), maxTokens: 8, ...request })) {
    text += event.text;
    if (event.kind === 'end') end = event;
    else tokens.push(event);
  }
  assert.ok(end !== undefined);
  return { tokens, ids: tokens.map(({ id }) => id), text, end };
}

test('the vocabulary cuts text as the tokenizer that it was trained with', () => {
  for (const { text, ids } of golden.tokenizer)
    assert.deepEqual(tokenizer.encode(text, { addSpecial: false }), ids, text);
});

test('logits and greedy text are those of PyTorch on the same dequantized weights', async () => {
  for (const { ids, logits, greedy, margins } of golden.cases) {
    const { ids: made } = await generate({ prompt: ids, maxTokens: greedy.length, ignoreEnd: true });
    const differs = made.findIndex((id, i) => id !== greedy[i]);
    assert.ok(differs < 0 || margins[differs] < 1e-3, `token ${differs}: ${made[differs]}, not ${greedy[differs]}`);
    for (const { position, max_abs: scale, top } of logits) {
      const prompt = [...ids, ...greedy].slice(0, position + 1);
      const { tokens } = await generate({ prompt, maxTokens: 1, topLogprobs: top.length, ignoreEnd: true });
      const ours = tokens[0].top ?? [];
      assert.deepEqual(
        ours.map(({ id }) => id),
        top.map(([id]) => id),
      );
      // Log-probabilities differ from logits by one constant.
      ours.forEach(({ logprob }, i) => {
        const difference = logprob - ours[0].logprob - (top[i][1] - top[0][1]);
        assert.ok(Math.abs(difference) <= 1e-4 * scale, `logit of token ${top[i][0]} differs by ${difference}`);
      });
    }
  }
});

test('a prompt longer than a step is computed in chunks and continues as the token-by-token text does', async () => {
  const { ids } = await generate({ maxTokens: 150, ignoreEnd: true });
  const prompt = [...tokenizer.encode('The fox'), ...ids];
  const { ids: next, end } = await generate({ prompt, maxTokens: 4, ignoreEnd: true });
  const { ids: whole } = await generate({ maxTokens: 154, ignoreEnd: true });
  assert.deepEqual(next, whole.slice(150));
  assert.equal(end.statistics.promptTokens, prompt.length);
  assert.equal(end.statistics.generatedTokens, 4);
});

test('sampling parameters do what they say', async () => {
  const hot = { temperature: 5, seed: 3n };
  const { ids: greedy } = await generate({});
  assert.deepEqual((await generate({ sampling: { ...hot, topK: 1 } })).ids, greedy, 'top-k 1');
  assert.deepEqual((await generate({ sampling: { ...hot, topP: 1e-9 } })).ids, greedy, 'top-p 0');
  assert.deepEqual((await generate({ sampling: { ...hot, minP: 1 } })).ids, greedy, 'min-p 1');
  const { ids: wild } = await generate({ sampling: hot });
  assert.notDeepEqual(wild, greedy);
  assert.deepEqual((await generate({ sampling: hot })).ids, wild, 'the same seed');
  assert.notDeepEqual((await generate({ sampling: { ...hot, seed: 4n } })).ids, wild, 'another seed');

  const forced = await generate({ sampling: { logitBias: new Map([[77, 1000]]) }, ignoreEnd: true });
  assert.ok(forced.ids.every((id) => id === 77));
  const banned = await generate({ sampling: { logitBias: new Map([[greedy[0], -1000]]) } });
  assert.ok(!banned.ids.includes(greedy[0]));

  const once = await generate({ maxTokens: 40, ignoreEnd: true, sampling: { presencePenalty: 100 } });
  assert.equal(new Set(once.ids).size, 40, 'presence penalty');
  const fresh = await generate({ maxTokens: 40, ignoreEnd: true, sampling: { frequencyPenalty: 100 } });
  assert.equal(new Set(fresh.ids).size, 40, 'frequency penalty');
  const prompt = tokenizer.encode('The fox. The fox.');
  const repelled = await generate({ prompt, maxTokens: 30, ignoreEnd: true, sampling: { repetitionPenalty: 100 } });
  assert.ok(
    repelled.ids.every((id) => !prompt.includes(id)),
    'repetition penalty counts the prompt',
  );
});

test('log-probabilities are a distribution, and the chosen token is in it', async () => {
  const { tokens } = await generate({ maxTokens: 3, topLogprobs: model.vocabularySize });
  for (const { id, logprob, top = [] } of tokens) {
    assert.ok(Math.abs(top.reduce((sum, entry) => sum + Math.exp(entry.logprob), 0) - 1) < 1e-4);
    assert.equal(top[0].id, id);
    assert.ok(Math.abs(top[0].logprob - logprob) < 1e-4);
    assert.ok(top.every((entry, i) => i === 0 || entry.logprob <= top[i - 1].logprob));
  }
  const ids = [...tokenizer.encode('The fox'), ...tokens.map(({ id }) => id)];
  const scored = await engine.score(ids);
  tokens.forEach(({ logprob }, i) => {
    assert.ok(Math.abs(scored[scored.length - tokens.length + i] - logprob) < 1e-4);
  });
});

test('a text ends at its end token, at a stop string, at the limit, or at the end of the context', async () => {
  const end = [...tokenizer.endOfGeneration][0];
  const ended = await generate({ sampling: { logitBias: new Map([[end, 1000]]) } });
  assert.deepEqual([ended.end.reason, ended.ids, ended.text], ['end', [], '']);
  const { text } = await generate({});
  const stop = text.slice(6, 9);
  const stopped = await generate({ stop: ['', 'not there', stop] });
  assert.deepEqual([stopped.end.reason, stopped.text], ['stop', text.slice(0, text.indexOf(stop))]);
  assert.equal((await generate({})).end.reason, 'length');
  await using short = await Engine.load(device, model, tokenizer, { contextLength: 10 });
  let count = 0;
  for await (const event of short.generate({ prompt: [1, 2, 3], maxTokens: 100, ignoreEnd: true })) {
    if (event.kind === 'token') count++;
    else assert.equal(event.reason, 'length');
  }
  assert.equal(count, 7);
  short.checkIntegrity();
});

test('an abort ends the text after the step that runs; leaving the loop frees the cache; requests wait their turn', async () => {
  const controller = new AbortController();
  let count = 0;
  for await (const event of engine.generate({
    prompt: [5],
    maxTokens: 100,
    ignoreEnd: true,
    signal: controller.signal,
  })) {
    if (event.kind === 'token' && ++count === 3) controller.abort();
    if (event.kind === 'end') assert.equal(event.reason, 'aborted');
  }
  assert.equal(count, 3);
  for await (const _ of engine.generate({ prompt: [5], maxTokens: 100 })) break;
  engine.checkIntegrity();
  const alone = (await generate({})).ids;
  const together = await Promise.all([
    generate({}),
    generate({ sampling: { temperature: 2, seed: 9n } }),
    generate({}),
  ]);
  assert.deepEqual(together[0].ids, alone);
  assert.deepEqual(together[2].ids, alone);
});

test('requests that cannot be are refused by name, and nothing is lost', async () => {
  const wrong: readonly (readonly [Partial<GenerateRequest>, string])[] = [
    [{ prompt: [] }, 'InvalidArgument'],
    [{ prompt: [model.vocabularySize] }, 'InvalidArgument'],
    [{ prompt: [1.5] }, 'InvalidArgument'],
    [{ maxTokens: -1 }, 'InvalidArgument'],
    [{ topLogprobs: -1 }, 'InvalidArgument'],
    [{ sampling: { topP: 2 } }, 'InvalidArgument'],
    [{ sampling: { logitBias: new Map([[-1, 0]]) } }, 'InvalidArgument'],
    [{ prompt: new Array(model.contextLength + 1).fill(1) }, 'ContextOverflow'],
  ];
  for (const [request, code] of wrong) {
    await assert.rejects(
      generate(request),
      (error) => isIngotError(error) && error.code === code,
      JSON.stringify(request),
    );
  }
  engine.checkIntegrity();
  assert.equal((await generate({})).ids.length, 8);
});

test('too little memory, a foreign tokenizer, a file that shrank: refused, and nothing stays allocated', async () => {
  await using small = createReferenceDevice({ memoryBytes: 1 << 20 });
  await assert.rejects(Engine.load(small, model, tokenizer), (error) => isIngotError(error, 'OutOfMemory'));
  assert.equal(small.memory().weights.peak, 0, 'nothing was read');
  const foreign = Object.assign(Object.create(tokenizer), { vocabularySize: model.vocabularySize + 1 });
  await assert.rejects(Engine.load(device, model, foreign), (error) => isIngotError(error, 'TokenizerMismatch'));

  const folder = mkdtempSync(join(tmpdir(), 'ingot-engine-'));
  try {
    const copy = join(folder, 'copy.gguf');
    copyFileSync(path, copy);
    await using opened = await openCheckpoint(copy);
    const shrinking = openModel(opened);
    truncateSync(copy, 2_000_000);
    await using fresh = createReferenceDevice();
    await assert.rejects(
      Engine.load(fresh, shrinking, tokenizer),
      (error) => isIngotError(error, 'FileChanged') && error.place.path === copy,
    );
    const { weights, state } = fresh.memory();
    assert.deepEqual([weights.now, state.now], [0, 0]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
