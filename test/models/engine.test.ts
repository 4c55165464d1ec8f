/** The engine on the thread that asks: its contract, goldens of the dequantized weights, what it refuses to load, what is left behind. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isIngotError } from '../../src/base/errors.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { LocalEngine } from '../../src/engine/local-engine.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import { ggufChatTemplate } from '../../src/tokenizer/chat.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { fixtures, repositoryPath } from '../fixtures.ts';
import { generateWith, testEngine } from './engine-suite.ts';

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

const checkpoint = await openCheckpoint(path);
const model = openModel(checkpoint);
const tokenizer = await loadTokenizer({ kind: 'gguf', metadata: checkpoint.metadata }, model);
const device = createReferenceDevice();

testEngine('on this thread', (options) => LocalEngine.load(device, model, tokenizer, options), tokenizer);

after(async () => {
  const { weights, state, scratch } = device.memory();
  assert.deepEqual([weights.now, state.now], [0, 0], 'memory is left after the engines are closed');
  assert.ok(scratch.now < 1 << 20, 'results of the last run at most');
  await device[Symbol.asyncDispose]();
  await checkpoint[Symbol.asyncDispose]();
});

test('the vocabulary cuts text as the tokenizer that it was trained with', () => {
  for (const { text, ids } of golden.tokenizer)
    assert.deepEqual(tokenizer.encode(text, { addSpecial: false }), ids, text);
});

test('logits and greedy text are those of PyTorch on the same dequantized weights', async () => {
  await using engine = await LocalEngine.load(device, model, tokenizer);
  for (const { ids, logits, greedy, margins } of golden.cases) {
    const { ids: made } = await generateWith(engine, { prompt: ids, maxTokens: greedy.length, ignoreEnd: true });
    const differs = made.findIndex((id, i) => id !== greedy[i]);
    assert.ok(differs < 0 || margins[differs] < 1e-3, `token ${differs}: ${made[differs]}, not ${greedy[differs]}`);
    for (const { position, max_abs: scale, top } of logits) {
      const prompt = [...ids, ...greedy].slice(0, position + 1);
      const { tokens } = await generateWith(engine, { prompt, maxTokens: 1, topLogprobs: top.length, ignoreEnd: true });
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

test('messages are a prompt: in the words of the chat template, without one their texts, a line each', async () => {
  const messages = [
    { role: 'user', content: 'The fox' },
    { role: 'assistant', content: 'and the dog' },
    { role: 'user', content: '<|end|> ran <|story|>' },
  ];
  await using plain = await LocalEngine.load(device, model, tokenizer);
  assert.equal(plain.hasChatTemplate, false);
  assert.deepEqual(await plain.encode({ messages }), tokenizer.encode('The fox\nand the dog\n<|end|> ran <|story|>'));
  const chatTemplate = ggufChatTemplate(checkpoint.metadata) ?? '';
  await using engine = await LocalEngine.load(device, model, tokenizer, { chatTemplate });
  assert.equal(engine.hasChatTemplate, true);
  const text = (part: string) => tokenizer.encode(part, { addSpecial: false });
  const [begin, end, user, story] = [0, 1, 2, 3];
  const ids = [begin, user, ...text('The fox'), story, ...text('and the dog'), end];
  const last = [user, ...text('<|end|> ran <|story|>'), story];
  assert.deepEqual(await engine.encode({ messages }), [...ids, ...last], 'what is typed ends no turn');
  const answer = await generateWith(engine, { prompt: { messages } });
  assert.deepEqual(answer.ids, (await generateWith(engine, { prompt: [...ids, ...last] })).ids);
});

test('too little memory, a foreign tokenizer, a file that shrank: refused, and nothing stays allocated', async () => {
  await using small = createReferenceDevice({ memoryBytes: 1 << 20 });
  await assert.rejects(LocalEngine.load(small, model, tokenizer), (error) => isIngotError(error, 'OutOfMemory'));
  assert.equal(small.memory().weights.peak, 0, 'nothing was read');
  const foreign = Object.assign(Object.create(tokenizer), { vocabularySize: model.vocabularySize + 1 });
  await assert.rejects(LocalEngine.load(device, model, foreign), (error) => isIngotError(error, 'TokenizerMismatch'));

  const folder = mkdtempSync(join(tmpdir(), 'ingot-engine-'));
  try {
    const copy = join(folder, 'copy.gguf');
    copyFileSync(path, copy);
    await using opened = await openCheckpoint(copy);
    const shrinking = openModel(opened);
    truncateSync(copy, 2_000_000);
    await using fresh = createReferenceDevice();
    await assert.rejects(
      LocalEngine.load(fresh, shrinking, tokenizer),
      (error) => isIngotError(error, 'FileChanged') && error.place.path === copy,
    );
    const { weights, state } = fresh.memory();
    assert.deepEqual([weights.now, state.now], [0, 0]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
