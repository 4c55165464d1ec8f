/** `ingot convert` on real files and on the folders of the goldens: the same model comes out, or nothing does. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { copyFile, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryBytes } from '../../src/base/bytes.ts';
import { convert } from '../../src/cli/convert.ts';
import { exportGguf } from '../../src/cli/gguf-file.ts';
import type { StepLimits } from '../../src/composites/step.ts';
import { createReferenceDevice } from '../../src/devices/reference/device.ts';
import { BlockManager } from '../../src/engine/blocks.ts';
import { Runner } from '../../src/engine/runner.ts';
import type { CachedSequence } from '../../src/engine/sequence.ts';
import type { Checkpoint } from '../../src/formats/checkpoint.ts';
import { readGguf } from '../../src/formats/gguf.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { openModel } from '../../src/models/architectures.ts';
import type { Model } from '../../src/models/model.ts';
import { exportTokenizer } from '../../src/tokenizer/gguf-export.ts';
import { loadTokenizer, type TokenizerSource } from '../../src/tokenizer/load.ts';
import { readSentencePieceFile } from '../../src/tokenizer/sentencepiece-file.ts';
import { dataPath, skipWithoutData, testData } from '../fixtures.ts';
import { bytesOf, folderWith, ingot } from '../unit/formats-support.ts';
import { modelFolder, modelNames } from './golden.ts';

const skip = testData === undefined ? skipWithoutData : false;
const stories = dataPath('models', 'stories260K', 'stories260K.bin');
const storiesTokenizer = dataPath('models', 'stories260K', 'tok512.bin');

async function assertEqualTensors(a: Checkpoint, b: Checkpoint): Promise<void> {
  const [before, after] = [openModel(a).weights, openModel(b).weights];
  assert.deepEqual([...after.keys()].sort(), [...before.keys()].sort());
  for (const [name, { format, shape, bytes }] of before) {
    const tensor = after.get(name);
    assert.deepEqual([tensor?.format, tensor?.shape], [format, shape], name);
    assert.deepEqual(await tensor?.bytes.read(0, bytes.length), await bytes.read(0, bytes.length), name);
  }
}

test('stories260K becomes a GGUF file of the same tensors and tokens', { skip }, async () => {
  await using folder = await folderWith();
  const out = join(folder.path, 'out.gguf');
  await convert(stories, out, { tokenizer: storiesTokenizer });
  assert.deepEqual(await readdir(folder.path), ['out.gguf']);
  await using before = await openCheckpoint(stories);
  await using after = await openCheckpoint(out);
  assert.equal(after.kind, 'gguf');
  assert.equal(after.metadata.get('general.name'), 'stories260K');
  await assertEqualTensors(before, after);

  const bytes = new Uint8Array(await readFile(storiesTokenizer));
  const first = await loadTokenizer({ kind: 'llama2c', bytes, vocabularySize: 512 });
  const second = await loadTokenizer({ kind: 'gguf', metadata: after.metadata }, openModel(after));
  const text = await readFile(dataPath('models', 'stories260K', 'stories260K.doc.md'), 'utf8');
  for (const sample of [text, '', ' two  spaces', 'naïve €\n', '<s>']) {
    assert.deepEqual(second.encode(sample), first.encode(sample));
    assert.equal(second.decode(second.encode(sample)), first.decode(first.encode(sample)));
  }
  assert.deepEqual(second.endOfGeneration, first.endOfGeneration);
});

test('converting again changes nothing; another type changes the matrices alone', { skip }, async () => {
  await using folder = await folderWith();
  const path = (name: string) => join(folder.path, name);
  await convert(stories, path('f32.gguf'), { tokenizer: storiesTokenizer });
  await convert(path('f32.gguf'), path('again.gguf'), {});
  assert.deepEqual(await readFile(path('again.gguf')), await readFile(path('f32.gguf')));
  await convert(path('f32.gguf'), path('f16.gguf'), { type: 'f16' });
  await using half = await openCheckpoint(path('f16.gguf'));
  assert.equal(half.metadata.get('general.file_type'), 1);
  assert.equal(half.metadata.get('general.name'), 'stories260K');
  for (const { name, shape, format } of half.tensors.values())
    assert.equal(format, shape.length === 1 ? 'f32' : 'f16', name);
});

/** Of 40 tokens at once: longer than the windows and original contexts of these models. */
async function logitsOf(model: Model): Promise<Float32Array> {
  await using device = createReferenceDevice();
  await using runner = await Runner.load(device, model, { limits, kv: 'f32' });
  const blocks = new BlockManager(limits);
  const tokens = Array.from({ length: limits.maxTokens }, (_, i) => (i * 37 + 5) % model.vocabularySize);
  const sequence: CachedSequence = { row: 0, tokens, computed: 0, blocks: [] };
  blocks.grow(sequence.blocks, tokens.length);
  return (await runner.score({ sequence, start: 0, count: tokens.length, samples: false })).slice();
}

const limits: StepLimits = {
  maxTokens: 40,
  maxSequences: 1,
  maxRows: 40,
  blockSize: 8,
  blockCount: 8,
  blocksPerSequence: 6,
  maxBias: 8,
};

/** What GGUF's keys cannot say of a model. */
const unsayable: Readonly<Record<string, RegExp>> = {
  'gemma2-scale': /scale of queries/,
};

for (const [name, why] of Object.entries(unsayable)) {
  test(`${name}: what GGUF's keys cannot say is refused`, async () => {
    await using checkpoint = await openCheckpoint(modelFolder(name));
    assert.throws(() => openModel(checkpoint).toGguf(), ingot('UnsupportedFile', why));
  });
}

for (const name of modelNames.filter((name) => !(name in unsayable))) {
  test(`${name}: the folder as GGUF is the same model`, async () => {
    await using before = await openCheckpoint(modelFolder(name));
    const model = openModel(before);
    const contents = exportGguf(before, model, { name, tokenizer: new Map() });
    const after = await readGguf(memoryBytes(await bytesOf(layoutGguf(contents))));
    const again = openModel(after);
    for (const key of ['architecture', 'vocabularySize', 'contextLength', 'layers'] as const) {
      assert.equal(again[key], model[key], key);
    }
    const shapes = (weights: typeof model.weights) =>
      Object.fromEntries([...weights].map(([key, { shape }]) => [key, shape]));
    assert.deepEqual(shapes(again.weights), shapes(model.weights));

    const [expected, logits] = [await logitsOf(model), await logitsOf(again)];
    const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    const worst = expected.reduce((max, value, i) => Math.max(max, Math.abs(value - (logits[i] ?? 0))), 0);
    // Sums over a head run in another order.
    assert.ok(largest > 0 && worst <= 1e-5 * largest, `largest difference ${worst} of ${largest}`);
  });
}

test("SentencePiece's own file, and the merges that are made of it, become the same vocabulary", { skip }, async () => {
  const bytes = new Uint8Array(await readFile(dataPath('tokenizers', 'models', 'llama2.tokenizer.model')));
  const original = await loadTokenizer({ kind: 'sentencepiece', bytes });
  const size = original.vocabularySize;
  const text = (await readFile(dataPath('text', (await readdir(dataPath('text')))[0] ?? ''), 'utf8')).slice(0, 50_000);
  const sources: TokenizerSource[] = [{ kind: 'sentencepiece', bytes }, tokenizerJson(bytes)];
  for (const source of sources) {
    const converted = await loadTokenizer({ kind: 'gguf', metadata: await exportTokenizer(source, size) });
    for (const sample of [text, ' leading', 'naïve € \u{1f600}\t\n']) {
      assert.deepEqual(converted.encode(sample), original.encode(sample), source.kind);
    }
  }
});

/** As the converter of transformers makes a `tokenizer.json`: every cut of every token, by score. */
function tokenizerJson(bytes: Uint8Array): TokenizerSource {
  const { vocabulary, scores } = readSentencePieceFile(bytes);
  const ids = new Map(Array.from(vocabulary.texts, (text, id) => [text, id]));
  const normal = [...ids].filter(([, id]) => vocabulary.kinds.at(id) === 'normal');
  const merges = normal
    .sort(([, a], [, b]) => (scores[b] ?? 0) - (scores[a] ?? 0))
    .flatMap(([text]) => Array.from({ length: text.length - 1 }, (_, i) => [text.slice(0, i + 1), text.slice(i + 1)]))
    .filter((cut) => cut.every((part) => ids.has(part)));
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const json = {
    model: { type: 'BPE', byte_fallback: true, unk_token: '<unk>', vocab: Object.fromEntries(ids), merges },
    normalizer: { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, replace] },
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({ id, content, special: true })),
    decoder: {
      type: 'Sequence',
      decoders: [{ type: 'Replace', pattern: { String: '\u2581' }, content: ' ' }, { type: 'ByteFallback' }],
    },
  };
  const config = { bos_token: '<s>', eos_token: '</s>', add_bos_token: true };
  const source = (value: unknown) => memoryBytes(new TextEncoder().encode(JSON.stringify(value)));
  const companions = new Map([
    ['tokenizer.json', source(json)],
    ['tokenizer_config.json', source(config)],
  ]);
  return { kind: 'huggingface', companions };
}

test("GPT-2's files become GGUF's gpt-2", { skip }, async () => {
  const file = async (name: string) =>
    memoryBytes(new Uint8Array(await readFile(dataPath('tokenizers', 'models', name))));
  const companions = new Map([
    ['vocab.json', await file('gpt2.vocab.json')],
    ['merges.txt', await file('gpt2.merges.txt')],
  ]);
  const source: TokenizerSource = { kind: 'huggingface', companions };
  const original = await loadTokenizer(source);
  const metadata = await exportTokenizer(source, original.vocabularySize);
  assert.equal(metadata.get('tokenizer.ggml.pre'), 'gpt-2');
  const converted = await loadTokenizer({ kind: 'gguf', metadata });
  const text = await readFile(dataPath('models', 'stories260K', 'stories260K.doc.md'), 'utf8');
  assert.deepEqual(converted.encode(text), original.encode(text));
});

test('what cannot be converted leaves nothing behind', { skip }, async () => {
  await using folder = await folderWith();
  const path = (name: string) => join(folder.path, name);
  const out = path('out.gguf');
  const tokenizer = storiesTokenizer;
  const whole = await readFile(stories);
  await writeFile(path('cut.bin'), whole.subarray(0, 900_000));
  const bytes = await readFile(tokenizer);
  await writeFile(path('short.tok'), bytes.subarray(0, 3000));
  await copyFile(join(modelFolder('llama'), 'config.json'), path('config.json'));
  await copyFile(join(modelFolder('llama'), 'model.safetensors'), path('model.safetensors'));
  await copyFile(stories, path('in.bin'));
  await symlink(path('in.bin'), path('link.gguf'));
  const files = (await readdir(folder.path)).sort();

  await assert.rejects(convert(path('cut.bin'), out, { tokenizer }), ingot('InvalidFile', /describes/));
  await assert.rejects(convert(path('none.bin'), out, { tokenizer }), ingot('FileNotFound'));
  await assert.rejects(convert(stories, out, { tokenizer: path('short.tok') }), (error) =>
    ['InvalidFile', 'TokenizerMismatch'].some(
      (code) => error instanceof Error && 'code' in error && error.code === code,
    ),
  );
  await assert.rejects(convert(stories, out, {}), ingot('Usage', /carries no tokenizer/));
  await assert.rejects(convert(stories, out, { tokenizer, type: 'q9_9' }), ingot('UnsupportedFile', /q9_9/));
  await assert.rejects(convert(stories, out, { tokenizer, type: 'q4_K' }), ingot('InvalidArgument', /256/));
  await assert.rejects(convert(folder.path, out, {}), ingot('FileNotFound', /no tokenizer/));
  await assert.rejects(convert(folder.path, out, { tokenizer }), ingot('Usage', /brings its own/));
  await assert.rejects(
    convert(stories, path('no/such/folder.gguf'), { tokenizer }),
    ingot('FileNotFound', /no folder/),
  );
  await assert.rejects(convert(path('in.bin'), path('link.gguf'), { tokenizer, force: true }), ingot('Usage', /read/));
  await assert.rejects(convert(stories, path('in.bin'), { tokenizer }), ingot('FileExists'));
  assert.deepEqual((await readdir(folder.path)).sort(), files);
  assert.deepEqual(await readFile(path('in.bin')), whole);
});

test('a vocabulary of another size is a TokenizerMismatch', { skip }, async () => {
  await using folder = await folderWith();
  const tokens = Buffer.from(await readFile(storiesTokenizer));
  const one = Buffer.concat([tokens, Buffer.from([0, 0, 0, 0, 1, 0, 0, 0, 0x78])]);
  await writeFile(join(folder.path, 'more.tok'), one);
  const options = { tokenizer: join(folder.path, 'more.tok') };
  await assert.rejects(
    convert(stories, join(folder.path, 'out.gguf'), options),
    ingot('TokenizerMismatch', /513 tokens, the model 512/),
  );
});

test('cancelled in the middle, it leaves no file', { skip }, async () => {
  await using folder = await folderWith();
  const { signal } = new AbortController();
  let seen: readonly string[] = [];
  // Between two writes: the temporary file is there and the result is not.
  const isThere = () => {
    seen = readdirSync(folder.path);
    return seen.length > 0;
  };
  Object.defineProperty(signal, 'aborted', { get: isThere });
  const models = join(folder.path, 'out.gguf');
  await assert.rejects(convert(stories, models, { tokenizer: storiesTokenizer }, signal), ingot('Aborted'));
  assert.ok(seen.length === 1 && seen[0]?.endsWith('.partial'), String(seen));
  assert.deepEqual(await readdir(folder.path), []);
});
